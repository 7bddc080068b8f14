// Hot lane: a header block to a HeaderMap, in one pass (RFC 7541). Every field becomes a line `name: value CRLF` in one piece of memory, which
// is turned into text once, so the map is of the same shape as one that was read from HTTP/1 and is forwarded by the same slices. The rules
// of RFC 9113 §8.2 and §8.3 are applied on the way. Long, because it is one flat idea: what each field does.
import { latin1Slice } from '../../../base/latin1.ts'
import type { HeaderMap } from '../../header-map.ts'
import { H_HOST, H_OTHER, idOfBytes, knownId } from '../../known-headers.ts'
import * as M from '../message-head.ts'
import * as C from './byte-classes.ts'
import { BEYOND, copyBytes, copyWords, DynamicTable, ENTRY_OVERHEAD } from './dynamic-table.ts'
import * as K from './field-kinds.ts'
import { HuffmanDecoder } from './huffman.ts'
import { STATIC_COUNT, STATIC_NAMES, STATIC_VALUES } from './static-table.ts'

/** Outcome of `decode`: the block is not HPACK, and nothing behind it can be understood (RFC 9113 §4.3). */
export const COMPRESSION_FAILED = -1

/** The most that an integer may be; larger ones are of no use in HPACK, and longer encodings are an attack (RFC 7541 §7.4). */
const MAX_CONTINUATION_SHIFT = 21

/** The static table in the form of the dynamic one. Its entry 0 is empty. */
const FIXED = new DynamicTable(16384)
for (let i = 0; i <= STATIC_COUNT; i++) {
  const name = Buffer.from(STATIC_NAMES[i] as string, 'latin1')
  const line = Buffer.from(`${STATIC_NAMES[i]}: ${STATIC_VALUES[i]}\r\n`, 'latin1')
  const pseudo = name[0] === 0x3a
  const id = pseudo ? H_OTHER : knownId(STATIC_NAMES[i] as string)
  const kind = pseudo ? K.kindOfPseudo(name, 0, name.length) : K.kindOfRegular(id, name, 0, name.length)
  FIXED.add(line, 0, line.length, name.length, id, kind, 0)
}
/** Slot of a static entry: they were added in order, from 0. */
for (let i = 1; i <= STATIC_COUNT; i++) FIXED.text[i] = STATIC_VALUES[i] as string

/** Where lines are put together; one for all decoders of a thread, since decoding is never interrupted. */
let scratch: Buffer = Buffer.allocUnsafeSlow(16384)
let scratchView = new DataView(scratch.buffer)

function enlarge(used: number, need: number): void {
  const larger = Buffer.allocUnsafeSlow(need * 2)
  scratch.copy(larger, 0, 0, used)
  scratch = larger
  scratchView = new DataView(larger.buffer)
}

const COLON = 0x3a
const SP = 0x20
const HT = 9

export class HpackDecoder {
  readonly table: DynamicTable
  /** What the peer may choose as the table's size. */
  sizeLimit: number
  private readonly huffman: HuffmanDecoder
  private readonly maxBytes: number
  private readonly maxFields: number
  private readonly extendedConnect: boolean
  // Of the block that is being decoded.
  private mode: number
  private p: number
  /** End of the lines in scratch. */
  private at: number
  private listBytes: number
  private fields: number
  private fault: number
  private overflow: number
  private regularSeen: boolean
  /** Bits of the kinds of pseudo-headers. */
  private seen: number
  private hosts: number
  private cookies: number
  private contentLength: number
  private never: string
  private readonly pseudoStart: Int32Array
  private readonly pseudoEnd: Int32Array
  private readonly pseudoText: (string | null)[]

