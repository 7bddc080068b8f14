// What the tests of resources share: a bootstrap configuration, folders on disk, and the recorded peers.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type LoadResult, ResourceLoader } from '../../../lib/resources/load.ts'
import type {
  BootstrapConfig,
  CaptureConfig,
  GatewayConfig,
  HealthCheckRule,
  ListenerConfig,
  WaypointConfig,
} from '../../../lib/state/bootstrap-config.ts'
import type { Cluster } from '../../../lib/state/cluster.ts'
import type { RouteTable } from '../../../lib/state/route.ts'
import type { ResourceStatus } from '../../../lib/state/snapshot.ts'
import type { TlsVersion } from '../../../lib/state/tls.ts'
import { NO_XDS } from '../../support/nouns.ts'

export interface View {
  readonly namespace?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly listeners?: readonly Partial<ListenerConfig>[]
  readonly healthChecks?: readonly HealthCheckRule[]
  readonly outboundTrafficPolicy?: 'ALLOW_ANY' | 'REGISTRY_ONLY'
  readonly capture?: Partial<CaptureConfig>
  readonly role?: BootstrapConfig['role']
  readonly gateway?: Partial<GatewayConfig>
  readonly waypoint?: Partial<WaypointConfig>
  readonly autoMtls?: 'on' | 'off'
  readonly minTlsVersion?: TlsVersion
  readonly address?: string
  readonly identity?: BootstrapConfig['identity']['source']
  /** exact */
  readonly retries?: 'guarded' | 'exact'
}

export function bootstrapFor(resources: readonly string[], view: View = {}): BootstrapConfig {
  return {
    role: view.role ?? (view.waypoint === undefined ? 'sidecar' : 'waypoint'),
    workload: {
      namespace: view.namespace ?? 'default',
      serviceAccount: 'web',
      name: 'web',
      labels: view.labels ?? { app: 'web' },
      address: view.address ?? '127.0.0.1',
      locality: '',
    },
    concurrency: 1,
    admin: { address: '127.0.0.1', port: 0 },
    health: { address: '127.0.0.1', port: 0 },
    accessLog: { path: null, format: 'text', isDefault: false },
    logLevel: 'error',
    resources,
    xds: NO_XDS,
    // By default one that knows an original destination, as an intercepted port does: then unknown hosts are passed on.
    listeners: (view.listeners ?? [{ destination: '192.0.2.1:80' }]).map((l) => ({ ...LISTENER, ...l })),
    capture: { ...NO_CAPTURE, ...view.capture },
    gateway: { ...GATEWAY, ...view.gateway },
    waypoint: { ...WAYPOINT, ...view.waypoint },
    drain: { acceptMs: 0, deadlineMs: 1000, changesMs: 1000 },
    limits: {
      maxHeaderBytes: 61_440,
      maxHeaders: 100,
      bufferBytes: 1 << 20,
      maxConnections: 100,
      maxRequestsPerConnection: 100,
      headerTimeoutMs: 1000,
      connectionIdleTimeoutMs: 1000,
      streamIdleTimeoutMs: 0,
      streamStallTimeoutMs: 1000,
      maxSeries: 100,
    },
    mesh: {
      rootNamespace: 'istio-system',
      domain: 'cluster.local',
      outboundTrafficPolicy: view.outboundTrafficPolicy ?? 'ALLOW_ANY',
      pathNormalization: 'BASE',
      defaultRetryAttempts: 2,
      defaultRetryOn: '',
      localityFailover: 'on',
      autoMtls: view.autoMtls ?? 'on',
      minTlsVersion: view.minTlsVersion ?? 'TLSv1.3',
      dnsRefreshMs: 60_000,
      dnsServers: [],
    },
    http1: { halfClose: 'serve' },
    mirror: { hostSuffix: '', maxRequests: 1024 },
    retries: view.retries ?? 'exact',
    faults: { headers: 'ignore' },
    healthChecks: view.healthChecks ?? [],
    node: {
      workloads: [],
      pods: [],
      agentSocket: '',
      outboundPort: 15001,
      inboundPort: 15006,
      tunnelPort: 15008,
      keepSource: true,
      mark: 1337,
      localTunnel: true,
    },
    agent: {
      address: '0.0.0.0',
      statusPort: 0,
      metricsPort: 0,
      metricsFor: 'all',
      applicationMetrics: [],
      probeAddress: '127.0.0.1',
      probes: [],
      readinessProbe: null,
    },
    dns: { address: '127.0.0.1', port: 0, servers: [] },
    identity: { ...NO_IDENTITY, source: view.identity ?? 'none' },
    file: 'heddle.yaml',
  }
}

