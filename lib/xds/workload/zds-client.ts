// The node's agent hands over pods: one packet for each, with the network namespace as a descriptor, and each is answered when its sockets are there (Istio's
// cni/pkg/nodeagent and ztunnel's inpod protocol). Main thread.
//
// A connection: ours begins with a hello; then the agent names all pods (add, or keep for one whose namespace it has not at hand) and says that this was all.
// Pods that were not named are dropped then. From there on it adds and deletes as they come and go. While there is no connection nothing changes.
import { closeSync } from 'node:fs'
import { Backoff, type BackoffTerms } from '../../base/backoff.ts'
import type { Rng } from '../../base/rng.ts'
import { ProtobufError } from '../../grpc/protobuf-fields.ts'
import { type WorkloadInfo, workloadInfoText } from '../../state/workload.ts'
import { Netns } from '../../sys/netns.ts'
import { SeqpacketClient, type SeqpacketOwner } from '../../sys/seqpacket-client.ts'
import { decode } from '../proto/decode.ts'
import { encode } from '../proto/encode.ts'
import { WorkloadRequest, WorkloadResponse, ZdsHello } from '../proto/zds.ts'

export interface HandedPod {
  /** The pod's in Kubernetes. */
  readonly uid: string
  readonly info: WorkloadInfo
  /** Open for as long as the pod is served; the client closes it. */
  readonly netns: Netns
}

export interface PodKeeper {
  /** Resolves when the pod's connections are taken, with '', or with why they are not. Called again for the same pod when they were not. */
  addPod(pod: HandedPod): Promise<string>
  /** At once. */
  removePod(pod: HandedPod): void
  /** Readiness may be another. */
  onStanding(): void
}

export interface ZdsLog {
  info(message: string): void
  warning(message: string): void
}

export interface ZdsOptions {
  /** Of the agent's socket. */
  readonly path: string
  readonly keeper: PodKeeper
  readonly log: ZdsLog
  readonly rng: Rng
  /** Default: ztunnel's, 10 ms doubling to 15 s. */
  readonly backoff?: BackoffTerms
  /** Before a pod that could not be served is tried again; 5 s. */
  readonly retryMs?: number
}

const BACKOFF: BackoffTerms = { initialMs: 10, maxMs: 15_000, factor: 2, jitter: 0.2 }
const RETRY_MS = 5000
/** What the agent sends at most. */
const LONGEST_PACKET = 1024

export class ZdsClient {
  readonly #options: ZdsOptions
  readonly #backoff: Backoff
  readonly #pods: Map<string, HandedPod>
  /** Of pods that are not served: why. */
  readonly #pending: Map<string, string>
  #connection: AgentConnection | null
  #timer: NodeJS.Timeout | null
  #retry: NodeJS.Timeout | null
  /** What was said last of why there is no connection. */
  #trouble: string
  #closed: boolean

  constructor(options: ZdsOptions) {
    this.#options = options
    this.#backoff = new Backoff(options.backoff ?? BACKOFF, options.rng)
    this.#pods = new Map()
    this.#pending = new Map()
    this.#connection = null
    this.#timer = null
    this.#retry = null
    this.#trouble = ''
    this.#closed = false
  }

  /** Connects, and again whenever the connection ends. Throws ENOSYS where descriptors cannot be received at all. */
  start(): void {
    this.#connect()
  }

  /** The agent is there, has named all pods, and all of them are served. */
  get ready(): boolean {
    return this.#connection?.complete === true && this.#pending.size === 0
  }