  /** Limits are those of a list of fields (RFC 9113 §6.5.2: name, value and 32 for each). */
  constructor(options: { tableSize: number; maxHeaderBytes: number; maxHeaders: number; extendedConnect: boolean }) {
    this.table = new DynamicTable(Math.max(4096, options.tableSize))
    this.sizeLimit = Math.max(4096, options.tableSize)
    this.table.resize(4096)
    this.huffman = new HuffmanDecoder()
    this.maxBytes = options.maxHeaderBytes
    this.maxFields = options.maxHeaders
    this.extendedConnect = options.extendedConnect
    this.mode = M.REQUEST
    this.p = 0
    this.at = 0
    this.listBytes = 0
    this.fields = 0
    this.fault = 0
    this.overflow = 0
    this.regularSeen = false
    this.seen = 0
    this.hosts = 0
    this.cookies = 0
    this.contentLength = -1
    this.never = ''
    this.pseudoStart = new Int32Array(K.LAST_PSEUDO + 1)
    this.pseudoEnd = new Int32Array(K.LAST_PSEUDO + 1)
    this.pseudoText = new Array<string | null>(K.LAST_PSEUDO + 1).fill(null)
  }

  /**
   * Decodes the block `b[start, end)` into `map`, which is cleared, and `head`. Returns 0, a fault of message-head.ts (the decoder goes on), or
   * COMPRESSION_FAILED.
   */
  decode(b: Buffer, start: number, end: number, mode: number, map: HeaderMap, head: M.MessageHead): number {
    map.clear()
    head.clear()
    this.mode = mode
    this.p = start
    this.at = 0
    this.listBytes = 0
    this.fields = 0
    this.fault = 0
    this.overflow = 0
    this.regularSeen = false
    this.seen = 0
    this.hosts = 0
    this.cookies = 0
    this.contentLength = -1
    this.never = ''
    while (this.p < end) {
      const first = b[this.p] as number
      let good: boolean
      if (first >= 0x80) good = this.indexed(this.integer(b, end, 0x7f), map)
      else if (first >= 0x40) good = this.literal(b, end, 0x3f, true, map)
      else if (first < 0x20) good = this.literal(b, end, 0x0f, false, map)
      else good = this.resizeTable(this.integer(b, end, 0x1f))
      if (!good) return COMPRESSION_FAILED
    }
    if (this.table.capacity > this.sizeLimit) return COMPRESSION_FAILED
    return mode === M.DISCARDED ? 0 : this.finish(map, head)
  }

  /** After our SETTINGS have been acknowledged: the peer must not use more than what they said. */
  limitTable(size: number): void {
    this.sizeLimit = size
  }

  private resizeTable(size: number): boolean {
    // Only before the first field (RFC 7541 §4.2).
    if (size < 0 || size > this.sizeLimit || this.fields > 0) return false
    this.table.resize(size)
    return true
  }

