// heddle.yaml as Istio's injection template says it: of pilot-agent's arguments, of the environment, and of the files of the pod (istio pkg/bootstrap, pilot/cmd/pilot-agent).
// docs/istio-pods.md has the table. Pure: what is there of files the caller has looked up.
import { parseDuration } from '../../base/duration.ts'
import { type Environment, readIstioEnvironment } from '../client/istio-environment.ts'
import type { Struct } from '../proto/schema.ts'
import { appProbersOf, scrapeTargetsOf } from './istio-injected.ts'
import { isStruct, mapping } from './mapping-text.ts'

export type AgentRole = 'sidecar' | 'router' | 'waypoint' | 'ztunnel'

export interface AgentCall {
  readonly role: AgentRole
  /** Its flags that are given: `domain`, `proxyLogLevel`, `log_output_level`, `concurrency`, `serviceCluster`. */
  readonly flags: Readonly<Record<string, string | undefined>>
}

export interface PodFacts {
  readonly env: Environment
  /** Texts of files: of the downward API, and the mesh's settings at /etc/istio/config/mesh; null: there is none. */
  readonly labels: string | null
  readonly annotations: string | null
  readonly meshConfig: string | null
  /** Whether there is such a file or folder. */
  readonly exists: (path: string) => boolean
  /** Of the machine. */
  readonly cpus: number
}

export interface IstioBootstrap {
  /** What heddle.yaml would say. */
  readonly document: Readonly<Record<string, unknown>>
  /** Told, and gone on without. */
  readonly notes: readonly string[]
  /** With these it cannot begin. */
  readonly problems: readonly string[]
}

const ISTIOD = 'istiod.istio-system.svc:15012'
const ROLES = { sidecar: 'sidecar', router: 'gateway', waypoint: 'waypoint', ztunnel: 'node' } as const
const ROOTS = '/var/run/secrets/istio/root-cert.pem'
const KUBERNETES = '/var/run/secrets/kubernetes.io/serviceaccount'
const TOKEN = '/var/run/secrets/tokens/istio-token'
const PROVISIONED = '/var/run/secrets/workload-spiffe-credentials'
const SOCKETS = '/var/run/secrets/workload-spiffe-uds'
const MOUNTED = '/etc/certs'
/** Of istiod's plugged-in CA. The folder is mounted everywhere, the file is there where the CA has lists. */
const REVOKED = '/var/run/secrets/istio/crl'
/** A folder of the pod that outlives its containers. */
const SCRATCH = '/etc/istio/proxy'
const GATEWAY_NAME = 'gateway.networking.k8s.io/gateway-name'
const DEFAULT_CONCURRENCY = 2
const MAX_CONCURRENCY = 256

export function istioBootstrap(call: AgentCall, pod: PodFacts): IstioBootstrap {
  const reading = new Reading(call, pod)
  const document = reading.document()
  return { document, notes: [...new Set(reading.notes)], problems: reading.problems }
}

class Reading {
  readonly notes: string[]
  readonly problems: string[]
  readonly #call: AgentCall
  readonly #pod: PodFacts
  readonly #env: Environment
  readonly #settings: Struct
  readonly #metadata: Struct
  readonly #labels: Readonly<Record<string, string>>

  constructor(call: AgentCall, pod: PodFacts) {
    this.notes = []
    this.problems = []
    this.#call = call
    this.#pod = pod
    const istio = readIstioEnvironment(pod.env, pod)
    this.notes.push(...istio.problems)
    // The mesh's, then the variable, then the pod's own annotation.
    const mesh = mapping(pod.meshConfig ?? '', '/etc/istio/config/mesh', this.notes)['defaultConfig']
    const own = mapping(istio.annotations['proxy.istio.io/config'] ?? '', 'the annotation proxy.istio.io/config', this.notes)
    this.#settings = { ...(isStruct(mesh) ? mesh : {}), ...istio.proxyConfig, ...own }
    const { proxyMetadata } = this.#settings
    const further = isStruct(proxyMetadata) ? proxyMetadata : {}
    this.#env = { ...Object.fromEntries(Object.entries(further).map(([k, v]) => [k, String(v)])), ...pod.env }
    this.#metadata = istio.metadata
    this.#labels = istio.labels
  }

