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
  // One value for each entry, in a ring; `slot` gives its place.
  readonly start: Int32Array
  /** Length of the name. */
  readonly nameLength: Int32Array
  /** Length of the whole line, `name: value CRLF`. */
  readonly lineLength: Int32Array
  readonly id: Uint8Array
  readonly kind: Uint8Array
  /** Reason why the field makes its message malformed; 0: none. */
  readonly fault: Uint8Array
  /** Value of a pseudo-header as text, made when it is first asked for. */
  readonly text: (string | null)[]
  readonly arena: Buffer
  private readonly mask: number
  /** Slot of the next entry. */
  private next: number
  /** Where the next line begins in the arena. */
  private head: number

  /** `limit`: the most that the peer may ever choose. */
  constructor(limit: number) {
    let slots = 1
    while (slots < Math.floor(limit / ENTRY_OVERHEAD) + 1) slots *= 2
    this.capacity = limit
    this.size = 0
    this.count = 0
    this.start = new Int32Array(slots)
    this.nameLength = new Int32Array(slots)
    this.lineLength = new Int32Array(slots)
    this.id = new Uint8Array(slots)
    this.kind = new Uint8Array(slots)
    this.fault = new Uint8Array(slots)
    this.text = new Array<string | null>(slots).fill(null)
    // Twice the limit: the lines that are alive fit in one half, so a line that does not fit behind them begins anew at 0.
    this.arena = Buffer.allocUnsafeSlow(2 * limit + 4)
    this.mask = slots - 1
    this.next = 0
    this.head = 0
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
    const { arena } = this
    let at = this.head
    if (at + length > arena.length) at = 0
    copyBytes(b, from, to, arena, at)
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

  private evictTo(size: number): void {
    while (this.size > size) {
      const oldest = this.slot(this.count - 1)
      this.size -= (this.lineLength[oldest] as number) - 4 + ENTRY_OVERHEAD
      this.count--
    }
  }
}

/** A call into the runtime costs more than a short loop. */
const SHORT = 96

export function copyBytes(from: Buffer, start: number, end: number, to: Buffer, at: number): void {
  if (end - start > SHORT) from.copy(to, at, start, end)
  else for (let i = start; i < end; i++) to[at++] = from[i] as number
}
