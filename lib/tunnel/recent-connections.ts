// Hot lane: the last connections of the tunnel with their decisions, for `heddle explain`.
import type { ConnectionRecord } from './connection-record.ts'

const KEPT = 1024

export class RecentConnections {
  private readonly ring: (ConnectionRecord | null)[]
  private next: number

  constructor() {
    this.ring = new Array<ConnectionRecord | null>(KEPT).fill(null)
    this.next = 0
  }

  add(record: ConnectionRecord): void {
    this.ring[this.next] = record
    this.next = (this.next + 1) % KEPT
  }

  /** Newest first: on one node both ends of a tunnel have the same id. */
  findAll(id: string): readonly ConnectionRecord[] {
    const found: ConnectionRecord[] = []
    for (let i = 1; i <= KEPT; i++) {
      const record = this.ring[(this.next - i + KEPT) % KEPT] as ConnectionRecord | null
      if (record !== null && record.id === id) found.push(record)
    }
    return found
  }
}
