// A control plane by @grpc/grpc-js, with bytes as messages: delta and state of the world on one port, a world of resources that the test changes, and moves that a
// good one would not make. It keeps what clients said. Like istiod it pushes by type in a fixed order, sends listeners and routes whole, answers a request for
// clusters with endpoints behind it, and has no versions but for WDS.
//
// Messages are written and read with the tables of lib/xds/proto; test/integration/ads-oracle.test.ts shows that protobufjs reads and writes the same.
import { createHash } from 'node:crypto'
import net from 'node:net'
import grpc from '@grpc/grpc-js'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import type { Node } from '../../lib/xds/proto/core.ts'
import { decode } from '../../lib/xds/proto/decode.ts'
import {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResponse,
  Resource,
} from '../../lib/xds/proto/discovery.ts'
import { encode } from '../../lib/xds/proto/encode.ts'
import { eventually } from './eventually.ts'
import type { Teardown } from './teardown.ts'

/** In which istiod pushes. What is not in it comes last. */
const PUSH_ORDER: readonly string[] = [
  XDS.cluster,
  XDS.endpoints,
  XDS.listener,
  XDS.route,
  XDS.secret,
  XDS.address,
  XDS.workload,
  XDS.authorization,
]
/** Of which it sends all at each change. */
const SENT_WHOLE: readonly string[] = [XDS.listener, XDS.route, XDS.nameTable]
const VERSIONED: readonly string[] = [XDS.address, XDS.workload, XDS.authorization]
const WILDCARDS: readonly string[] = [
  XDS.cluster,
  XDS.listener,
  XDS.address,
  XDS.workload,
  XDS.authorization,
  XDS.nameTable,
  XDS.proxyConfig,
]

export interface WorldResource {
  readonly bytes: Uint8Array
  /** '' for one by its content where istiod has one. */
  readonly version: string
  readonly aliases: readonly string[]
  readonly ttlMs: number | null
}

/** What a client said, in the words of neither protocol. */
export interface Said {
  /** Counts streams, from 0. */
  readonly stream: number
  readonly typeUrl: string
  readonly kind: 'request' | 'ACK' | 'NACK'
  /** delta: subscribe; state of the world: all names. */
  readonly names: readonly string[]
  readonly unsubscribed: readonly string[]
  /** delta: initial_resource_versions. */
  readonly versions: Readonly<Record<string, string>>
  /** state of the world: version_info. */
  readonly version: string
  readonly nonce: string
  /** Of a NACK. */
  readonly error: string
  /** In the first message of a stream. */
  readonly node: Node | null
}