  document(): Record<string, unknown> {
    const { role } = this.#call
    const control = this.#controlPlane()
    return {
      role: ROLES[role],
      workload: this.#workload(),
      concurrency: this.#concurrency(),
      admin: { port: this.#port('proxyAdminPort', '', 15_000) },
      health: { address: this.#everybody(), port: this.#port('', 'ENVOY_STATUS_PORT', 15_021) },
      // As Istio by default; HEDDLE_ACCESS_LOG_PATH says otherwise, and then lines are those that readers of sidecars' logs know.
      accessLog: { path: null, format: 'istio' },
      logLevel: this.#logLevel(),
      xds: control.xds,
      identity: this.#identity(control.caAddress),
      mesh: { domain: this.#domain() },
      drain: this.#drain(),
      http1: { halfClose: 'abort' }, // as Envoy: who closes is gone
      agent: this.#agent(),
      ...(this.#answersNames() ? { dns: this.#dns() } : {}),
      ...(role === 'sidecar' ? { capture: { mode: this.#interception() } } : {}),
      ...(role === 'waypoint' ? { waypoint: { name: this.#waypointName() } } : {}),
      ...(role === 'ztunnel' ? { node: this.#node() } : {}),
    }
  }

  #of(name: string): string {
    return this.#env[name] ?? ''
  }

  /** Of the node's metadata, from ISTIO_META_ or ISTIO_METAJSON_. */
  #meta(key: string): string {
    const value = this.#metadata[key] ?? this.#env[`ISTIO_META_${key}`] ?? ''
    return typeof value === 'object' ? '' : String(value)
  }

  #isOn(key: string): boolean {
    return /^(?:true|1)$/i.test(this.#meta(key))
  }

  /** ztunnel answers unless it is told not to: its pods ask it where the rules of the CNI agent say so. */
  #answersNames(): boolean {
    if (this.#call.role !== 'ztunnel') return this.#isOn('DNS_CAPTURE')
    const said = this.#meta('DNS_CAPTURE')
    return said === '' || this.#isOn('DNS_CAPTURE')
  }

  #setting(key: string): string {
    const value = this.#settings[key] ?? ''
    return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
  }

  #workload(): Struct {
    const named: Record<string, string> = {}
    const put = (key: string, value: string): void => {
      if (value !== '') named[key] = value
    }
    put('namespace', this.#of('POD_NAMESPACE'))
    put('serviceAccount', this.#of('SERVICE_ACCOUNT'))
    put('name', this.#meta('WORKLOAD_NAME') || (this.#labels['app'] ?? ''))
    put('address', this.#of('INSTANCE_IP').split(',')[0] ?? '')
    return { ...named, ...(Object.keys(this.#labels).length > 0 ? { labels: this.#labels } : {}) }
  }

  /** The port of a pod with IPv6 has to be on all of its addresses, too. */
  #everybody(): string {
    return this.#of('INSTANCE_IP').includes(':') || this.#of('ISTIO_DUAL_STACK') === 'true' ? '::' : '0.0.0.0'
  }

  #port(setting: string, key: string, fallback: number): number {
    const text = (key === '' ? '' : this.#meta(key)) || (setting === '' ? '' : this.#setting(setting))
    if (text === '') return fallback
    if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
    this.notes.push(`${key || setting} is no port (${text}): ${fallback} is used`)
    return fallback
  }

  /** Istio gives a limit in whole CPUs, and without one those of the machine: as many workers as a machine has CPUs nobody meant. */
  #concurrency(): number {
    const given = this.#call.flags['concurrency'] ?? this.#setting('concurrency') ?? ''
    const threads = this.#call.role === 'ztunnel' ? this.#of('ZTUNNEL_WORKER_THREADS') : ''
    const wanted = given !== '' ? given : threads
    if (/^\d{1,4}$/.test(wanted)) return Math.min(MAX_CONCURRENCY, Number(wanted) === 0 ? this.#pod.cpus : Number(wanted))
    if (wanted !== '') this.notes.push(`concurrency is no whole number (${wanted}) and is left out`)
    const limit = Number(this.#of('ISTIO_CPU_LIMIT'))
    const isLimit = Number.isInteger(limit) && limit > 0 && limit < this.#pod.cpus
    return Math.min(MAX_CONCURRENCY, isLimit ? limit : DEFAULT_CONCURRENCY)
  }

  #logLevel(): string {
    const { proxyLogLevel = '', log_output_level: scopes = '' } = this.#call.flags
    const words = scopes.split(',').map((s) => s.split(':'))
    const scope = words.find(([name, level]) => level === undefined || name === 'default' || name === 'all')
    const ofAgent = LEVELS[scope?.at(-1)?.trim().toLowerCase() ?? ''] ?? 'info'
    return /^(?:debug|trace)$/i.test(proxyLogLevel) ? 'debug' : ofAgent
  }

  #controlPlane(): { readonly xds: Struct; readonly caAddress: string } {
    const isTunnel = this.#call.role === 'ztunnel'
    const named = (isTunnel && this.#of('XDS_ADDRESS')) || this.#setting('discoveryAddress') || ISTIOD
    const address = named.replace(/^https?:\/\//, '')
    const plaintext =
      address.endsWith(':15010') || this.#setting('controlPlaneAuthPolicy') === 'NONE' || named.startsWith('http://')
    // A CA of Istio speaks TLS only.
    const besideIt = address.replace(/:15010$/, ':15012')
    const caAddress = (this.#of('CA_ADDR') || this.#of('CA_ADDRESS') || besideIt).replace(/^https?:\/\//, '')
    const authority = this.#of('ISTIOD_SAN')
    const clusterId = this.#meta('CLUSTER_ID')
    const xds = {
      address,
      ...(plaintext ? { transport: 'plaintext' } : {}),
      ...(authority === '' ? {} : { serverName: authority }),
      roots: this.#roots(this.#of('XDS_ROOT_CA')),
      token: plaintext ? '' : this.#token(),
      ...(clusterId === '' ? {} : { clusterId }),
      ...(this.#pod.exists(SCRATCH) ? { state: `${SCRATCH}/xds` } : {}),
      ...(isTunnel && /^true$/i.test(this.#of('XDS_ON_DEMAND')) ? { onDemand: true } : {}),
    }
    return { xds, caAddress }
  }

  /** The file with the roots of istiod's certificate; '': those of the system. */
  #roots(named: string): string {
    if (named !== '') return named === 'SYSTEM' ? '' : named
    const provider = this.#of('PILOT_CERT_PROVIDER')
    switch (provider) {
      case 'kubernetes':
        return `${KUBERNETES}/ca.crt`
      case 'custom':
        return `${MOUNTED}/root-cert.pem`
      case 'none':
        return ''
      default:
        if (provider !== '' && provider !== 'istiod' && !provider.startsWith('k8s.io/'))
          this.notes.push(`PILOT_CERT_PROVIDER ${provider} is not known: istiod's root is expected at ${ROOTS}`)
        return ROOTS
    }
  }

  #token(): string {
    return this.#of('JWT_POLICY') === 'first-party-jwt' ? `${KUBERNETES}/token` : TOKEN
  }

  #identity(caAddress: string): Struct {
    const trustDomain = this.#of('TRUST_DOMAIN') || this.#meta('TRUST_DOMAIN') || 'cluster.local'
    const ttl = this.#duration('SECRET_TTL')
    const common = {
      trustDomain,
      ...(ttl === '' ? {} : { certificateTtl: ttl }),
      ...this.#revocation(),
      ...(this.#of('ECC_SIGNATURE_ALGORITHM') === '' && this.#of('WORKLOAD_RSA_KEY_SIZE') !== '' ? { key: 'rsa-2048' } : {}),
      ...this.#rotation(),
    }
    const socket = `${SOCKETS}/${this.#of('WORKLOAD_IDENTITY_SOCKET_FILE') || 'socket'}`
    if (this.#pod.exists(socket)) return { ...common, source: 'workload-api', workloadApi: { socket: `unix://${socket}` } }
    for (const [folder, isThere] of [
      [PROVISIONED, this.#pod.exists(`${PROVISIONED}/cert-chain.pem`)],
      [MOUNTED, this.#of('FILE_MOUNTED_CERTS') === 'true'],
    ] as const) {
      if (!isThere) continue
      const files = {
        certificateChain: `${folder}/cert-chain.pem`,
        privateKey: `${folder}/key.pem`,
        roots: `${folder}/root-cert.pem`,
      }
      return { ...common, source: 'files', files }
    }
    const provider = this.#of('CA_PROVIDER')
    if (provider !== '' && provider !== 'Citadel')
      this.problems.push(
        `CA_PROVIDER ${provider}: certificates come from istiod (Citadel), from mounted files, or from SPIRE's socket`,
      )
    const clusterId = this.#meta('CLUSTER_ID')
    const istioCa = {
      address: caAddress,
      roots: this.#roots(this.#of('CA_ROOT_CA')),
      token: this.#token(),
      ...(clusterId === '' ? {} : { clusterId }),
      ...(this.#of('ISTIO_META_CERT_SIGNER') === '' ? {} : { certSigner: this.#of('ISTIO_META_CERT_SIGNER') }),
    }
    return { ...common, source: 'istio-ca', istioCa }
  }

  #revocation(): Struct {
    if (this.#call.role === 'ztunnel') return this.#of('CRL_PATH') === '' ? {} : { revocation: this.#of('CRL_PATH') }
    return this.#pod.exists(REVOKED) ? { revocation: `${REVOKED}/ca-crl.pem` } : {}
  }

  #rotation(): Struct {
    const rotation: Record<string, number> = {}
    for (const [field, variable] of [
      ['graceRatio', 'SECRET_GRACE_PERIOD_RATIO'],
      ['jitter', 'SECRET_GRACE_PERIOD_RATIO_JITTER'],
    ] as const) {
      const text = this.#of(variable)
      const value = Number(text)
      if (text === '') continue
      if (value >= 0 && value <= 1) rotation[field] = value
      else this.notes.push(`${variable} is no number from 0 to 1 (${text}) and is left out`)
    }
    return Object.keys(rotation).length === 0 ? {} : { rotation }
  }

  #duration(variable: string, fallback = ''): string {
    const text = this.#of(variable)
    if (text === '') return fallback
    if (parseDuration(text) !== null) return text
    this.notes.push(`${variable} is no duration (${text}) and is left out`)
    return fallback
  }

  /** `web.svc.cluster.local` without the namespace in front. */
  #domain(): string {
    const domain = this.#call.flags['domain'] ?? ''
    const namespace = this.#of('POD_NAMESPACE')
    const parts = /^(?:([^.]+)\.)?svc\.(.+)$/.exec(domain)
    if (domain === '') return 'cluster.local'
    if (parts === null) return domain
    if (parts[1] !== undefined && namespace !== '' && parts[1] !== namespace)
      this.notes.push(`--domain ${domain} is of the namespace ${parts[1]}, POD_NAMESPACE is ${namespace}: the latter counts`)
    return parts[2] as string
  }

  /** Either for a fixed time, or from a minimum to when nobody is there any more; the kubelet ends it in any case. */
  #drain(): Struct {
    const changes = this.#setting('drainDuration')
    const more = changes !== '' && parseDuration(changes) !== null ? { changes } : {}
    if (this.#call.role === 'ztunnel') {
      const seconds = this.#of('TERMINATION_GRACE_PERIOD_SECONDS')
      return /^\d{1,5}$/.test(seconds) ? { deadline: `${seconds}s`, ...more } : more
    }
    if (this.#isOn('EXIT_ON_ZERO_ACTIVE_CONNECTIONS') || /^true$/i.test(this.#of('EXIT_ON_ZERO_ACTIVE_CONNECTIONS')))
      return { accept: this.#duration('MINIMUM_DRAIN_DURATION', '5s'), deadline: '24h', ...more }
    const time = this.#setting('terminationDrainDuration') || '5s'
    if (parseDuration(time) === null) this.notes.push(`terminationDrainDuration is no duration (${time}): 5s is used`)
    const used = parseDuration(time) === null ? '5s' : time
    return { accept: used, deadline: used, ...more }
  }

  #agent(): Struct {
    const { role } = this.#call
    const status = this.#port('statusPort', '', 15_020)
    const local = /^true$/i.test(this.#of('METRICS_LOCALHOST_ACCESS_ONLY')) ? { metricsFor: 'local' } : {}
    const servers = { address: this.#everybody(), statusPort: status, ...local }
    if (role === 'ztunnel') return servers
    const probes = appProbersOf(this.#of('ISTIO_KUBE_APP_PROBERS'), this.problems)
    const targets = scrapeTargetsOf(this.#of('ISTIO_PROMETHEUS_ANNOTATIONS'), status, this.notes)
    const podAddress = this.#of('INSTANCE_IP').split(',')[0] ?? ''
    const loopback = /^true$/i.test(this.#of('REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION')) || podAddress === ''
    return {
      ...servers,
      metricsPort: this.#port('', 'ENVOY_PROMETHEUS_PORT', 15_090),
      ...(targets.length === 0 ? {} : { applicationMetrics: targets }),
      ...(loopback ? {} : { probeAddress: podAddress }),
      ...(Object.keys(probes).length === 0 ? {} : { probes }),
      ...(isStruct(this.#settings['readinessProbe']) ? { readinessProbe: this.#settings['readinessProbe'] } : {}),
    }
  }

  #dns(): Struct {
    const named = this.#of('DNS_PROXY_ADDR') || this.#meta('DNS_PROXY_ADDR') || 'localhost:15053'
    const parts = /^(.*):(\d{1,5})$/.exec(named)
    if (parts === null) this.notes.push(`DNS_PROXY_ADDR is not \`address:port\` (${named}): localhost:15053 is used`)
    const host = (parts?.[1] ?? '').replace(/^\[|\]$/g, '')
    const loopback = this.#of('INSTANCE_IP').includes(':') ? '::1' : '127.0.0.1'
    return { address: host === '' || host === 'localhost' ? loopback : host, port: Number(parts?.[2] ?? 15_053) }
  }

  #interception(): string {
    const [meta, setting] = [this.#meta('INTERCEPTION_MODE'), this.#setting('interceptionMode')]
    if (meta !== '' && setting !== '' && meta !== setting)
      this.notes.push(`ISTIO_META_INTERCEPTION_MODE is ${meta}, interceptionMode of PROXY_CONFIG ${setting}: the former counts`)
    return (meta || setting || 'REDIRECT').toLowerCase()
  }

  #waypointName(): string {
    const labelled = this.#labels[GATEWAY_NAME] ?? ''
    const [byCluster = ''] = (this.#call.flags['serviceCluster'] ?? '').split('.')
    if (labelled === '')
      this.notes.push(`the pod has no label ${GATEWAY_NAME}: the waypoint's name is taken from --serviceCluster`)
    return labelled || byCluster || 'waypoint'
  }

  #node(): Struct {
    const isOff = (variable: string): boolean => /^false$/i.test(this.#of(variable))
    const mark = this.#of('PACKET_MARK')
    return {
      agentSocket: this.#of('INPOD_UDS') || '/var/run/ztunnel/ztunnel.sock',
      ...(isOff('ENABLE_ORIG_SRC') ? { keepSource: false } : {}),
      ...(isOff('LOCALHOST_APP_TUNNEL') ? { localTunnel: false } : {}),
      ...(/^\d+$/.test(mark) ? { mark: Number(mark) } : {}),
    }
  }
}

/** Of Istio's log, and of heddle's. */
const LEVELS: Readonly<Record<string, string>> = {
  debug: 'debug',
  info: 'info',
  warn: 'warning',
  warning: 'warning',
  error: 'error',
  fatal: 'error',
  none: 'error',
}
