// Hot lane: field lines to a header block (RFC 7541). Lines are turned into bytes once; by a hash of a few of its bytes a line that the peer's table
// has is found and then compared: it costs a byte or two. A line comes into the table when it is seen for the second time: what never repeats
// (ids, dates of a quiet connection) does not push out what does.
import { latin1Slice, latin1Write } from '../../../base/latin1.ts'
import type { HeaderMap } from '../../header-map.ts'
import { BEYOND, copyBytes, DynamicTable, ENTRY_OVERHEAD } from './dynamic-table.ts'
import * as N from './encoding-names.ts'
import { huffmanEncode, huffmanLength } from './huffman.ts'
import { hashOfLine } from './line-hash.ts'
import { STATIC_COUNT, staticStatus } from './static-table.ts'

/** The table is never larger than this, whatever the peer allows (RFC 9113 §6.5.2 lets it allow 4 GB). */
const MAX_TABLE = 4096
/** Pairs of lines seen once that are remembered, and chains of entries. */
const BUCKETS = 128
const BUCKET_SHIFT = 32 - 7
const STATIC_METHOD_GET = 2
const STATIC_METHOD_POST = 3
const STATIC_PATH_ROOT = 4
const STATIC_SCHEME_HTTP = 6
const STATIC_SCHEME_HTTPS = 7

/** Literals shorter than this are not worth the coding. */
const HUFFMAN_FROM = 8

const NO_CHAINS = new Float64Array(0)
const NO_HASHES = new Int32Array(0)

const CR = 13
const COLON = 0x3a

/** The lines of a block as bytes; one for all encoders of a thread, since encoding is never interrupted. */
let lines: Buffer = Buffer.allocUnsafeSlow(16384)
let linesView = new DataView(lines.buffer)

function room(bytes: number): void {
  if (bytes + BEYOND <= lines.length) return
  lines = Buffer.allocUnsafeSlow(bytes * 2)
  linesView = new DataView(lines.buffer)
}

function write(text: string): number {
  room(text.length)
  return latin1Write(lines, text, 0)
}

/** Up to so many characters a loop costs less than a call into the runtime. */
const SHORT_TEXT = 64

/** Writes `text` where there is room for it; returns where it ends. */
function put(text: string, at: number): number {
  const n = text.length
  if (n > SHORT_TEXT) return at + latin1Write(lines, text, at)
  const b = lines
  for (let i = 0; i < n; i++) b[at + i] = text.charCodeAt(i)
  return at + n
}

export class HpackEncoder {
  readonly table: DynamicTable
  /** The smallest size since the last block, or -1: a block must begin by saying it (RFC 7541 §4.2). */
  private announce: number
  private readonly huffman: boolean
  /** Entries that were ever added. */
  private added: number
  // The youngest entry of each chain, and the next older one of each entry; numbered from 1 over all that were ever added. What the table has
  // no more is older than all that it has, so a chain ends where its number is too small, and nothing has to be taken out.
  private chains: Float64Array
  private older: Float64Array
  private hashes: Int32Array
  /** Hashes of lines seen once; empty before the first. */
  private seen: Int32Array
  /** The authority before this one, and the number of its entry; 0: it has none. */
  private authority: string
  private authorityNumber: number
  /** Number of the entry that the last line was found or added as; 0: it is a literal. */
  private lastNumber: number
  /** Bytes of the fields that `map` has put in this block, as lines of HTTP/1. */
  textBytes: number
  private out: Buffer
  private at: number
  private never: string