  /** For messages: what readiness waits for; empty when it waits for nothing. */
  waitingFor(): string[] {
    const { path } = this.#options
    if (this.#connection === null) return [`the node agent at ${path}${this.#trouble === '' ? '' : ` (${this.#trouble})`}`]
    if (!this.#connection.complete) return [`the node agent at ${path} to name all pods`]
    return [...this.#pending].map(([uid, why]) => `pod ${this.#nameOf(uid)} (${why})`)
  }

  get pods(): ReadonlyMap<string, HandedPod> {
    return this.#pods
  }

  /** Pods are not removed: connections of theirs may have to be finished. */
  close(): void {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#connection?.close()
    this.#connection = null
  }

  #connect(): void {
    this.#timer = null
    if (this.#closed) return
    try {
      this.#connection = new AgentConnection(this.#options.path, {
        add: (uid, info, netns) => this.#add(uid, info, netns),
        remove: (uid) => this.#remove(uid),
        complete: (named) => this.#complete(named),
        end: (why) => this.#onEnd(why),
      })
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'ENOSYS') throw error
      this.#again(code === 'ENOENT' ? 'there is no such socket' : code === 'ECONNREFUSED' ? 'nobody listens there' : message)
    }
  }

  #onEnd(why: string): void {
    this.#connection = null
    this.#options.keeper.onStanding()
    this.#again(why)
  }

  #again(why: string): void {
    if (this.#closed) return
    if (why !== this.#trouble)
      this.#options.log.warning(
        `no connection to the node agent at ${this.#options.path}: ${why}; it is tried again, and ${this.#pods.size} pods go on`,
      )
    this.#trouble = why
    this.#timer = setTimeout(() => this.#connect(), this.#backoff.nextMs()).unref()
  }

  /** What is answered. */
  async #add(uid: string, info: WorkloadInfo, netns: Netns): Promise<string> {
    const before = this.#pods.get(uid)
    if (before !== undefined && before.netns.identity === netns.identity) {
      netns.close()
      return this.#pending.has(uid) ? this.#serve(before) : ''
    }
    this.#remove(uid)
    const pod: HandedPod = { uid, info, netns }
    this.#pods.set(uid, pod)
    return this.#serve(pod)
  }

  async #serve(pod: HandedPod): Promise<string> {
    const { keeper, log } = this.#options
    const why = await keeper.addPod(pod)
    // It was deleted meanwhile, or another one is in its place.
    if (this.#pods.get(pod.uid) !== pod) return why
    const before = this.#pending.get(pod.uid)
    if (why === '') {
      this.#pending.delete(pod.uid)
      if (before !== undefined) log.info(`pod ${this.#nameOf(pod.uid)}: it is served now`)
    } else {
      if (before !== why) log.warning(`pod ${this.#nameOf(pod.uid)} cannot be served: ${why}; it is tried again`)
      this.#pending.set(pod.uid, why)
      this.#retryLater()
    }
    keeper.onStanding()
    return why
  }

  #retryLater(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = null
      for (const uid of this.#pending.keys()) void this.#serve(this.#pods.get(uid) as HandedPod)
    }, this.#options.retryMs ?? RETRY_MS).unref()
  }

  #remove(uid: string): void {
    const pod = this.#pods.get(uid)
    if (pod === undefined) return
    this.#pods.delete(uid)
    this.#pending.delete(uid)
    this.#options.keeper.removePod(pod)
    pod.netns.close()
    this.#options.keeper.onStanding()
  }

  #complete(named: ReadonlySet<string>): void {
    const { log, path, keeper } = this.#options
    for (const uid of [...this.#pods.keys()]) if (!named.has(uid)) this.#remove(uid)
    this.#backoff.reset()
    this.#trouble = ''
    log.info(`the node agent at ${path} has named its pods: ${this.#pods.size}`)
    keeper.onStanding()
  }

  #nameOf(uid: string): string {
    const pod = this.#pods.get(uid)
    return pod === undefined ? uid : workloadInfoText(pod.info)
  }
}

interface AgentOwner {
  add(uid: string, info: WorkloadInfo, netns: Netns): Promise<string>
  remove(uid: string): void
  complete(named: ReadonlySet<string>): void
  /** Once; nothing is called behind it. */
  end(why: string): void
}

