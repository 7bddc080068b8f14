// Hot lane: one per connection and direction, filled by the parser, forwarded by slices. A header that nobody reads costs its
// scan and nothing else; a header that is read costs one substring.
import { H_COUNT, H_OTHER, knownId } from './known-headers.ts'

const REMOVED = -1

/**
 * The fields of one message: order, spelling and duplicates kept. The parsed part is one latin1 text with offsets into it; what
 * is added later is kept beside it. Implements `EditableHeaders` of route/request-view.ts.
 *
 * Owned by its codec and valid until that codec parses the next message.
 */
export class HeaderMap {
  /** Start line and fields as received, ending behind the last field line. */
  block: string
  /** Number of parsed fields, removed ones included. */
  count: number
  // Offsets into `block`, one entry a field: line start, name end, value start, value end, next line's start.
  readonly lineStart: number[]
  readonly nameEnd: number[]
  readonly valueStart: number[]
  readonly valueEnd: number[]
  readonly lineEnd: number[]
  /** Known id, H_OTHER, or REMOVED. */
  readonly ids: number[]
  /** First field of each known id, or -1. No Int32Array: so small a one is memory outside of V8's heap, and filling it a call. */
  private readonly first: number[]
  private readonly addedNames: string[]
  private readonly addedLower: string[]
  private readonly addedValues: string[]
  /** Fields added; what the arrays hold beyond it is stale. Truncating an array costs more than a number. */
  private added: number

  constructor() {
    this.block = ''
    this.count = 0
    this.lineStart = []
    this.nameEnd = []
    this.valueStart = []
    this.valueEnd = []
    this.lineEnd = []
    this.ids = []
    this.first = new Array<number>(H_COUNT).fill(-1)
    this.addedNames = []
    this.addedLower = []
    this.addedValues = []
    this.added = 0
  }

  clear(): void {
    this.block = ''
    this.count = 0
    const { first } = this
    for (let i = 0; i < H_COUNT; i++) first[i] = -1
    this.added = 0
  }

  /** For the parser: appends a field by its offsets. */
  push(lineStart: number, nameEnd: number, valueStart: number, valueEnd: number, lineEnd: number, id: number): void {
    const i = this.count++
    this.lineStart[i] = lineStart
    this.nameEnd[i] = nameEnd
    this.valueStart[i] = valueStart
    this.valueEnd[i] = valueEnd
    this.lineEnd[i] = lineEnd
    this.ids[i] = id
    if (id !== H_OTHER && (this.first[id] as number) < 0) this.first[id] = i
  }

  /** Index of the first parsed field with a known id that is still there; -1 when none. */
  firstKnown(id: number): number {
    let i = this.first[id] as number
    if (i < 0) return -1
    for (; i < this.count; i++) if (this.ids[i] === id) return i
    return -1
  }

  /** Index of the next parsed field with a known id behind `i`. */
  nextKnown(id: number, i: number): number {
    for (let k = i + 1; k < this.count; k++) if (this.ids[k] === id) return k
    return -1
  }

  /** Value of a field by index, whitespace around it left out. Indices from `count` on are added fields. */
  valueAt(i: number): string {
    if (i >= this.count) return this.addedValues[i - this.count] as string
    return this.block.substring(this.valueStart[i] as number, this.valueEnd[i] as number)
  }

  nameAt(i: number): string {
    if (i >= this.count) return this.addedNames[i - this.count] as string
    return this.block.substring(this.lineStart[i] as number, this.nameEnd[i] as number)
  }

  /** First value of a known id, added ones included; null when absent. `name` is its lower-case name. */
  known(id: number, name: string): string | null {
    const i = this.firstKnown(id)
    if (i >= 0) return this.valueAt(i)
    const added = this.indexOfAdded(name, 0)
    return added < 0 ? null : (this.addedValues[added] as string)
  }

  private indexOfAdded(name: string, from: number): number {
    for (let i = from; i < this.added; i++) if (this.addedLower[i] === name) return i
    return -1
  }

