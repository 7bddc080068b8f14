// Hot lane: field lines to a header block (RFC 7541). A line that the peer's table has is found by its text and costs a byte or two. A line
// comes into the table when it is seen for the second time: what never repeats (ids, dates of a quiet connection) does not push out what does.
import { latin1Slice, latin1Write } from '../../../base/latin1.ts'
import type { HeaderMap } from '../../header-map.ts'
import { ENTRY_OVERHEAD } from './decoding-table.ts'
import * as N from './encoding-names.ts'
import { huffmanEncode, huffmanLength } from './huffman.ts'
import { STATIC_COUNT, staticNameLength } from './static-table.ts'

/** The table is never larger than this, whatever the peer allows (RFC 9113 §6.5.2 lets it allow 4 GB). */
const MAX_TABLE = 4096
const SLOTS = MAX_TABLE / ENTRY_OVERHEAD
const SLOT_MASK = SLOTS - 1
/** Lines seen once that are remembered. */
const SEEN = 64

const STATIC_METHOD = 2
const STATIC_SCHEME_HTTP = 6
const STATIC_SCHEME_HTTPS = 7
const STATIC_STATUS = 8
const STATIC_AUTHORITY = 1
const STATIC_PATH = 4

/** Literals shorter than this are not worth the coding. */
const HUFFMAN_FROM = 8

export class HpackEncoder {
  /** Size of the table, by the rule of RFC 7541 §4.1. */
  size: number
  private capacity: number
  /** The smallest size since the last block, or -1: a block must begin by saying it (RFC 7541 §4.2). */
  private announce: number
  private readonly huffman: boolean
  /** Number of each entry, counted over all that were ever added, by its line as the caller spells it. Static lines have the complement of their index. */
  private readonly lines: Map<string, number>
  private readonly authorities: Map<string, number>
  private readonly paths: Map<string, number>
  // The entries, in a ring.
  private readonly keys: string[]
  private readonly maps: Map<string, number>[]
  private readonly sizes: Int32Array
  private added: number
  private count: number
  /** Fingerprints of lines seen once. */
  private readonly seen: Int32Array
  private out: Buffer
  private at: number
  private never: string