  /** `huffman`: code strings; it saves a quarter of their bytes and costs time. */
  constructor(huffman: boolean) {
    this.table = new DynamicTable(MAX_TABLE)
    this.announce = -1
    this.huffman = huffman
    this.added = 0
    this.chains = NO_CHAINS
    this.older = NO_CHAINS
    this.hashes = NO_HASHES
    this.seen = NO_HASHES
    this.authority = ''
    this.authorityNumber = 0
    this.lastNumber = 0
    this.textBytes = 0
    this.out = lines
    this.at = 0
    this.never = ''
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(size: number): void {
    const capacity = Math.min(size, MAX_TABLE)
    if (capacity === this.table.capacity) return
    this.announce = this.announce < 0 ? capacity : Math.min(this.announce, capacity)
    this.table.resize(capacity)
  }

  /** Bytes that a block of these texts takes at most. */
  static bound(textLength: number): number {
    // Per line at least five characters come in and at most fifteen bytes of prefixes go out.
    return textLength * 4 + 128
  }

  /** As `bound`, of the fields of a map. */
  static boundOf(map: HeaderMap): number {
    let length = map.block.length
    for (let i = map.count; i < map.size; i++) length += map.nameAt(i).length + map.valueAt(i).length + 4
    return HpackEncoder.bound(length)
  }

  /**
   * Begins a block in `out` from `at`, where there is room for the bounds of all that follows: a pseudo part, then fields. Names of fields in
   * `neverIndexed` (`,a,b,`) stay out of every table.
   */
  begin(out: Buffer, at: number, neverIndexed: string): void {
    this.out = out
    this.at = at
    this.never = neverIndexed
    if (this.announce < 0) return
    const { capacity } = this.table
    if (this.announce < capacity) this.integer(0x20, 0x1f, this.announce)
    this.integer(0x20, 0x1f, capacity)
    this.announce = -1
  }

  /** End of what has been encoded. */
  get position(): number {
    return this.at
  }

  /** Empty texts stand for absent pseudo-headers. */
  request(method: string, scheme: string, authority: string, path: string, protocol: string): void {
    if (method === 'GET') this.out[this.at++] = 0x80 | STATIC_METHOD_GET
    else if (method === 'POST') this.out[this.at++] = 0x80 | STATIC_METHOD_POST
    else this.pair(':method', method, false)
    if (scheme === 'http') this.out[this.at++] = 0x80 | STATIC_SCHEME_HTTP
    else if (scheme === 'https') this.out[this.at++] = 0x80 | STATIC_SCHEME_HTTPS
    else if (scheme !== '') this.pair(':scheme', scheme, false)
    if (authority !== '' && !this.again(authority)) {
      this.pair(':authority', authority, false)
      this.authority = authority
      this.authorityNumber = this.lastNumber
    }
    if (path === '/') this.out[this.at++] = 0x80 | STATIC_PATH_ROOT
    else if (path !== '') this.pair(':path', path, false)
    if (protocol !== '') this.pair(':protocol', protocol, false)
  }

  /** Says an authority once more, if the table still has it. Clients of an upstream ask for few. */
  private again(authority: string): boolean {
    const { authorityNumber, added, table } = this
    if (authorityNumber <= added - table.count || authority !== this.authority || this.never !== '') return false
    this.integer(0x80, 0x7f, STATIC_COUNT + 1 + added - authorityNumber)
    return true
  }

  status(status: number): void {
    const index = staticStatus(status)
    if (index !== 0) this.out[this.at++] = 0x80 | index
    else this.pair(':status', String(status), false)
  }

  /** Field lines, each `name: value CRLF`. `withHost`: a field `host` is a field, and not what :authority says. */
  fields(text: string, withHost: boolean): void {
    const end = write(text)
    for (let at = 0; at < end; ) at = this.field(at, end, withHost)
  }

  /** The fields of a map, removed ones left out. */
  map(map: HeaderMap, withHost: boolean): void {
    const { block, count, size, ids, lineStart, nameEnd, valueStart, valueEnd } = map
    this.textBytes = 0
    write(block)
    for (let i = 0; i < count; i++) {
      if ((ids[i] as number) < 0) continue
      const start = lineStart[i] as number
      const end = valueEnd[i] as number
      this.textBytes += end - start + 2
      this.parts(start, nameEnd[i] as number, valueStart[i] as number, end, withHost)
    }
    for (let i = count; i < size; i++) {
      const name = map.nameAt(i)
      const value = map.valueAt(i)
      this.textBytes += name.length + value.length + 4
      if (withHost || name !== 'host') this.pair(name, value, withHost)
    }
  }

  /** One field, or pseudo-header. */
  private pair(name: string, value: string, withHost: boolean): void {
    const nameEnd = name.length
    const end = nameEnd + 2 + value.length
    room(end + 2)
    put(name, 0)
    lines[nameEnd] = COLON
    lines[nameEnd + 1] = 0x20
    put(value, nameEnd + 2)
    lines[end] = CR
    lines[end + 1] = 10
    const first = lines[nameEnd + 2] as number
    const last = lines[end - 1] as number
    // Blanks around it do not belong to a value.
    if (first === 0x20 || first === 9 || last === 0x20 || last === 9) this.field(0, end + 2, withHost)
    else this.parts(0, nameEnd, nameEnd + 2, end, withHost)
  }

  /** The line that begins at `start`; it ends with CRLF before `end`. Returns where the next one begins. */
  private field(start: number, end: number, withHost: boolean): number {
    const b = lines
    // The colon of a pseudo-header belongs to its name.
    let nameEnd = start + 1
    while (b[nameEnd] !== COLON && nameEnd < end) nameEnd++
    let from = nameEnd + 1
    while (b[from] === 0x20 || b[from] === 9) from++
    let at = from
    while (b[at] !== CR && at < end) at++
    let to = at
    while (to > from && (b[to - 1] === 0x20 || b[to - 1] === 9)) to--
    this.parts(start, nameEnd, from, to, withHost)
    return at + 2
  }

  /** A field by its places in `lines`. */
  private parts(start: number, nameEnd: number, from: number, to: number, withHost: boolean): void {
    const b = lines
    // Blanks that are not as they should be are of HTTP/1, and rare: what is looked up and kept is the line in its one form.
    if (from !== nameEnd + 2 || b[nameEnd + 1] !== 0x20 || b[to] !== CR) {
      this.reformed(start, nameEnd, from, to, withHost)
      return
    }
    this.line(start, nameEnd, to, hashOfLine(linesView, start, nameEnd, from, to), withHost)
  }

  /** As `parts`, for a line with other blanks than one behind the colon. */
  private reformed(start: number, nameEnd: number, from: number, to: number, withHost: boolean): void {
    const rest = lines
    const text = `${latin1Slice(rest, start, nameEnd)}: ${latin1Slice(rest, from, to)}\r\n`
    lines = Buffer.allocUnsafeSlow(text.length + BEYOND)
    linesView = new DataView(lines.buffer)
    this.field(0, latin1Write(lines, text, 0), withHost)
    lines = rest
    linesView = new DataView(rest.buffer)
  }

  /** The line `name: value` from `start` to `end`, in its one form. */
  private line(start: number, nameEnd: number, end: number, hash: number, withHost: boolean): void {
    const b = lines
    const { never } = this
    this.lastNumber = 0
    if (never === '') {
      const number = this.find(hash, start, nameEnd, end)
      this.lastNumber = number
      if (number > 0) {
        this.integer(0x80, 0x7f, STATIC_COUNT + 1 + this.added - number)
        return
      }
    }
    const { index, policy } = N.encodingName(b, start, nameEnd)
    if (policy === N.DROP || (policy === N.DROP_IN_REQUESTS && !withHost)) return
    if (policy === N.TRAILERS_ONLY && latin1Slice(b, nameEnd + 2, end) !== 'trailers') return
    const size = end - start - 2 + ENTRY_OVERHEAD
    if (policy === N.NEVER_INDEX || (never !== '' && never.includes(`,${latin1Slice(b, start, nameEnd)},`)))
      this.literal(0x10, 0x0f, index, start, nameEnd, end)
    else if (!this.seenBefore(hash) || size * 2 > this.table.capacity) {
      // What is larger than half of the table would push out everything for little.
      this.literal(0, 0x0f, index, start, nameEnd, end)
    } else {
      this.literal(0x40, 0x3f, index, start, nameEnd, end)
      this.add(hash, start, nameEnd, end)
      this.lastNumber = this.added
    }
  }

  /** Remembers a line. Two that share a place both stay, or lines of one message would hide each other for ever. */
  private seenBefore(hash: number): boolean {
    if (this.seen === NO_HASHES) this.seen = new Int32Array(BUCKETS * 2)
    const { seen } = this
    const at = bucketOf(hash) * 2
    if (seen[at] === hash || seen[at + 1] === hash) return true
    seen[at + 1] = seen[at] as number
    seen[at] = hash
    return false
  }

  /** Number of the line's entry in the dynamic table; 0: it is not there. */
  private find(hash: number, start: number, nameEnd: number, end: number): number {
    const { table, added } = this
    if (table.count === 0) return 0
    const oldest = added - table.count
    let number = this.chains[bucketOf(hash)] as number
    while (number > oldest) {
      const slot = table.slot(added - number)
      if (
        this.hashes[slot] === hash &&
        (table.lineLength[slot] as number) === end - start + 2 &&
        this.same(table.start[slot] as number, start, nameEnd, end)
      )
        return number
      number = this.older[slot] as number
    }
    return 0
  }

  /** Is the line of the table that begins at `at` this one? Its name may be spelt in another way. */
  private same(at: number, start: number, nameEnd: number, end: number): boolean {
    const { arena, view } = this.table
    let i = start
    while (i + 4 <= end && linesView.getInt32(i, true) === view.getInt32(at, true)) {
      i += 4
      at += 4
    }
    for (; i < end; i++) {
      const wanted = arena[at++] as number
      const byte = lines[i] as number
      if (byte === wanted) continue
      if (i >= nameEnd || (byte | 0x20) !== wanted || wanted < 0x61 || wanted > 0x7a) return false
    }
    return true
  }

  private add(hash: number, start: number, nameEnd: number, end: number): void {
    const { table } = this
    table.add(lines, start, end + 2, nameEnd - start, 0, 0, 0)
    const slot = table.slot(0)
    if (this.chains === NO_CHAINS) {
      this.chains = new Float64Array(BUCKETS)
      this.older = new Float64Array(table.slots)
      this.hashes = new Int32Array(table.slots)
    }
    this.added++
    this.older[slot] = this.chains[bucketOf(hash)] as number
    this.chains[bucketOf(hash)] = this.added
    this.hashes[slot] = hash
  }

  private literal(pattern: number, mask: number, nameIndex: number, start: number, nameEnd: number, end: number): void {
    this.integer(pattern, mask, nameIndex)
    if (nameIndex === 0) this.string(start, nameEnd)
    this.string(nameEnd + 2, end)
  }

  private string(start: number, end: number): void {
    const length = end - start
    if (this.huffman && length >= HUFFMAN_FROM) {
      const coded = huffmanLength(lines, start, end)
      if (coded < length) {
        this.integer(0x80, 0x7f, coded)
        this.at = huffmanEncode(lines, start, end, this.out, this.at)
        return
      }
    }
    this.integer(0, 0x7f, length)
    copyBytes(lines, start, end, this.out, this.at)
    this.at += length
  }

  private integer(pattern: number, mask: number, value: number): void {
    const { out } = this
    if (value < mask) {
      out[this.at++] = pattern | value
      return
    }
    out[this.at++] = pattern | mask
    let rest = value - mask
    while (rest >= 0x80) {
      out[this.at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    out[this.at++] = rest
  }
}

function bucketOf(hash: number): number {
  return Math.imul(hash, 0x9e3779b1) >>> BUCKET_SHIFT
}
