// The client that heddle.yaml and Istio's environment ask for.
import type { Rng } from '../../base/rng.ts'
import type { BootstrapConfig } from '../../state/bootstrap-config.ts'
import { AdsClient, type AdsClientOptions } from './ads-client.ts'
import type { AdsLog } from './ads-connection.ts'
import { readMetadata, readTls } from './credentials.ts'
import type { Environment } from './istio-environment.ts'
import { type OwnNode, ownNode } from './own-node.ts'
import { ResourceCache } from './resource-cache.ts'
import type { UpdateConsumer } from './resource-update.ts'

export interface OpenAdsClientOptions {
  /** `xds.address` is not empty. */
  readonly bootstrap: BootstrapConfig
  readonly env: Environment
  readonly log: AdsLog
  readonly rng: Rng
  /** Of heddle. */
  readonly version: string
  readonly onUpdate: UpdateConsumer
  readonly onConnection?: (connected: boolean) => void
  /** Default: looked up. */
  readonly own?: OwnNode
  /** For tests: what is other than by configuration. */
  readonly overrides?: Partial<AdsClientOptions>
}

/** Not started, and nothing subscribed to. */
export function openAdsClient(options: OpenAdsClientOptions): AdsClient {
  const { bootstrap, env, log, rng, version, onUpdate, onConnection, overrides } = options
  const { own = ownNode(bootstrap, env, version) } = options
  const { xds } = bootstrap
  const { node, clusterId, problems } = own
  for (const problem of problems) log.warning(problem)
  const { host, port } = hostAndPort(xds.address)
  const serverName = xds.serverName === '' ? host : xds.serverName
  const cache = xds.state === '' ? null : new ResourceCache({ folder: xds.state, nodeId: node.id, server: xds.address, log })
  return new AdsClient({
    address: { kind: 'tcp', host, port },
    protocol: xds.protocol,
    tls: xds.transport === 'plaintext' ? null : () => readTls(xds, serverName, env),
    metadata: () => readMetadata(xds, clusterId, env),
    node,
    cache,
    log,
    rng,
    userAgent: `heddle/${version}`,
    onUpdate,
    ...(onConnection === undefined ? {} : { onConnection }),
    ...overrides,
  })
}

/** `[::1]:15012` too. The bootstrap has checked it. */
function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) }
}
