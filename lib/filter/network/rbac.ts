// Hot lane: authorization of connections (Envoy's network RBAC filters). Asked once, when the connection is there: who is not allowed is closed before
// anything is read, and nobody is dialled.
import { type Authorizer, authorizerFor, type RbacTrace } from '../../policy/rbac.ts'
import type { RbacFilter } from '../../state/rbac.ts'
import type { Connection } from '../../transport/connection.ts'
import { ConnectionRbacFacts } from './rbac-facts.ts'

/** Connections leave no steps. */
const SILENT: RbacTrace = { asked: () => {} }

/** Slots of the counters. */
export interface RbacStats {
  readonly rbacAllowed: number
  readonly rbacDenied: number
  readonly rbacShadowAllowed: number
  readonly rbacShadowDenied: number
}

/** Of one TCP listener in one worker. */
export class ConnectionAuthorization {
  private readonly values: Float64Array
  private readonly stats: RbacStats
  private readonly facts: ConnectionRbacFacts
  /** null: everybody may connect. */
  private authorizer: Authorizer | null

  constructor(values: Float64Array, stats: RbacStats) {
    this.values = values
    this.stats = stats
    this.facts = new ConnectionRbacFacts()
    this.authorizer = null
  }

  use(filters: readonly RbacFilter[]): void {
    this.authorizer = authorizerFor(filters)
  }

  /** Connection termination details; empty: it may go on. `originalDst`: of the listener. */
  refusal(connection: Connection, originalDst: string): string {
    const { authorizer } = this
    if (authorizer === null) return ''
    const admitted = authorizer.admits(this.facts.take(connection, originalDst), SILENT)
    count(authorizer, admitted, this.values, this.stats)
    return admitted ? '' : authorizer.details
  }
}

/** What was said to the question that was asked last. */
export function count(authorizer: Authorizer, admitted: boolean, values: Float64Array, stats: RbacStats): void {
  values[admitted ? stats.rbacAllowed : stats.rbacDenied]!++
  if (!authorizer.hasShadow) return
  values[stats.rbacShadowAllowed]! += authorizer.shadowAllowed
  values[stats.rbacShadowDenied]! += authorizer.shadowDenied
}