interface Call {
  readonly metadata: grpc.Metadata
  write(message: Buffer): boolean
  end(): void
  emit(event: 'error', error: object): boolean
  on(event: 'data', listener: (message: Buffer) => void): unknown
  on(event: 'end' | 'cancelled' | 'close', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

const bytes = (b: Buffer): Buffer => b
const stream = (name: string): grpc.MethodDefinition<Buffer, Buffer> => ({
  path: `/envoy.service.discovery.v3.AggregatedDiscoveryService/${name}`,
  requestStream: true,
  responseStream: true,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
})
const SERVICE = { delta: stream('DeltaAggregatedResources'), sotw: stream('StreamAggregatedResources') }

export interface FakeControlPlaneOptions {
  readonly credentials?: grpc.ServerCredentials
  /** Default: plain text. */
  readonly identifier?: string
}

/** What a stream knows of a type of its client. */
interface Watched {
  wildcard: boolean
  readonly names: Set<string>
  /** Sent and not removed: name to version. */
  readonly sent: Map<string, string>
  nonce: string
}

export class FakeStream {
  readonly index: number
  readonly protocol: 'delta' | 'sotw'
  readonly metadata: grpc.Metadata
  readonly watched: Map<string, Watched>
  /** Of the client, from its first message. */
  node: Node | null
  open: boolean
  readonly call: Call

  constructor(index: number, protocol: 'delta' | 'sotw', call: Call) {
    this.index = index
    this.protocol = protocol
    this.metadata = call.metadata
    this.watched = new Map()
    this.node = null
    this.open = true
    this.call = call
  }

  /** As it stands; for what a good control plane would not say. */
  sendRaw(message: Uint8Array): void {
    if (this.open) this.call.write(Buffer.from(message))
  }

  /** With OK. */
  end(): void {
    this.open = false
    this.call.end()
  }

  fail(code: grpc.status, details: string): void {
    this.open = false
    this.call.emit('error', { code, details })
  }
}

export class FakeControlPlane {
  /** By type and name. Change it with `put` and `remove`. */
  readonly world: Map<string, Map<string, WorldResource>>
  readonly streams: FakeStream[]
  readonly said: Said[]
  /** Asked for each new stream; what it returns refuses it. */
  refuse: (metadata: grpc.Metadata) => { readonly code: grpc.status; readonly details: string } | null
  /** False for types that are not answered for the time being. */
  answers: (typeUrl: string, stream: FakeStream) => boolean
  /** What becomes of each response before it is sent; null: it is not. */
  alter: (response: DeltaDiscoveryResponse, stream: FakeStream) => Partial<DeltaDiscoveryResponse> | null
  /** At each NACK the same is sent again. */
  insists: boolean
  /** For delta: all types have versions, and what a client has is not sent again (go-control-plane). */
  versioned: boolean
  /** Of workloads, services and policies; istiod 1.29 has none, and sends all of them again to whoever comes back. */
  workloadVersions: boolean
  private readonly identifier: string
  private readonly credentials: grpc.ServerCredentials
  private server: grpc.Server | null
  /** In front of the server, which would say a clean goodbye even when it is killed. */
  private relay: net.Server | null
  private readonly sockets: Set<net.Socket>
  private port: number
  private nonces: number
  private pushes: number

  private constructor(options: FakeControlPlaneOptions) {
    this.world = new Map()
    this.streams = []
    this.said = []
    this.refuse = () => null
    this.answers = () => true
    this.alter = (response) => response
    this.insists = false
    this.versioned = false
    this.workloadVersions = true
    this.identifier = options.identifier ?? '{"Component":"fake"}'
    this.credentials = options.credentials ?? grpc.ServerCredentials.createInsecure()
    this.server = null
    this.relay = null
    this.sockets = new Set()
    this.port = 0
    this.nonces = 0
    this.pushes = 0
  }

  static async start(t: Teardown, options: FakeControlPlaneOptions = {}): Promise<FakeControlPlane> {
    const plane = new FakeControlPlane(options)
    t.teardown(() => plane.stop())
    await plane.resume()
    return plane
  }

  get address(): { readonly kind: 'tcp'; readonly host: string; readonly port: number } {
    return { kind: 'tcp', host: '127.0.0.1', port: this.port }
  }

  /** `127.0.0.1:15010`. */
  get hostAndPort(): string {
    return `127.0.0.1:${this.port}`
  }

  /** As if it were killed: connections are cut, and new ones refused. */
  stop(): void {
    for (const s of this.streams) s.open = false
    this.relay?.close()
    this.relay = null
    for (const socket of this.sockets) socket.destroy()
    this.server?.forceShutdown()
    this.server = null
  }

  /** Connections stay, and nothing comes through them any more. */
  freeze(): void {
    for (const socket of this.sockets) socket.unpipe().pause()
  }

  /** Back on the same port. What clients were told is forgotten with their streams. */
  async resume(): Promise<void> {
    const server = new grpc.Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 })
    const implementation = Object.fromEntries(
      (['delta', 'sotw'] as const).map((protocol) => [protocol, (call: Call) => this.onStream(protocol, call)]),
    )
    server.addService(SERVICE, implementation as unknown as grpc.UntypedServiceImplementation)
    this.server = server
    const behind = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', this.credentials, (error, port) => (error === null ? resolve(port) : reject(error)))
    })
    this.relay = net.createServer((front) => this.join(front, net.connect(behind, '127.0.0.1')))
    await new Promise<void>((resolve) => this.relay?.listen(this.port, '127.0.0.1', resolve))
    this.port = (this.relay.address() as net.AddressInfo).port
  }

  private join(a: net.Socket, b: net.Socket): void {
    for (const [socket, other] of [
      [a, b],
      [b, a],
    ] as const) {
      this.sockets.add(socket)
      socket.setNoDelay(true)
      socket.pipe(other)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.sockets.delete(socket)
        other.destroy()
      })
    }
  }

  /** The connections end as those of an old istiod do: GOAWAY first. Streams that are open end with them. */
  async closeCleanly(): Promise<void> {
    const { server } = this
    this.server = null
    this.relay?.close()
    this.relay = null
    const ended = new Promise<void>((resolve) => server?.tryShutdown(() => resolve()) ?? resolve())
    for (const s of this.streams) if (s.open) s.end()
    await ended
  }

  /** In force for streams to come; `push` tells those that are open. */
  set(typeUrl: string, name: string, resource: Uint8Array, more: Partial<Omit<WorldResource, 'bytes'>> = {}): void {
    let ofType = this.world.get(typeUrl)
    if (ofType === undefined) {
      ofType = new Map()
      this.world.set(typeUrl, ofType)
    }
    ofType.set(name, { bytes: resource, version: '', aliases: [], ttlMs: null, ...more })
  }

  /** Sets and pushes. */
  put(typeUrl: string, name: string, resource: Uint8Array, more: Partial<Omit<WorldResource, 'bytes'>> = {}): void {
    this.set(typeUrl, name, resource, more)
    this.push([typeUrl])
  }

  /** Removes and pushes. */
  remove(typeUrl: string, name: string): void {
    this.world.get(typeUrl)?.delete(name)
    this.push([typeUrl])
  }

  /** Differences to what each stream was sent, in istiod's order. Default: of all types. */
  push(types: readonly string[] = [...this.world.keys()]): void {
    this.pushes++
    for (const typeUrl of [...types].sort((a, b) => rank(a) - rank(b))) {
      for (const s of this.streams) if (s.open && s.watched.has(typeUrl)) this.pushTo(s, typeUrl)
    }
  }

  /** The stream that is open now; the newest of several. */
  get current(): FakeStream | null {
    return this.streams.findLast((s) => s.open) ?? null
  }

  /** The first stream from that index on which is open and whose client has said who it is. */
  nextStream(from: number, budgetMs = 10_000): Promise<FakeStream> {
    return eventually(
      `stream ${from} of the control plane`,
      () => this.streams.find((s) => s.index >= from && s.open && s.node !== null) ?? null,
      budgetMs,
    ) as Promise<FakeStream>
  }

  saidOf(typeUrl: string, kind?: Said['kind']): Said[] {
    return this.said.filter((s) => s.typeUrl === typeUrl && (kind === undefined || s.kind === kind))
  }

  /** The newest response of the type on the open stream has been answered. */
  answered(typeUrl: string, kind: 'ACK' | 'NACK' = 'ACK'): Promise<Said> {
    return eventually(`${kind} of ${typeUrl}`, () => {
      const s = this.current
      const nonce = s?.watched.get(typeUrl)?.nonce ?? ''
      if (nonce === '') return null
      return this.said.find((x) => x.stream === s?.index && x.typeUrl === typeUrl && x.kind === kind && x.nonce === nonce) ?? null
    }) as Promise<Said>
  }

  /** All types that clients of the open stream have subscribed to have had an answer, and acknowledged the last one (SYNCED). */
  synced(): Promise<true> {
    return eventually('all types acknowledged', () => {
      const s = this.current
      if (s === null || s.watched.size === 0) return false
      return [...s.watched].every(([typeUrl, { nonce }]) =>
        this.said.some((x) => x.stream === s.index && x.typeUrl === typeUrl && x.kind === 'ACK' && x.nonce === nonce),
      )
    }) as Promise<true>
  }

  private onStream(protocol: 'delta' | 'sotw', call: Call): void {
    const s = new FakeStream(this.streams.length, protocol, call)
    this.streams.push(s)
    call.on('error', () => {
      s.open = false
    })
    for (const event of ['end', 'cancelled', 'close'] as const) {
      call.on(event as 'end', () => {
        if (event === 'end' && s.open) call.end()
        s.open = false
      })
    }
    const refusal = this.refuse(call.metadata)
    if (refusal !== null) {
      s.fail(refusal.code, refusal.details)
      return
    }
    call.on('data', (message) => {
      if (!s.open) return
      if (protocol === 'delta') this.onDelta(s, decode(DeltaDiscoveryRequest, message))
      else this.onSotw(s, decode(DiscoveryRequest, message))
    })
  }

  private onDelta(s: FakeStream, r: DeltaDiscoveryRequest): void {
    const said: Said = {
      stream: s.index,
      typeUrl: r.type_url,
      kind: r.response_nonce === '' ? 'request' : r.error_detail === null ? 'ACK' : 'NACK',
      names: r.resource_names_subscribe,
      unsubscribed: r.resource_names_unsubscribe,
      versions: Object.fromEntries(r.initial_resource_versions),
      version: '',
      nonce: r.response_nonce,
      error: r.error_detail?.message ?? '',
      node: r.node,
    }
    if (!this.hear(s, said)) return
    let watched = s.watched.get(r.type_url)
    const first = watched === undefined
    if (watched === undefined) {
      watched = { wildcard: false, names: new Set(), sent: new Map(r.initial_resource_versions), nonce: '' }
      s.watched.set(r.type_url, watched)
    }
    if (said.kind !== 'request') {
      this.onAnswer(s, said, watched)
      return
    }
    const subscribed = r.resource_names_subscribe.filter((name) => name !== '*')
    const { wildcard: before } = watched
    if (r.resource_names_subscribe.includes('*') || (first && r.resource_names_subscribe.length === 0)) watched.wildcard = true
    if (r.resource_names_unsubscribe.includes('*')) watched.wildcard = false
    for (const name of subscribed) watched.names.add(name)
    for (const name of r.resource_names_unsubscribe) {
      watched.names.delete(name)
      watched.sent.delete(name)
    }
    if (subscribed.length === 0 && (before || !watched.wildcard)) return
    this.answerRequest(s, r.type_url, watched.wildcard && !before ? null : subscribed)
  }

  private onSotw(s: FakeStream, r: DiscoveryRequest): void {
    const said: Said = {
      stream: s.index,
      typeUrl: r.type_url,
      kind: r.error_detail !== null ? 'NACK' : r.response_nonce === '' ? 'request' : 'ACK',
      names: r.resource_names,
      unsubscribed: [],
      versions: {},
      version: r.version_info,
      nonce: r.response_nonce,
      error: r.error_detail?.message ?? '',
      node: r.node,
    }
    if (!this.hear(s, said)) return
    let watched = s.watched.get(r.type_url)
    const first = watched === undefined || r.response_nonce === ''
    watched ??= { wildcard: r.resource_names.length === 0, names: new Set(), sent: new Map(), nonce: '' }
    if (r.resource_names.length === 0 && !WILDCARDS.includes(r.type_url)) watched.wildcard = false
    s.watched.set(r.type_url, watched)
    if (!first && r.response_nonce !== watched.nonce) return
    const added = r.resource_names.filter((name) => !watched.names.has(name))
    const fewer = r.resource_names.length < watched.names.size
    watched.names.clear()
    for (const name of r.resource_names) watched.names.add(name)
    if (r.error_detail !== null) this.onAnswer(s, said, watched)
    else if (first) this.answerRequest(s, r.type_url, watched.wildcard ? null : [...watched.names])
    else if (added.length > 0) this.answerRequest(s, r.type_url, added)
    else if (!fewer) this.onAnswer(s, said, watched)
  }

  /** False: the stream was refused for it. */
  private hear(s: FakeStream, said: Said): boolean {
    this.said.push(said)
    if (s.node === null) {
      if (said.node === null || said.node.id.split('~').length !== 4) {
        s.fail(grpc.status.INVALID_ARGUMENT, 'missing node information')
        return false
      }
      s.node = said.node
    }
    return true
  }

  private onAnswer(s: FakeStream, { kind, typeUrl, nonce }: Said, watched: Watched): void {
    if (kind === 'NACK' && this.insists && nonce === watched.nonce) {
      watched.sent.clear()
      this.pushTo(s, typeUrl)
    }
  }

  /** @param names null: all */
  private answerRequest(s: FakeStream, typeUrl: string, names: readonly string[] | null): void {
    if (!this.answers(typeUrl, s)) return
    const ofType = this.world.get(typeUrl) ?? new Map<string, WorldResource>()
    const watched = s.watched.get(typeUrl)!
    const found = names === null ? new Map(ofType) : matching(ofType, names)
    const skipsKnown = s.protocol === 'delta' && names === null && this.hasVersions(typeUrl)
    for (const [name, r] of found) {
      if (skipsKnown && watched.sent.get(name) === this.versionOf(typeUrl, r) && watched.sent.get(name) !== '') found.delete(name)
    }
    const missing = (names ?? []).filter((name) => matching(ofType, [name]).size === 0)
    const gone = names === null ? [...watched.sent.keys()].filter((name) => !ofType.has(name)) : missing
    // As istiod: endpoints and routes that are not there are answered, by empty ones.
    for (const name of names === null ? [] : missing)
      if (typeUrl === XDS.endpoints || typeUrl === XDS.route) found.set(name, named(name))
    this.send(s, typeUrl, found, typeUrl === XDS.endpoints || typeUrl === XDS.route ? [] : gone)
    if (typeUrl === XDS.cluster && s.watched.has(XDS.endpoints)) this.force(s, XDS.endpoints)
  }

  /** All that the client watches of the type, whether it was sent before or not. */
  force(s: FakeStream, typeUrl: string): void {
    const watched = s.watched.get(typeUrl)
    if (watched === undefined) return
    watched.sent.clear()
    this.pushTo(s, typeUrl)
  }

  private pushTo(s: FakeStream, typeUrl: string): void {
    if (!this.answers(typeUrl, s)) return
    const watched = s.watched.get(typeUrl)!
    const ofType = this.world.get(typeUrl) ?? new Map<string, WorldResource>()
    const wanted = watched.wildcard ? ofType : matching(ofType, [...watched.names, ...watched.sent.keys()])
    const whole = s.protocol === 'sotw' || SENT_WHOLE.includes(typeUrl)
    const changed = [...wanted].filter(([name, r]) => whole || watched.sent.get(name) !== this.sentMark(typeUrl, r))
    const removed = [...watched.sent.keys()].filter((name) => !ofType.has(name))
    const known = changed.every(([name, r]) => watched.sent.get(name) === this.sentMark(typeUrl, r))
    if (known && removed.length === 0) return
    this.send(s, typeUrl, new Map(changed), removed)
  }

  private send(s: FakeStream, typeUrl: string, resources: ReadonlyMap<string, WorldResource>, removed: readonly string[]): void {
    const watched = s.watched.get(typeUrl)!
    for (const name of removed) watched.sent.delete(name)
    for (const [name, r] of resources) watched.sent.set(name, this.sentMark(typeUrl, r))
    const response: DeltaDiscoveryResponse = {
      ...DeltaDiscoveryResponse.empty,
      system_version_info: `v${this.pushes}`,
      type_url: typeUrl,
      nonce: `n${++this.nonces}`,
      removed_resources: removed,
      control_plane: { identifier: this.identifier },
      resources: [...resources].map(([name, r]) => ({
        name,
        version: this.versionOf(typeUrl, r),
        resource: { typeUrl, value: r.bytes },
        aliases: r.aliases,
        ttl: r.ttlMs,
      })),
    }
    watched.nonce = response.nonce
    const altered = this.alter(response, s)
    if (altered === null) return
    const sent = { ...response, ...altered }
    s.sendRaw(s.protocol === 'delta' ? encode(DeltaDiscoveryResponse, sent) : encode(DiscoveryResponse, asStateOfTheWorld(sent)))
  }

  private hasVersions(typeUrl: string): boolean {
    return this.versioned || (this.workloadVersions && VERSIONED.includes(typeUrl))
  }

  private versionOf(typeUrl: string, r: WorldResource): string {
    if (r.version !== '') return r.version
    return this.hasVersions(typeUrl) ? contentHash(r.bytes) : ''
  }

  /** What tells one content from another. A resource that a client says to have without a version is one that it does not have. */
  private sentMark(typeUrl: string, r: WorldResource): string {
    return this.versionOf(typeUrl, r) || contentHash(r.bytes)
  }
}

