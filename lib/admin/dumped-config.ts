// What `/config_dump` in Envoy's shape is made of: the resources in Envoy's JSON, and how each stands. Made by `server/`, which has them.

/** Of a resource as it came; `json` has its `@type`, and is made when somebody asks. */
export interface DumpedState {
  readonly version: string
  /** Epoch ms. */
  readonly updatedMs: number
  readonly json: () => object
}

/** The last version of it was refused. */
export interface DumpedFailure extends DumpedState {
  /** As the NACK says it. */
  readonly details: string
}

/** null: there is none. */
export interface DumpedResource {
  readonly name: string
  readonly active: DumpedState | null
  readonly warming: DumpedState | null
  readonly failure: DumpedFailure | null
}

/** What everybody may see of a certificate, or of roots. */
export interface DumpedSecret {
  readonly name: string
  readonly version: string
  /** Epoch ms. */
  readonly updatedMs: number
  /** Leaf first; empty: it is roots. */
  readonly chainPem: string
  readonly rootsPem: readonly string[]
}

export interface DumpedConfig {
  /** From a control plane; otherwise all of it counts as static, as Envoy has what its bootstrap says. */
  readonly fed: boolean
  /** envoy.config.core.v3.Node. */
  readonly node: object
  /** When the process began, epoch ms. */
  readonly startedMs: number
  /** Of the last response of the type. */
  readonly clustersVersion: string
  readonly listenersVersion: string
  readonly clusters: readonly DumpedResource[]
  readonly listeners: readonly DumpedResource[]
  readonly routes: readonly DumpedResource[]
  /** Tables that listeners carry themselves (`route_config`), once for each connection manager that has one: Envoy counts them as static. */
  readonly inlineRoutes: () => readonly DumpedResource[]
  readonly endpoints: readonly DumpedResource[]
  /** Filters that come on their own (ECDS). */
  readonly extensions: readonly DumpedResource[]
  readonly secrets: readonly DumpedSecret[]
  /** Secrets that are waited for. */
  readonly missingSecrets: readonly string[]
}