  /** `huffman`: code strings; it saves a quarter of their bytes and costs time. */
  constructor(huffman: boolean) {
    this.size = 0
    this.capacity = MAX_TABLE
    this.announce = -1
    this.huffman = huffman
    this.lines = new Map([['accept-encoding: gzip, deflate', ~16]])
    this.authorities = new Map()
    this.paths = new Map([
      ['/', ~4],
      ['/index.html', ~5],
    ])
    this.keys = new Array<string>(SLOTS).fill('')
    this.maps = new Array<Map<string, number>>(SLOTS).fill(this.lines)
    this.sizes = new Int32Array(SLOTS)
    this.added = 0
    this.count = 0
    this.seen = new Int32Array(SEEN)
    this.out = NOTHING
    this.at = 0
    this.never = ''
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(size: number): void {
    const capacity = Math.min(size, MAX_TABLE)
    if (capacity === this.capacity) return
    this.announce = this.announce < 0 ? capacity : Math.min(this.announce, capacity)
    this.capacity = capacity
    this.evictTo(capacity)
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
    if (this.announce < this.capacity) this.integer(0x20, 0x1f, this.announce)
    this.integer(0x20, 0x1f, this.capacity)
    this.announce = -1
  }

  /** End of what has been encoded. */
  get position(): number {
    return this.at
  }

  /** Empty texts stand for absent pseudo-headers. */
  request(method: string, scheme: string, authority: string, path: string, protocol: string): void {
    if (method === 'GET') this.out[this.at++] = 0x80 | STATIC_METHOD
    else if (method === 'POST') this.out[this.at++] = 0x80 | (STATIC_METHOD + 1)
    else this.line(this.lines, `:method: ${method}`, STATIC_METHOD, '', method)
    if (scheme === 'http') this.out[this.at++] = 0x80 | STATIC_SCHEME_HTTP
    else if (scheme === 'https') this.out[this.at++] = 0x80 | STATIC_SCHEME_HTTPS
    else if (scheme !== '') this.line(this.lines, `:scheme: ${scheme}`, STATIC_SCHEME_HTTP, '', scheme)
    if (authority !== '') this.pseudo(this.authorities, STATIC_AUTHORITY, authority, ',:authority,')
    if (path !== '') this.pseudo(this.paths, STATIC_PATH, path, ',:path,')
    if (protocol !== '') this.line(this.lines, `:protocol: ${protocol}`, 0, ':protocol', protocol)
  }

  status(status: number): void {
    const index = status === 200 ? STATIC_STATUS : staticStatus(status)
    if (index !== 0) this.out[this.at++] = 0x80 | index
    else this.line(this.lines, `:status: ${status}`, STATIC_STATUS, '', String(status))
  }

  /** Field lines, each `name: value CRLF`. `withHost`: a field `host` is a field, and not what :authority says. */
  fields(text: string, withHost: boolean): void {
    let at = 0
    while (at < text.length) {
      const lf = text.indexOf('\n', at)
      if (lf < 0) return
      this.field(text.substring(at, lf - 1), withHost)
      at = lf + 1
    }
  }

  /** The fields of a map, removed ones left out. */
  map(map: HeaderMap, withHost: boolean): void {
    const { block, count, size, ids, lineStart, nameEnd, valueStart, valueEnd } = map
    for (let i = 0; i < count; i++) {
      if ((ids[i] as number) < 0) continue
      const from = valueStart[i] as number
      const gap = from - (nameEnd[i] as number)
      if (gap === 2 && block.charCodeAt(from - 1) === 0x20)
        this.field(block.substring(lineStart[i] as number, valueEnd[i] as number), withHost)
      else this.field(`${map.nameAt(i)}: ${map.valueAt(i)}`, withHost)
    }
    for (let i = count; i < size; i++) this.field(`${map.nameAt(i)}: ${map.valueAt(i)}`, withHost)
  }

  /** One line, without its end. */
  private field(line: string, withHost: boolean): void {
    const found = this.lines.get(line)
    const { never } = this
    if (found !== undefined && never === '') {
      this.index(found)
      return
    }
    const colon = line.indexOf(':')
    const name = N.encodingName(line.substring(0, colon))
    const { policy } = name
    if (policy === N.DROP || (policy === N.DROP_IN_REQUESTS && !withHost)) return
    const value = line.substring(colon + 2)
    if (policy === N.TRAILERS_ONLY && value !== 'trailers') return
    if (policy === N.NEVER_INDEX || (never !== '' && never.includes(`,${name.lower},`)))
      this.literal(0x10, 0x0f, name.index, name.lower, value)
    else this.line(this.lines, line, name.index, name.lower, value)
  }

  private pseudo(map: Map<string, number>, index: number, value: string, listed: string): void {
    if (this.never !== '' && this.never.includes(listed)) this.literal(0x10, 0x0f, index, '', value)
    else this.line(map, value, index, '', value)
  }

  /** One field whose text is `key` in `map`: by its index, as a literal that comes into the table, or as one that does not. */
  private line(map: Map<string, number>, key: string, nameIndex: number, name: string, value: string): void {
    const found = map.get(key)
    if (found !== undefined) {
      this.index(found)
      return
    }
    const print = fingerprint(key)
    if (this.seen[print & (SEEN - 1)] !== print) {
      this.seen[print & (SEEN - 1)] = print
      this.literal(0, 0x0f, nameIndex, name, value)
      return
    }
    const size = (nameIndex === 0 ? name.length : staticNameLength(nameIndex)) + value.length + ENTRY_OVERHEAD
    // What is larger than half of the table would push out everything for little.
    if (size * 2 > this.capacity) {
      this.literal(0, 0x0f, nameIndex, name, value)
      return
    }
    this.literal(0x40, 0x3f, nameIndex, name, value)
    this.add(map, key, size)
  }

  private add(map: Map<string, number>, text: string, size: number): void {
    const key = detached(text)
    this.evictTo(this.capacity - size)
    const slot = this.added & SLOT_MASK
    this.keys[slot] = key
    this.maps[slot] = map
    this.sizes[slot] = size
    map.set(key, this.added)
    this.added++
    this.count++
    this.size += size
  }

  private evictTo(size: number): void {
    while (this.size > size) {
      const slot = (this.added - this.count) & SLOT_MASK
      this.size -= this.sizes[slot] as number
      ;(this.maps[slot] as Map<string, number>).delete(this.keys[slot] as string)
      this.count--
    }
  }

  private index(found: number): void {
    this.integer(0x80, 0x7f, found < 0 ? ~found : STATIC_COUNT + this.added - found)
  }

  private literal(pattern: number, mask: number, nameIndex: number, name: string, value: string): void {
    this.integer(pattern, mask, nameIndex)
    if (nameIndex === 0) this.string(name)
    this.string(value)
  }

  private string(text: string): void {
    const { length } = text
    if (this.huffman && length >= HUFFMAN_FROM) {
      const coded = huffmanLength(text)
      if (coded < length) {
        this.integer(0x80, 0x7f, coded)
        this.at = huffmanEncode(text, this.out, this.at)
        return
      }
    }
    this.integer(0, 0x7f, length)
    latin1Write(this.out, text, this.at)
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

const NOTHING = Buffer.alloc(0)

function staticStatus(status: number): number {
  switch (status) {
    case 204:
      return 9
    case 206:
      return 10
    case 304:
      return 11
    case 400:
      return 12
    case 404:
      return 13
    case 500:
      return 14
  }
  return 0
}

/** Tells lines apart; a wrong guess costs an entry of the table and nothing else. */
function fingerprint(key: string): number {
  let h = key.length
  for (let i = 0; i < key.length; i++) h = (Math.imul(h, 31) + key.charCodeAt(i)) | 0
  return h ^ (h >>> 15)
}

const copies = Buffer.allocUnsafeSlow(MAX_TABLE)

/** A text of its own: a part of a header section would keep all of it alive. Entries are shorter than the table. */
function detached(key: string): string {
  latin1Write(copies, key, 0)
  return latin1Slice(copies, 0, key.length)
}
