// What becomes of a resource of each type: the seam between `store/`, which knows when something is in force, and `translate/`, which knows what it means.
import type { Cluster, Endpoint, LocalityWeight } from '../../state/cluster.ts'
import type { Listener } from '../../state/listener.ts'
import type { RouteTable } from '../../state/route.ts'
import type { SecretName } from '../../state/tls.ts'
import type { Credential } from '../../transport/secrets.ts'
import type { Any } from '../proto/schema.ts'
import type { Translate } from './resource-set.ts'

export interface TranslatedCluster {
  /** Without the endpoints that come by EDS. */
  readonly cluster: Cluster
  /** Name of the ClusterLoadAssignment; null: it brings its endpoints along. */
  readonly edsName: string | null
  /** Milliseconds until it is in force without endpoints all the same; 0: never (initial_fetch_timeout). */
  readonly fetchTimeoutMs: number
  readonly secretNames: readonly SecretName[]
}

/** A ClusterLoadAssignment. */
export interface TranslatedEndpoints {
  readonly endpoints: readonly Endpoint[]
  readonly localityWeights: readonly LocalityWeight[] | null
}

export interface TranslatedListener {
  readonly listener: Listener
  /** Of RouteConfigurations that come by RDS. */
  readonly routeNames: readonly string[]
  /** RouteConfigurations that it brings along. */
  readonly inlineTables: readonly RouteTable[]
  /** Of TypedExtensionConfigs: ECDS. */
  readonly extensionNames: readonly string[]
  /** Those of them that were not there when it was translated: it is not whole. */
  readonly missingExtensions: readonly string[]
  readonly fetchTimeoutMs: number
  readonly secretNames: readonly SecretName[]
}

export interface Translators {
  readonly cluster: Translate<TranslatedCluster>
  readonly endpoints: Translate<TranslatedEndpoints>
  /** The cluster with its endpoints. `previous`: what this returned for it before. */
  readonly assemble: (cluster: TranslatedCluster, endpoints: TranslatedEndpoints | null, previous: Cluster | null) => Cluster
  readonly listener: (extensions: ReadonlyMap<string, Any>) => Translate<TranslatedListener>
  readonly route: Translate<RouteTable>
  readonly extension: Translate<Any>
  readonly secret: Translate<Credential>
}
