// Configuration from a control plane, where heddle.yaml names one. Nothing of it is loaded otherwise.
import { Rng } from '../base/rng.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { SelfDescription } from '../state/self-description.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { AgentFeed } from '../xds/agent/agent-feed.ts'
import type { AdsClient } from '../xds/client/ads-client.ts'
import type { Environment } from '../xds/client/istio-environment.ts'
import type { UpdateConsumer } from '../xds/client/resource-update.ts'
import type { ConfigSource } from './config-source.ts'

export interface ControlPlaneOptions {
  readonly bootstrap: BootstrapConfig
  readonly env: Environment
  readonly log: Logger
  /** Of heddle. */
  readonly version: string
  /** Default: none. */
  readonly agent?: AgentFeed | null
}

export interface ControlPlane {
  /** A client that is not started yet and tells its updates to `onUpdate`. */
  readonly connect: (onUpdate: UpdateConsumer) => AdsClient
  readonly self: SelfDescription
  /** Snapshots made of what it sends; null for role `node`, whose tunnel is fed in another way (workload-source.ts). */
  readonly source: ((onChange: (why: string) => void) => ConfigSource) | null
}

/** Envoy's initial_fetch_timeout: servers of the state of the world say nothing of what does not exist. */
const FETCH_TIMEOUT_MS = 15_000

/** null: there is none. */
export async function openControlPlane({
  bootstrap,
  env,
  log,
  version,
  agent = null,
}: ControlPlaneOptions): Promise<ControlPlane | null> {
  const { xds, retries, role } = bootstrap
  if (xds.address === '') return null
  const { openAdsClient } = await import('../xds/client/open-ads-client.ts')
  const { ownNode } = await import('../xds/client/own-node.ts')
  const { describeSelf } = await import('../xds/client/self-description.ts')
  const own = ownNode(bootstrap, env, version)
  const self = describeSelf(own.node, bootstrap.workload)
  const connect = (onUpdate: UpdateConsumer) =>
    openAdsClient({ bootstrap, env, log, rng: new Rng(Date.now() | 0), version, onUpdate, own })
  if (role === 'node') return { connect, self, source: null }
  const { XdsSource } = await import('./xds-source.ts')
  const { ownTunnelFields } = await import('./own-tunnel-fields.ts')
  const { UsableFiles } = await import('./secret-files.ts')
  const terms = {
    routes: { unsafeRetries: retries === 'exact' ? 'allowed' : 'held-back' },
    ...ownTunnelFields(bootstrap, env),
    fetchTimeoutMs: xds.protocol === 'sotw' ? FETCH_TIMEOUT_MS : 0,
    files: new UsableFiles(),
  } as const
  return { connect, self, source: (onChange) => new XdsSource({ terms, connect, log, agent, onChange }) }
}