/** One connection. Requests are carried out and answered one after the other. */
class AgentConnection implements SeqpacketOwner {
  /** All pods have been named. */
  complete: boolean
  readonly #owner: AgentOwner
  readonly #client: SeqpacketClient
  readonly #named: Set<string>
  #work: Promise<void>
  #open: boolean

  constructor(path: string, owner: AgentOwner) {
    this.complete = false
    this.#owner = owner
    this.#named = new Set()
    this.#work = Promise.resolve()
    this.#open = true
    this.#client = SeqpacketClient.connect(path, this, { longestPacket: LONGEST_PACKET })
    this.#client.send(encode(ZdsHello, { version: 'V1' }))
  }

  onPacket(bytes: Uint8Array, descriptors: readonly number[], whole: boolean): void {
    this.#work = this.#work.then(async () => {
      if (this.#open) await this.#request(bytes, descriptors, whole)
      else for (const fd of descriptors) closeSync(fd)
    })
  }

  onEnd(error: NodeJS.ErrnoException | null): void {
    this.#end(error === null ? 'it has ended the connection' : error.message)
  }

  close(): void {
    this.#open = false
    this.#client.close()
  }

  /** After a packet that makes no sense it is not known what the agent believes: another connection begins with all pods. */
  async #request(bytes: Uint8Array, descriptors: readonly number[], whole: boolean): Promise<void> {
    const read = whole ? readRequest(bytes, descriptors) : 'the packet was cut: it is too long, or has too many descriptors'
    if (typeof read === 'string') {
      for (const fd of descriptors) closeSync(fd)
      this.#answer(read)
      this.#end(read)
      return
    }
    this.#answer(await this.#carryOut(read))
  }

  async #carryOut(request: PodRequest): Promise<string> {
    const { uid } = request
    switch (request.kind) {
      case 'add':
        this.#named.add(uid)
        return this.#owner.add(uid, request.info, request.netns)
      case 'keep':
        this.#named.add(uid)
        return ''
      case 'del':
        this.#named.delete(uid)
        // Before that all that is not named is dropped anyway, and it may yet be named.
        if (this.complete) this.#owner.remove(uid)
        return ''
      case 'snapshot-sent':
        this.complete = true
        this.#owner.complete(this.#named)
        return ''
    }
  }

  #answer(error: string): void {
    if (this.#open) this.#client.send(encode(WorkloadResponse, { ack: { error } }))
  }

  #end(why: string): void {
    if (!this.#open) return
    this.close()
    this.#owner.end(why)
  }
}

type PodRequest =
  | { readonly kind: 'add'; readonly uid: string; readonly info: WorkloadInfo; readonly netns: Netns }
  | { readonly kind: 'keep' | 'del' | 'snapshot-sent'; readonly uid: string }

/** Or what is wrong with it; then the descriptors are still the caller's. */
function readRequest(bytes: Uint8Array, descriptors: readonly number[]): PodRequest | string {
  let message: WorkloadRequest
  try {
    message = decode(WorkloadRequest, bytes)
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error
    return `the packet is no WorkloadRequest: ${error.message}`
  }
  const { add, del, keep, snapshot_sent: sent } = message
  const expected = add === null ? 0 : 1
  if (descriptors.length !== expected) return `expected ${expected} descriptors with this request, found ${descriptors.length}`
  if (keep !== null) return { kind: 'keep', uid: keep.uid }
  if (del !== null) return { kind: 'del', uid: del.uid }
  if (sent !== null) return { kind: 'snapshot-sent', uid: '' }
  if (add === null) return 'the request is of a kind that is not known'
  const { uid, workload_info: info } = add
  if (uid === '' || info === null) return 'a pod needs `uid` and `workload_info`'
  const { name, namespace, service_account: serviceAccount } = info
  return { kind: 'add', uid, info: { name, namespace, serviceAccount }, netns: new Netns(descriptors[0] as number) }
}
