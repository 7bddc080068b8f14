// Answers the questions of a node's pods for names: each pod has sockets of its own in its network namespace, where the rules of the node's agent lead what it
// asks (15053), and sees the mesh as its workload does.
import { readFileSync, statSync } from 'node:fs'
import type { MeshIndex } from '../decide/tunnel/mesh-index.ts'
import type { DnsCounts } from '../dns/dns-counts.ts'
import { DnsProxy } from '../dns/dns-proxy.ts'
import { PodSockets } from '../dns/dns-sockets.ts'
import { MeshNames } from '../dns/mesh-names.ts'
import { parseResolvConf } from '../dns/resolv-conf.ts'
import type { BootstrapConfig, ServedPod } from '../state/bootstrap-config.ts'
import { workloadInfoText } from '../state/workload.ts'
import { isIpv6Disabled, type Netns, openNetns } from '../sys/netns.ts'

export interface PodDnsOptions {
  readonly bootstrap: BootstrapConfig
  readonly counts: DnsCounts
  readonly log: { info(message: string): void; warning(message: string): void }
  /** What is known of the mesh now. */
  readonly index: () => MeshIndex
  /** The index knows a part of the mesh only: who is not in it may be a service all the same, and somebody else is asked. */
  readonly knowsAll: boolean
}

const RESOLV_CONF = '/etc/resolv.conf'
/** Where REDIRECT leads what a pod sends. */
const LOOPBACK = ['127.0.0.1', '::1']
const RETRY_MS = 1000

export class PodDns {
  readonly #options: PodDnsOptions
  readonly #servers: readonly string[]
  /** By uid. */
  readonly #pods: Map<string, DnsOfPod>
  readonly #timer: NodeJS.Timeout

  constructor(options: PodDnsOptions) {
    const { servers } = options.bootstrap.dns
    this.#options = options
    this.#servers = servers.length > 0 ? servers : serversOfSystem()
    this.#pods = new Map()
    this.#timer = setInterval(() => this.#sweep(), RETRY_MS).unref()
    options.log.info(
      `DNS on port ${options.bootstrap.dns.port} of each pod, what is not of the mesh is asked of ${this.#servers.join(', ') || 'nobody'}`,
    )
  }

  /** Resolves with '', or with why its questions are not answered; then it is tried again every second. */
  async open(pod: ServedPod): Promise<string> {
    const before = this.#pods.get(pod.uid)
    if (before !== undefined && before.pod.netnsIdentity === pod.netnsIdentity) return before.open()
    this.close(pod.uid)
    const opened = new DnsOfPod(pod, this.#options, this.#servers)
    this.#pods.set(pod.uid, opened)
    return opened.open()
  }

  close(uid: string): void {
    this.#pods.get(uid)?.close()
    this.#pods.delete(uid)
  }

  /** Workloads have come or gone, or there is another index. */
  changed(): void {
    for (const pod of this.#pods.values()) pod.changed()
  }

  closeAll(): void {
    clearInterval(this.#timer)
    for (const uid of [...this.#pods.keys()]) this.close(uid)
  }

  #sweep(): void {
    for (const pod of this.#pods.values()) pod.sweep()
  }
}

class DnsOfPod {
  readonly pod: ServedPod
  readonly #options: PodDnsOptions
  readonly #servers: readonly string[]
  #netns: Netns | null
  #proxies: readonly DnsProxy[]
  #opening: Promise<string> | null
  /** What was said last of why there are no sockets. */
  #trouble: string
  #closed: boolean

  constructor(pod: ServedPod, options: PodDnsOptions, servers: readonly string[]) {
    this.pod = pod
    this.#options = options
    this.#servers = servers
    this.#netns = null
    this.#proxies = []
    this.#opening = null
    this.#trouble = ''
    this.#closed = false
  }

  open(): Promise<string> {
    if (this.#netns !== null && this.#opening === null) return Promise.resolve('')
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null
    })
    return this.#opening
  }

  async #open(): Promise<string> {
    const { bootstrap, counts, log } = this.#options
    const { dns, node } = bootstrap
    try {
      const netns = openNetns(this.pod.netns)
      this.#netns = netns
      const { netnsIdentity } = this.pod
      if (netnsIdentity !== '' && netnsIdentity !== netns.identity) throw new Error('its network namespace is gone')
      const sockets = new PodSockets(netns, node.mark)
      const addresses = isIpv6Disabled(netns) ? LOOPBACK.slice(0, 1) : LOOPBACK
      this.#proxies = addresses.map(
        (address) => new DnsProxy({ address, port: dns.port, servers: () => this.#servers, sockets, counts, log }),
      )
      for (const proxy of this.#proxies) await proxy.listen()
      this.changed()
      if (this.#trouble !== '') log.info(`pod ${workloadInfoText(this.pod)}: its questions for names are answered now`)
      this.#trouble = ''
    } catch (error) {
      this.#closeSockets()
      const why = (error as Error).message
      if (why !== this.#trouble)
        log.warning(
          `pod ${workloadInfoText(this.pod)}: its questions for names are not answered: ${why}; it is tried again every second`,
        )
      this.#trouble = why
    }
    if (this.#closed) this.#closeSockets()
    return this.#trouble
  }

  /** As long as nobody has told who the pod is, nothing is answered but that it cannot be. */
  changed(): void {
    const { bootstrap, index, knowsAll } = this.#options
    const client = index().workloadByInfo(this.pod)
    const names = knowsAll ? client && new MeshNames(index(), client, bootstrap.mesh.domain) : NO_NAMES
    for (const proxy of this.#proxies) proxy.use(names)
  }

  /** A pod that is gone is shut down, and one that has come is opened. */
  sweep(): void {
    if (this.#opening !== null || this.#closed) return
    if (this.#netns !== null && identityOf(this.pod.netns) !== this.#netns.identity) this.#closeSockets()
    if (this.#netns === null) void this.open()
  }

  close(): void {
    this.#closed = true
    if (this.#opening === null) this.#closeSockets()
  }

  #closeSockets(): void {
    for (const proxy of this.#proxies) void proxy.close()
    this.#proxies = []
    this.#netns?.close()
    this.#netns = null
  }
}

const NO_NAMES = { find: (): null => null }

/** As `Netns` has it; empty: there is none. */
function identityOf(path: string): string {
  try {
    const { dev, ino } = statSync(path)
    return `${dev}:${ino}`
  } catch {
    return ''
  }
}

function serversOfSystem(): readonly string[] {
  try {
    return parseResolvConf(readFileSync(RESOLV_CONF, 'utf8')).servers
  } catch {
    return []
  }
}