function asStateOfTheWorld(r: DeltaDiscoveryResponse): Partial<DiscoveryResponse> {
  return {
    version_info: r.system_version_info,
    type_url: r.type_url,
    nonce: r.nonce,
    control_plane: r.control_plane,
    resources: r.resources.map((resource) =>
      resource.ttl === null && resource.resource !== null
        ? resource.resource
        : { typeUrl: 'type.googleapis.com/envoy.service.discovery.v3.Resource', value: encode(Resource, resource) },
    ),
  }
}

/** By name or alias. */
function matching(ofType: ReadonlyMap<string, WorldResource>, names: readonly string[]): Map<string, WorldResource> {
  const wanted = new Set(names)
  return new Map([...ofType].filter(([name, r]) => wanted.has(name) || r.aliases.some((alias) => wanted.has(alias))))
}

/** A message whose field 1 is its name, and nothing else. */
export function namedBytes(name: string, more = ''): Uint8Array {
  const text = Buffer.from(name)
  const rest = Buffer.from(more)
  const length = (b: Buffer): number[] => (b.length < 128 ? [b.length] : [(b.length & 0x7f) | 0x80, b.length >> 7])
  // Field 15 is of none of the messages.
  return Buffer.concat([
    Buffer.from([0x0a, ...length(text)]),
    text,
    ...(rest.length === 0 ? [] : [Buffer.from([0x7a, ...length(rest)]), rest]),
  ])
}

function named(name: string): WorldResource {
  return { bytes: namedBytes(name), version: '', aliases: [], ttlMs: null }
}

function contentHash(of: Uint8Array): string {
  return createHash('sha256').update(of).digest('hex').slice(0, 16)
}

function rank(typeUrl: string): number {
  const at = PUSH_ORDER.indexOf(typeUrl)
  return at < 0 ? PUSH_ORDER.length : at
}
