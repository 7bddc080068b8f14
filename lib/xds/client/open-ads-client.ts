// The client that heddle.yaml and Istio's environment ask for.
import { readFileSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import type { Rng } from '../../base/rng.ts'
import type { BootstrapConfig } from '../../state/bootstrap-config.ts'
import { AdsClient, type AdsClientOptions } from './ads-client.ts'
import type { AdsLog } from './ads-connection.ts'
import { readMetadata, readTls } from './credentials.ts'
import { type Environment, readIstioEnvironment } from './istio-environment.ts'
import { clusterIdOf, nodeIdentity } from './node-identity.ts'
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
  /** For tests: what is other than by configuration. */
  readonly overrides?: Partial<AdsClientOptions>
}

/** Not started, and nothing subscribed to. */
export function openAdsClient(options: OpenAdsClientOptions): AdsClient {
  const { bootstrap, env, log, rng, version, onUpdate, onConnection, overrides } = options
  const { xds } = bootstrap
  const istio = readIstioEnvironment(env, {
    labels: textOrNull(xds.podLabels),
    annotations: textOrNull(xds.podAnnotations),
  })
  for (const problem of istio.problems) log.warning(problem)
  const input = { bootstrap, env, istio, addresses: ownAddresses(), hostname: hostname(), version }
  const { host, port } = hostAndPort(xds.address)
  const serverName = xds.serverName === '' ? host : xds.serverName
  const clusterId = clusterIdOf(input)
  const node = nodeIdentity(input)
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

function textOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}

/** All by which others may reach this network namespace. */
function ownAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !/^(169\.254\.|fe[89ab][0-9a-f]:)/i.test(address))
    .map(({ address }) => address)
}