  get(name: string): string | null {
    const i = this.indexOf(name, 0)
    return i < 0 ? null : this.valueAt(i)
  }

  /** Fields parsed and added, removed ones included; `isRemoved` tells. */
  get size(): number {
    return this.count + this.added
  }

  isRemoved(i: number): boolean {
    return i < this.count && this.ids[i] === REMOVED
  }

  indexOf(name: string, from: number): number {
    const id = knownId(name)
    if (id !== H_OTHER) {
      const i = from === 0 ? this.firstKnown(id) : this.nextKnown(id, from - 1)
      if (i >= 0) return i
    } else {
      const length = name.length
      for (let i = from; i < this.count; i++) {
        const start = this.lineStart[i] as number
        if ((this.nameEnd[i] as number) - start === length && this.ids[i] !== REMOVED && this.nameIs(start, name)) return i
      }
    }
    const added = this.indexOfAdded(name, Math.max(0, from - this.count))
    return added < 0 ? -1 : this.count + added
  }

  private nameIs(start: number, name: string): boolean {
    for (let k = 0; k < name.length; k++) {
      const c = this.block.charCodeAt(start + k)
      if ((c >= 0x41 && c <= 0x5a ? c | 0x20 : c) !== name.charCodeAt(k)) return false
    }
    return true
  }

  /** Takes out one field by index. */
  removeAt(i: number): void {
    if (i < this.count) this.ids[i] = REMOVED
    else {
      this.addedNames.splice(i - this.count, 1)
      this.addedLower.splice(i - this.count, 1)
      this.addedValues.splice(i - this.count, 1)
      this.added--
    }
  }

  /** Takes out all parsed fields with a known id. Fields added by the proxy itself stay. */
  removeKnown(id: number): void {
    let i = this.first[id] as number
    if (i < 0) return
    for (; i < this.count; i++) if (this.ids[i] === id) this.ids[i] = REMOVED
    this.first[id] = -1
  }

  remove(name: string): void {
    for (let i = this.indexOf(name, 0); i >= 0; i = this.indexOf(name, i < this.count ? i + 1 : i)) this.removeAt(i)
  }

  set(name: string, value: string): void {
    this.remove(name.toLowerCase())
    this.add(name, value)
  }

  add(name: string, value: string): void {
    this.put(name, name.toLowerCase(), value)
  }

  /** Adds a field whose name is lower case already and known not to be there. */
  append(lowerCaseName: string, value: string): void {
    this.put(lowerCaseName, lowerCaseName, value)
  }

  private put(name: string, lower: string, value: string): void {
    const i = this.added++
    this.addedNames[i] = name
    this.addedLower[i] = lower
    this.addedValues[i] = value
  }

  /**
   * The field lines to send, each `name: value CRLF`, without the empty line. Neighbouring lines that already have exactly this form are
   * taken as one slice: the parser has checked every byte of them, so the slice is the re-serialised form.
   */
  serialise(): string {
    let out = ''
    let runStart = -1
    let runEnd = -1
    const n = this.count
    for (let i = 0; i < n; i++) {
      const start = this.lineStart[i] as number
      const canonical =
        this.ids[i] !== REMOVED &&
        (this.valueStart[i] as number) === (this.nameEnd[i] as number) + 2 &&
        (this.lineEnd[i] as number) === (this.valueEnd[i] as number) + 2 &&
        this.block.charCodeAt((this.nameEnd[i] as number) + 1) === 0x20
      if (canonical && start === runEnd) {
        runEnd = this.lineEnd[i] as number
        continue
      }
      if (runStart >= 0) out += this.block.substring(runStart, runEnd)
      runStart = -1
      runEnd = -1
      if (canonical) {
        runStart = start
        runEnd = this.lineEnd[i] as number
      } else if (this.ids[i] !== REMOVED) out += `${this.nameAt(i)}: ${this.valueAt(i)}\r\n`
    }
    if (runStart >= 0) out += this.block.substring(runStart, runEnd)
    for (let i = 0; i < this.added; i++) out += `${this.addedNames[i]}: ${this.addedValues[i]}\r\n`
    return out
  }
}
