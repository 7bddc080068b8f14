// Hot lane: the dynamic table (RFC 7541 §2.3.2). Entries lie as finished field lines in one piece of memory, so that for a decoder an indexed field is
// one copy; what its rules make of a name is decided when the entry comes in.

/** What the table adds to each entry (RFC 7541 §4.1). */
export const ENTRY_OVERHEAD = 32

export class DynamicTable {
  /** Bytes that entries may take now; the peer chooses it, up to `limit`. */
  capacity: number
  /** Size of all entries, by the rule of RFC 7541 §4.1. */
  size: number
  /** Number of entries. */
  count: number
  // One value for each entry, in a ring; `slot` gives its place. Nothing is there before the first entry: most connections of a mesh are idle.
  start: Int32Array
  /** Length of the name. */
  nameLength: Int32Array
  /** Length of the whole line, `name: value CRLF`. */
  lineLength: Int32Array
  id: Uint8Array
  kind: Uint8Array
  /** Reason why the field makes its message malformed; 0: none. */
  fault: Uint8Array
  /** Value of a pseudo-header as text, made when it is first asked for. */
  text: (string | null)[]
  arena: Buffer
  /** Of the arena, for who copies or compares four bytes at a time; reads may go up to three bytes beyond the last line. */
  view: DataView
  /** Bytes of the arena that lines may take. */
  private room: number
  /** What the arena may grow to. The lines that are alive fit in one half, so a line that does not fit behind them may begin anew at 0. */
  private readonly arenaLimit: number
  private readonly mask: number
  /** Slot of the next entry. */
  private next: number
  /** Where the next line begins in the arena. */
  private head: number

  /** `limit`: the most that the peer may ever choose. */
  constructor(limit: number) {
    let slots = 1
    while (slots < limit / ENTRY_OVERHEAD) slots *= 2
    this.capacity = limit
    this.size = 0
    this.count = 0
    this.start = NO_NUMBERS
    this.nameLength = NO_NUMBERS
    this.lineLength = NO_NUMBERS
    this.id = NO_BYTES
    this.kind = NO_BYTES
    this.fault = NO_BYTES
    this.text = []
    this.arena = NOTHING
    this.view = NO_VIEW
    this.room = 0
    this.arenaLimit = 2 * limit + 4
    this.mask = slots - 1
    this.next = 0
    this.head = 0
  }

  /** Places in the ring. */
  get slots(): number {
    return this.mask + 1
  }

  private begin(): void {
    const { slots } = this
    this.start = new Int32Array(slots)
    this.nameLength = new Int32Array(slots)
    this.lineLength = new Int32Array(slots)
    this.id = new Uint8Array(slots)
    this.kind = new Uint8Array(slots)
    this.fault = new Uint8Array(slots)
    this.text = new Array<string | null>(slots).fill(null)
  }

  /** Place of the entry with index `i`, 0 being the youngest; the caller has compared with `count`. */
  slot(i: number): number {
    return (this.next - 1 - i) & this.mask
  }

  resize(capacity: number): void {
    this.capacity = capacity
    this.evictTo(capacity)
  }

  /**
   * Adds the line `b[from, to)` (`name: value CRLF`), evicting what has to go. An entry larger than the table empties it and is not added
   * (RFC 7541 §4.4).
   */
  add(b: Buffer, from: number, to: number, nameLength: number, id: number, kind: number, fault: number): void {
    const length = to - from
    const size = length - 4 + ENTRY_OVERHEAD
    if (size > this.capacity) {
      this.evictTo(0)
      return
    }
    this.evictTo(this.capacity - size)
    if (this.start.length === 0) this.begin()
    const at = this.place(length)
    copyBytes(b, from, to, this.arena, at)
    const slot = this.next
    this.start[slot] = at
    this.nameLength[slot] = nameLength
    this.lineLength[slot] = length
    this.id[slot] = id
    this.kind[slot] = kind
    this.fault[slot] = fault
    this.text[slot] = null
    this.head = at + length
    this.next = (slot + 1) & this.mask
    this.size += size
    this.count++
  }

  /** Where a line of this length goes. */
  private place(length: number): number {
    const need = this.head + length
    if (need <= this.room) return this.head
    if (this.room === this.arenaLimit) return 0
    this.room = Math.min(this.arenaLimit, Math.max(FIRST_ARENA, need * 2))
    const larger = Buffer.allocUnsafeSlow(this.room + BEYOND)
    this.arena.copy(larger, 0, 0, this.head)
    this.arena = larger
    this.view = new DataView(larger.buffer)
    return need <= this.room ? this.head : 0
  }

  private evictTo(size: number): void {
    while (this.size > size) {
      const oldest = this.slot(this.count - 1)
      this.size -= (this.lineLength[oldest] as number) - 4 + ENTRY_OVERHEAD
      this.count--
    }
  }
}

const NO_NUMBERS = new Int32Array(0)
const NO_BYTES = new Uint8Array(0)
const NOTHING = Buffer.alloc(0)
const NO_VIEW = new DataView(new ArrayBuffer(0))
const FIRST_ARENA = 1024

/** What a read of four bytes may go beyond the last one that is wanted. */
export const BEYOND = 3

/** A call into the runtime costs more than a short loop. */
const SHORT = 96

export function copyBytes(from: Buffer, start: number, end: number, to: Buffer, at: number): void {
  if (end - start > SHORT) from.copy(to, at, start, end)
  else for (let i = start; i < end; i++) to[at++] = from[i] as number
}

/** As `copyBytes`, between views and up to `BEYOND` bytes more than asked for, on both sides. */
export function copyWords(from: DataView, start: number, end: number, to: DataView, at: number): void {
  for (let i = start; i < end; i += 4) {
    to.setInt32(at, from.getInt32(i, true), true)
    at += 4
  }
}
