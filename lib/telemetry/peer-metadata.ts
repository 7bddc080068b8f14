// Hot lane: what a proxy at the other end says of itself by x-envoy-peer-metadata (Istio peer metadata exchange): a google.protobuf.Struct in base64, read once for
// each proxy, since it says the same with each request. Whatever it is, nothing throws and memory has an end.
import type { Peer } from './istio-labels.ts'
import { MAX_PEER_LABEL_CHARS } from './labels.ts'

/** Envoy's; of more proxies the oldest are read again. */
const MAX_PEERS = 500
/** Of Istio's proxies they are a few hundred bytes. */
const MAX_CHARS = 16_384
const MAX_DEPTH = 4

const CANONICAL_NAME = 'service.istio.io/canonical-name'
const CANONICAL_REVISION = 'service.istio.io/canonical-revision'

export class PeerBook {
  readonly #known: Map<string, Peer>

  constructor() {
    this.#known = new Map()
  }

  /** The same object for the same proxy. `id`: x-envoy-peer-metadata-id, empty: none. null: nobody knows what it says. */
  read(id: string, metadata: string): Peer | null {
    // Who is called the same and says another thing is another.
    const key = `${id} ${metadata}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    if (metadata.length > MAX_CHARS) return null
    const fields = readStruct(Buffer.from(metadata, 'base64'), 0)
    return fields === null ? null : this.#keep(key, peerOf(fields))
  }

  /** Of the CONNECT of a tunnel. null: it says too much. */
  readBaggage(baggage: string): Peer | null {
    const key = `baggage ${baggage}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    return baggage.length > MAX_CHARS ? null : this.#keep(key, peerOfBaggage(baggage))
  }

  #keep(key: string, peer: Peer): Peer {
    if (this.#known.size >= MAX_PEERS) for (const oldest of this.#known.keys()) if (this.#known.delete(oldest)) break
    this.#known.set(key, peer)
    return peer
  }
}

/**
 * `baggage` of a CONNECT, with ztunnel's keys: `k8s.namespace.name=shop,k8s.deployment.name=front,…`. The names of app and version are the canonical ones, as in
 * Istio's metrics of workloads that are looked up.
 */
function peerOfBaggage(baggage: string): Peer {
  const peer = { workload: '', namespace: '', app: '', version: '', canonicalService: '', canonicalRevision: '', cluster: '' }
  for (const pair of baggage.split(',')) {
    const equals = pair.indexOf('=')
    const value = pair.slice(equals + 1, equals + 1 + MAX_PEER_LABEL_CHARS).trim()
    switch (equals < 0 ? '' : pair.slice(0, equals).trim()) {
      case 'k8s.cluster.name':
        peer.cluster = value
        break
      case 'k8s.namespace.name':
        peer.namespace = value
        break
      case 'k8s.deployment.name':
      case 'k8s.cronjob.name':
      case 'k8s.pod.name':
      case 'k8s.job.name':
        peer.workload = value
        break
      case 'service.name':
        peer.canonicalService = value
        peer.app = value
        break
      case 'service.version':
        peer.canonicalRevision = value
        peer.version = value
    }
  }
  return peer
}

function peerOf(fields: Fields): Peer {
  const labels = fields.get('LABELS')
  const text = (of: Fields | string | undefined, name: string): string => {
    const value = typeof of === 'object' ? of.get(name) : undefined
    return typeof value === 'string' ? value.slice(0, MAX_PEER_LABEL_CHARS) : ''
  }
  return {
    workload: text(fields, 'WORKLOAD_NAME'),
    namespace: text(fields, 'NAMESPACE'),
    app: text(labels, 'app'),
    version: text(labels, 'version'),
    canonicalService: text(labels, CANONICAL_NAME),
    canonicalRevision: text(labels, CANONICAL_REVISION),
    cluster: text(fields, 'CLUSTER_ID'),
  }
}

/** Texts and structs of a google.protobuf.Struct; other values are left out. */
type Fields = Map<string, Fields | string>

/** null: the bytes are none. */
function readStruct(bytes: Buffer, depth: number): Fields | null {
  const fields: Fields = new Map()
  if (depth > MAX_DEPTH) return fields
  const cursor = new Cursor(bytes)
  while (cursor.next()) {
    if (cursor.field !== 1 || cursor.value === null) continue
    const entry = new Cursor(cursor.value)
    let key = ''
    let value: Buffer | null = null
    while (entry.next()) {
      if (entry.field === 1 && entry.value !== null) key = entry.value.toString('utf8')
      else if (entry.field === 2) value = entry.value
    }
    if (entry.broken) return null
    const read = value === null ? null : readValue(value, depth)
    if (read !== null) fields.set(key, read)
  }
  return cursor.broken ? null : fields
}

const STRING_VALUE = 3
const STRUCT_VALUE = 5

function readValue(bytes: Buffer, depth: number): Fields | string | null {
  const cursor = new Cursor(bytes)
  let read: Fields | string | null = null
  while (cursor.next()) {
    if (cursor.value === null) continue
    if (cursor.field === STRING_VALUE) read = cursor.value.toString('utf8')
    else if (cursor.field === STRUCT_VALUE) read = readStruct(cursor.value, depth + 1)
  }
  return cursor.broken ? null : read
}

/** Fields of a protobuf message, one after the other. */
class Cursor {
  readonly #bytes: Buffer
  #at: number
  field: number
  /** Of a field with a length; null: it is a number. */
  value: Buffer | null
  broken: boolean

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#at = 0
    this.field = 0
    this.value = null
    this.broken = false
  }

  next(): boolean {
    if (this.broken || this.#at >= this.#bytes.length) return false
    const tag = this.#varint()
    this.field = tag >>> 3
    this.value = null
    const wire = tag & 7
    let length = 0
    if (wire === 0) this.#varint()
    else if (wire === 1) length = 8
    else if (wire === 5) length = 4
    else if (wire === 2) length = this.#varint()
    else this.broken = true
    if (this.#at + length > this.#bytes.length) this.broken = true
    if (this.broken) return false
    if (wire === 2) this.value = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return true
  }

  /** Its low 32 bits. */
  #varint(): number {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.#at >= this.#bytes.length) break
      const byte = this.#bytes[this.#at++] as number
      if (shift < 35) value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
    this.broken = true
    return 0
  }
}