const NO_IDENTITY: BootstrapConfig['identity'] = {
  source: 'none',
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  spiffeId: '',
  key: 'ecdsa-p256',
  certificateTtlMs: 86_400_000,
  rotation: { graceRatio: 0.5, jitter: 0.01 },
  onOldCertificate: 'keep',
  bundles: [],
  revocation: '',
  files: { certificateChain: '', privateKey: '', roots: '' },
  devCa: { folder: '' },
  workloadApi: { socket: '', hint: '' },
  istioCa: {
    address: '127.0.0.1:15012',
    serverName: '',
    roots: '',
    token: '',
    clientCertificate: '',
    clientKey: '',
    clusterId: '',
    certSigner: '',
  },
}

const NO_CAPTURE: CaptureConfig = {
  mode: 'none',
  address: '0.0.0.0',
  outboundPort: 15_001,
  inboundPort: 15_006,
  tunnelPort: 15_008,
  detectionTimeoutMs: 2000,
  ports: [],
  origin: { kind: 'bootstrap', namespace: '', name: 'capture', file: 'heddle.yaml', line: 1, column: 1 },
}

const GATEWAY: GatewayConfig = {
  address: '0.0.0.0',
  ports: [],
  portOffset: 0,
  trustedProxies: 0,
  proxyProtocol: false,
  origin: { kind: 'bootstrap', namespace: '', name: 'gateway', file: 'heddle.yaml', line: 1, column: 1 },
}

const WAYPOINT: WaypointConfig = {
  name: 'waypoint',
  address: '0.0.0.0',
  port: 15_008,
  services: 'labelled',
  serves: 'service',
  detectionTimeoutMs: 2000,
  origin: { kind: 'bootstrap', namespace: '', name: 'waypoint', file: 'heddle.yaml', line: 1, column: 1 },
}

const LISTENER: ListenerConfig = {
  name: 'out',
  direction: 'outbound',
  protocol: 'http',
  httpVersion: 'auto',
  address: '127.0.0.1',
  port: 0,
  destination: '',
  forwardTo: '',
  destinationPort: 0,
  allowConnect: false,
  origin: { kind: 'bootstrap', namespace: '', name: 'heddle', file: 'heddle.yaml', line: 1, column: 1 },
}

/** A folder that is gone after the test. `write` takes names and texts. */
export class Folder {
  readonly path: string

  constructor(t: { teardown(fn: () => void): unknown }, files: Readonly<Record<string, string>> = {}) {
    this.path = mkdtempSync(join(tmpdir(), 'heddle-resources-'))
    t.teardown(() => rmSync(this.path, { recursive: true, force: true }))
    this.write(files)
  }

  write(files: Readonly<Record<string, string>>): void {
    for (const [name, text] of Object.entries(files)) {
      const file = join(this.path, name)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, text)
    }
  }
}

/** One reading of one text. */
export function loadText(t: { teardown(fn: () => void): unknown }, text: string, view: View = {}): LoadResult {
  return new ResourceLoader(bootstrapFor([new Folder(t, { 'a.yaml': text }).path], view)).load()
}

export function statusOf(result: LoadResult, name: string): ResourceStatus {
  const found = result.statuses.filter((s) => s.name === name)
  if (found.length !== 1) throw new Error(`${found.length} statuses for ${name}`)
  return found[0]!
}

export function tableOf(result: LoadResult, port: number): RouteTable {
  const table = result.snapshot.routeTables.find((r) => r.name === String(port))
  if (table === undefined) throw new Error(`no table ${port}`)
  return table
}

export function clusterOf(result: LoadResult, name: string): Cluster {
  const cluster = result.snapshot.clusters.find((c) => c.name === name)
  if (cluster === undefined) throw new Error(`no cluster ${name}`)
  return cluster
}

/** The folder of recorded peers: HEDDLE_PEERS, else `../shared/peers` beside the repository; null when it is not there. */
export function peersFolder(): string | null {
  let root = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(root, 'package.json')) || !existsSync(join(root, 'lib'))) {
    if (dirname(root) === root) break
    root = dirname(root)
  }
  for (const path of [process.env['HEDDLE_PEERS'], resolve(root, '../shared/peers'), resolve(process.cwd(), '../shared/peers')]) {
    if (path !== undefined && existsSync(join(path, 'cases'))) return path
  }
  return null
}