  /** RFC 7541 §5.1; -1 when it is cut off or too large. */
  private integer(b: Buffer, end: number, mask: number): number {
    const prefix = (b[this.p++] as number) & mask
    if (prefix < mask) return prefix
    let value = mask
    for (let shift = 0; this.p < end; shift += 7) {
      if (shift > MAX_CONTINUATION_SHIFT) return -1
      const byte = b[this.p++] as number
      value += (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    return -1
  }

  private indexed(index: number, map: HeaderMap): boolean {
    if (index <= 0) return false
    if (index <= STATIC_COUNT) {
      this.fromTable(FIXED, index, map)
      return true
    }
    const i = index - STATIC_COUNT - 1
    if (i >= this.table.count) return false
    this.fromTable(this.table, this.table.slot(i), map)
    return true
  }

  private fromTable(table: DynamicTable, slot: number, map: HeaderMap): void {
    const length = table.lineLength[slot] as number
    const kind = table.kind[slot] as number
    const start = table.start[slot] as number
    const nameLength = table.nameLength[slot] as number
    if (!this.fits(length - 4)) return
    if (kind !== K.PLAIN && kind <= K.LAST_PSEUDO) {
      let text = table.text[slot] as string | null
      if (text === null) {
        text = latin1Slice(table.arena, start + nameLength + 2, start + length - 2)
        table.text[slot] = text
      }
      this.pseudo(kind, table.fault[slot] as number, 0, 0, text)
      return
    }
    const at = this.at
    if (at + length + BEYOND > scratch.length) enlarge(at, at + length + BEYOND)
    copyWords(table.view, start, start + length, scratchView, at)
    this.regular(at, nameLength, at + length, table.id[slot] as number, kind, table.fault[slot] as number, map)
  }

  private literal(b: Buffer, end: number, mask: number, add: boolean, map: HeaderMap): boolean {
    const never = !add && ((b[this.p] as number) & 0x10) !== 0
    const index = this.integer(b, end, mask)
    if (index < 0) return false
    const at = this.at
    let id = H_OTHER
    let kind = K.PLAIN
    let fault = 0
    let nameEnd: number
    if (index === 0) {
      nameEnd = this.string(b, end, at)
      if (nameEnd < 0) return false
      if (nameEnd === at) fault = M.BAD_NAME
      else if (scratch[at] === COLON) kind = K.kindOfPseudo(scratch, at, nameEnd)
      else {
        if ((this.huffman.classes & C.NOT_NAME) !== 0) fault = M.BAD_NAME
        id = idOfBytes(scratch, at, nameEnd)
        kind = K.kindOfRegular(id, scratch, at, nameEnd)
      }
    } else {
      const table = index <= STATIC_COUNT ? FIXED : this.table
      if (index - STATIC_COUNT - 1 >= this.table.count) return false
      const slot = index <= STATIC_COUNT ? index : table.slot(index - STATIC_COUNT - 1)
      const length = table.nameLength[slot] as number
      if (at + length > scratch.length) enlarge(at, at + length)
      copyBytes(table.arena, table.start[slot] as number, (table.start[slot] as number) + length, scratch, at)
      nameEnd = at + length
      id = table.id[slot] as number
      kind = table.kind[slot] as number
      if (table.fault[slot] === M.BAD_NAME) fault = M.BAD_NAME
    }
    if (this.p >= end) return false
    const valueEnd = this.string(b, end, nameEnd + 2)
    if (valueEnd < 0) return false
    scratch[nameEnd] = COLON
    scratch[nameEnd + 1] = SP
    scratch[valueEnd] = 13
    scratch[valueEnd + 1] = 10
    if (fault === 0) fault = valueFault(kind, this.huffman.classes, nameEnd + 2, valueEnd)
    if (add) this.table.add(scratch, at, valueEnd + 2, nameEnd - at, id, kind, fault)
    if (!this.fits(valueEnd - at - 2)) return true
    if (never)
      this.never += this.never === '' ? `,${latin1Slice(scratch, at, nameEnd)},` : `${latin1Slice(scratch, at, nameEnd)},`
    if (kind !== K.PLAIN && kind <= K.LAST_PSEUDO) {
      this.pseudo(kind, fault, nameEnd + 2, valueEnd, null)
      this.at = valueEnd + 2
    } else this.regular(at, nameEnd - at, valueEnd + 2, id, kind, fault, map)
    return true
  }

  /** Decodes a string into scratch from `at`, leaving room for what the line needs behind it. Returns its end, or -1. */
  private string(b: Buffer, end: number, at: number): number {
    if (this.p >= end) return -1
    const coded = (b[this.p] as number) >= 0x80
    const length = this.integer(b, end, 0x7f)
    if (length < 0 || length > end - this.p) return -1
    const start = this.p
    this.p += length
    const need = at + length * 2 + 8
    if (need > scratch.length) enlarge(at, need)
    if (coded) return this.huffman.decode(b, start, start + length, scratch, at)
    let classes = 0
    for (let i = start; i < start + length; i++) {
      const byte = b[i] as number
      classes |= C.CLASS[byte] as number
      scratch[at++] = byte
    }
    this.huffman.classes = classes
    return at
  }

  /** Counts a field; false when it is beyond the limits and is to be left out. */
  private fits(bytes: number): boolean {
    this.fields++
    this.listBytes += bytes + ENTRY_OVERHEAD
    if (this.listBytes > this.maxBytes) this.overflow = M.TOO_LARGE
    else if (this.fields > this.maxFields) this.overflow = M.TOO_MANY
    return this.overflow === 0
  }

  private note(fault: number): void {
    if (this.fault === 0) this.fault = fault
  }

  private pseudo(kind: number, fault: number, valueStart: number, valueEnd: number, text: string | null): void {
    if (fault !== 0) this.note(fault)
    const { mode } = this
    if (mode === M.TRAILERS || (mode === M.RESPONSE) !== (kind === K.P_STATUS)) this.note(M.BAD_PSEUDO)
    else if (this.regularSeen) this.note(M.PSEUDO_ORDER)
    else if ((this.seen & (1 << kind)) !== 0) this.note(M.PSEUDO_TWICE)
    this.seen |= 1 << kind
    this.pseudoStart[kind] = valueStart
    this.pseudoEnd[kind] = valueEnd
    this.pseudoText[kind] = text
  }

  /** The line `scratch[at, lineEnd)` is a field. */
  private regular(
    at: number,
    nameLength: number,
    lineEnd: number,
    id: number,
    kind: number,
    fault: number,
    map: HeaderMap,
  ): void {
    this.regularSeen = true
    this.at = lineEnd
    if (fault !== 0) this.note(fault)
    else if (kind !== K.PLAIN) this.special(kind, at + nameLength + 2, lineEnd - 2)
    const valueStart = at + nameLength + 2
    map.push(at, at + nameLength, valueStart, lineEnd - 2, lineEnd, id)
  }

  private special(kind: number, start: number, end: number): void {
    switch (kind) {
      case K.UNKNOWN_PSEUDO:
        this.note(M.BAD_PSEUDO)
        break
      case K.CONNECTION_SPECIFIC:
        this.note(M.HTTP1_FIELD)
        break
      case K.TE:
        if (!K.sameText(scratch, start, end, 'trailers')) this.note(M.BAD_TE)
        break
      case K.LENGTH: {
        const length = this.contentLength < 0 ? decimal(start, end) : -1
        if (length < 0) this.note(M.BAD_LENGTH)
        else this.contentLength = length
        break
      }
      case K.COOKIE:
        this.cookies++
        break
      case K.HOST:
        this.hosts++
        break
    }
  }

  private finish(map: HeaderMap, head: M.MessageHead): number {
    const text = this.at === 0 ? '' : latin1Slice(scratch, 0, this.at)
    map.block = text
    head.contentLength = this.contentLength
    head.neverIndexed = this.never
    const { mode } = this
    if (mode === M.REQUEST) {
      head.method = this.pseudoValue(K.P_METHOD, text)
      head.scheme = this.pseudoValue(K.P_SCHEME, text)
      head.authority = this.pseudoValue(K.P_AUTHORITY, text)
      head.path = this.pseudoValue(K.P_PATH, text)
      if ((this.seen & (1 << K.P_PROTOCOL)) !== 0) head.protocol = this.pseudoValue(K.P_PROTOCOL, text)
    } else if (mode === M.RESPONSE) head.status = statusOf(this.pseudoValue(K.P_STATUS, text))
    if (this.fault !== 0) return this.fault
    if (this.overflow !== 0) return this.overflow
    if (mode === M.RESPONSE) return head.status === 0 ? M.BAD_STATUS : 0
    if (mode === M.TRAILERS) return 0
    if (this.cookies > 1) joinCookies(map)
    if (this.hosts > 0) {
      const fault = this.takeHost(map, head)
      if (fault !== 0) return fault
    }
    const { seen } = this
    return M.requestFault(head, (seen & (1 << K.P_SCHEME)) !== 0, (seen & (1 << K.P_PATH)) !== 0, this.extendedConnect)
  }

  private pseudoValue(kind: number, text: string): string {
    if ((this.seen & (1 << kind)) === 0) return ''
    return this.pseudoText[kind] ?? text.substring(this.pseudoStart[kind] as number, this.pseudoEnd[kind] as number)
  }

  /** One of host and :authority is enough; both must say the same (RFC 9113 §8.3.1). The map has no host afterwards. */
  private takeHost(map: HeaderMap, head: M.MessageHead): number {
    const host = map.valueAt(map.firstKnown(H_HOST))
    if (this.hosts > 1) return M.HOST_MISMATCH
    if ((this.seen & (1 << K.P_AUTHORITY)) === 0) head.authority = host
    else if (host !== head.authority && host.toLowerCase() !== head.authority.toLowerCase()) return M.HOST_MISMATCH
    map.removeKnown(H_HOST)
    return 0
  }
}

/** A fault of a value by the classes of its bytes, `scratch[start, end)`. */
function valueFault(kind: number, classes: number, start: number, end: number): number {
  switch (kind) {
    case K.P_METHOD:
      return start === end || (classes & C.NOT_TOKEN) !== 0 ? M.BAD_METHOD : 0
    case K.P_SCHEME:
      return start === end || (classes & C.NOT_SCHEME) !== 0 ? M.BAD_SCHEME : 0
    case K.P_AUTHORITY:
      return (classes & C.NOT_AUTHORITY) !== 0 ? M.BAD_AUTHORITY : 0
    case K.HOST:
      return start === end || (classes & C.NOT_AUTHORITY) !== 0 ? M.BAD_AUTHORITY : 0
    case K.P_PATH:
      return start === end || (classes & C.NOT_PATH) !== 0 ? M.BAD_PATH : 0
    case K.P_STATUS:
      return end - start !== 3 || (classes & C.NOT_DIGIT) !== 0 ? M.BAD_STATUS : 0
    case K.P_PROTOCOL:
      return start === end || (classes & C.NOT_TOKEN) !== 0 ? M.BAD_PROTOCOL : 0
  }
  if ((classes & C.NOT_VALUE) !== 0) return M.BAD_VALUE
  if (start === end) return 0
  const first = scratch[start]
  const last = scratch[end - 1]
  return first === SP || first === HT || last === SP || last === HT ? M.BAD_VALUE : 0
}

/** Digits only, at most 2^53−1; -1 otherwise. */
function decimal(start: number, end: number): number {
  if (end === start || end - start > 16) return -1
  let n = 0
  for (let i = start; i < end; i++) {
    const digit = (scratch[i] as number) - 0x30
    if (digit < 0 || digit > 9) return -1
    n = n * 10 + digit
  }
  return n > Number.MAX_SAFE_INTEGER ? -1 : n
}

/** 0 for what is no status. 101 does not exist in HTTP/2 (RFC 9113 §8.6). */
function statusOf(text: string): number {
  if (text.length !== 3) return 0
  const status = (text.charCodeAt(0) - 0x30) * 100 + (text.charCodeAt(1) - 0x30) * 10 + text.charCodeAt(2) - 0x30
  return status < 100 || status > 999 || status === 101 ? 0 : status
}

/** Crumbs become one field again before anything that is not HTTP/2 sees them (RFC 9113 §8.2.3). */
function joinCookies(map: HeaderMap): void {
  let joined = ''
  for (let i = 0; i < map.count; i++) {
    if (map.ids[i] !== H_OTHER || map.nameAt(i) !== 'cookie') continue
    joined += joined === '' ? map.valueAt(i) : `; ${map.valueAt(i)}`
    map.removeAt(i)
  }
  map.append('cookie', joined)
}
