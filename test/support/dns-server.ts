// A DNS server that knows a few names (A records, RFC 1035 §4), and says what it was asked.
import dgram from 'node:dgram'
import type { AddressInfo } from 'node:net'
import type { Teardown } from './teardown.ts'

/** IPv4 addresses with the TTL of all, seconds; `fail`: SERVFAIL. A name that is not listed does not exist. */
export type DnsRecord = { readonly addresses: readonly string[]; readonly ttl: number } | 'fail'

const A = 1
const SERVFAIL = 2
const NXDOMAIN = 3

export class DnsServer {
  /** By name, lower case. May change at any time. */
  readonly records: Map<string, DnsRecord>
  /** Names for which A records were asked, in order. */
  readonly asked: string[]
  private readonly socket: dgram.Socket

  private constructor(records: Readonly<Record<string, DnsRecord>>) {
    this.records = new Map(Object.entries(records))
    this.asked = []
    this.socket = dgram.createSocket('udp4')
    this.socket.on('message', (query, from) => this.socket.send(this.answer(query), from.port, from.address))
  }

  static async start(t: Teardown, records: Readonly<Record<string, DnsRecord>>): Promise<DnsServer> {
    const server = new DnsServer(records)
    await new Promise<void>((resolve) => server.socket.bind(0, '127.0.0.1', resolve))
    t.teardown(() => new Promise<void>((resolve) => server.socket.close(() => resolve())))
    return server
  }

  /** `address:port` */
  get address(): string {
    const { address, port } = this.socket.address() as AddressInfo
    return `${address}:${port}`
  }

  /** How often a name was asked for. */
  times(name: string): number {
    return this.asked.filter((n) => n === name).length
  }

  private answer(query: Buffer): Buffer {
    const labels: string[] = []
    let at = 12
    for (let length = query[at]!; length > 0; length = query[at]!) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length))
      at += 1 + length
    }
    const type = query.readUInt16BE(at + 1)
    const question = query.subarray(12, at + 5)
    const name = labels.join('.').toLowerCase()
    if (type === A) this.asked.push(name)
    const record = this.records.get(name)
    const code = record === undefined ? NXDOMAIN : record === 'fail' ? SERVFAIL : 0
    const known = typeof record === 'object' && type === A ? record.addresses.map((a) => resourceRecord(a, record.ttl)) : []
    const header = Buffer.alloc(12)
    query.copy(header, 0, 0, 2)
    header.writeUInt16BE(0x8180 | code, 2) // a response; recursion was desired and is available
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(known.length, 6)
    return Buffer.concat([header, question, ...known])
  }
}

/** Its name is a pointer to the question's. */
function resourceRecord(address: string, ttl: number): Buffer {
  const record = Buffer.alloc(16)
  record.writeUInt16BE(0xc00c, 0)
  record.writeUInt16BE(A, 2)
  record.writeUInt16BE(1, 4)
  record.writeUInt32BE(ttl, 6)
  record.writeUInt16BE(4, 10)
  for (const [i, part] of address.split('.').entries()) record[12 + i] = Number(part)
  return record
}
