// Hot lane: authorization of connections (Envoy's network RBAC filters). Asked once, when the connection is there: who is not allowed is closed before
// anything is read, and nobody is dialled.
import type { Authorizer, RbacTrace } from '../../policy/rbac.ts'
import type { Connection } from '../../transport/connection.ts'
import type { TcpProxy } from './tcp-proxy.ts'

/** Connections leave no steps. */
const SILENT: RbacTrace = { asked: () => {} }

/** Slots of the counters. */
export interface RbacStats {
  readonly rbacAllowed: number
  readonly rbacDenied: number
  readonly rbacShadowAllowed: number
  readonly rbacShadowDenied: number
}

/** Connection termination details; empty: it may go on. */
export function refusalOf(proxy: TcpProxy, authorizer: Authorizer, connection: Connection): string {
  const { values, stats } = proxy
  const admitted = authorizer.admits(proxy.rbacFacts.take(connection, proxy.listener.originalDst), SILENT)
  if (authorizer.hasShadow) shadowCounted(authorizer, values, stats)
  values[admitted ? stats.rbacAllowed : stats.rbacDenied]!++
  return admitted ? '' : authorizer.details
}

/** What dry runs have said of what was asked last. */
export function shadowCounted(authorizer: Authorizer, values: Float64Array, stats: RbacStats): void {
  values[stats.rbacShadowAllowed]! += authorizer.shadowAllowed
  values[stats.rbacShadowDenied]! += authorizer.shadowDenied
}
