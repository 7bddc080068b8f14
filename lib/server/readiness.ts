// Why a proxy is not ready, for probes, logs and who operates it.
import type { ServerState } from '../telemetry/main-metrics.ts'
import type { ConfigSource } from './config-source.ts'
import type { RolePart } from './role-part.ts'
import type { SecretsKeeper } from './secrets-keeper.ts'

export interface Standing {
  readonly state: ServerState
  /** Who operates it has said so. */
  readonly unwell: boolean
  readonly store: ConfigSource
  readonly role: RolePart | null
  readonly secrets: SecretsKeeper
  /** Workers that serve. */
  readonly serving: number
}

/** What readiness waits for; empty: it is ready. */
export function missingFor({ state, unwell, store, role, secrets, serving }: Standing): readonly string[] {
  if (state === 'DRAINING') return ['its end: it drains']
  if (unwell) return ['POST /healthcheck/ok, since /healthcheck/fail was asked for']
  if (state !== 'LIVE') {
    const first = [...(store.waitingFor?.() ?? []), ...(role === null ? secrets.waitingFor() : [])]
    return first.length > 0 ? first : ['the first configuration to be in force']
  }
  if (serving === 0) return ['a worker']
  if ((role ?? secrets).ready) return []
  const what = (role ?? secrets).waitingFor()
  return what.length > 0 ? what : ["the workload's certificate"]
}
