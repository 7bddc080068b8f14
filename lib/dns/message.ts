// Messages of DNS (RFC 1035 §4, EDNS RFC 6891), as far as a proxy has to read and write them. What is read comes from anybody: nothing here throws for it, and
// nothing loops.

export const DNS_TYPE = { A: 1, CNAME: 5, AAAA: 28, OPT: 41 } as const
export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const

const CLASS_IN = 1
const HEADER = 12
/** Of a message over UDP without EDNS (RFC 1035 §4.2.1). */
export const PLAIN_UDP_BYTES = 512
/** What we take over UDP, and send at most (DNS flag day 2020). */
export const OUR_UDP_BYTES = 1232
const MAX_NAME_BYTES = 255
/** Of all sections of a query; real ones have one or two. */
const MAX_RECORDS = 16

const QR = 0x8000
const OPCODE = 0x7800
const AA = 0x0400
const TC = 0x0200
const RD = 0x0100
const RA = 0x0080
const CD = 0x0010

export interface DnsQuery {
  readonly id: number
  readonly flags: number
  /** In lower case, without the point at its end; null: it has bytes that no host name has. */
  readonly name: string | null
  readonly type: number
  /** Of the Internet. */
  readonly internet: boolean
  /** The bytes of the question, as they came. */
  readonly question: Buffer
  /** What the client takes over UDP. */
  readonly udpBytes: number
  /** null: without EDNS. */
  readonly ednsVersion: number | null
}

/** `rcode`: the client is told this; `drop`: nobody is told anything, since it may be an answer or no DNS at all. */
export type ReadQuery =
  | { readonly ok: true; readonly query: DnsQuery }
  | { readonly ok: false; readonly drop: true }
  | { readonly ok: false; readonly drop: false; readonly id: number; readonly flags: number; readonly rcode: number }

const DROP: ReadQuery = { ok: false, drop: true }

export function readQuery(message: Buffer): ReadQuery {
  if (message.length < HEADER) return DROP
  const id = message.readUInt16BE(0)
  const flags = message.readUInt16BE(2)
  // An answer to an answer would be answered again.
  if ((flags & QR) !== 0) return DROP
  const refuse = (rcode: number): ReadQuery => ({ ok: false, drop: false, id, flags, rcode })
  if ((flags & OPCODE) !== 0) return refuse(RCODE.NOTIMP)
  if (message.readUInt16BE(4) !== 1) return refuse(RCODE.FORMERR)
  const records = message.readUInt16BE(6) + message.readUInt16BE(8) + message.readUInt16BE(10)
  const name = readName(message, HEADER)
  if (name === null || name.end + 4 > message.length || records > MAX_RECORDS) return refuse(RCODE.FORMERR)
  const end = name.end + 4
  const edns = readEdns(message, end, records)
  if (edns === null) return refuse(RCODE.FORMERR)
  const query: DnsQuery = {
    id,
    flags,
    name: name.text,
    type: message.readUInt16BE(name.end),
    internet: message.readUInt16BE(name.end + 2) === CLASS_IN,
    question: message.subarray(HEADER, end),
    udpBytes: Math.max(PLAIN_UDP_BYTES, edns.udpBytes),
    ednsVersion: edns.version,
  }
  return { ok: true, query }
}

/** A name of a question, which has no pointers: nothing is before it. null: it is broken. */
function readName(message: Buffer, from: number): { readonly text: string | null; readonly end: number } | null {
  const labels: string[] = []
  let odd = false
  let at = from
  for (;;) {
    const length = message[at]
    if (length === undefined || length > 63) return null
    at++
    if (length === 0) break
    if (at + length > message.length || at + length - from > MAX_NAME_BYTES) return null
    const label = message.toString('latin1', at, at + length)
    if (/[^!-~]|[.\\]/.test(label)) odd = true
    labels.push(label)
    at += length
  }
  return { text: odd ? null : labels.join('.').toLowerCase(), end: at }
}

interface Edns {
  readonly udpBytes: number
  readonly version: number | null
}

const NO_EDNS: Edns = { udpBytes: 0, version: null }

/** null: the records behind the question are broken. */
function readEdns(message: Buffer, from: number, records: number): Edns | null {
  let at = from
  let found: Edns = NO_EDNS
  for (let i = 0; i < records; i++) {
    const owner = at
    const end = skipName(message, at)
    if (end < 0 || end + 10 > message.length) return null
    const next = end + 10 + message.readUInt16BE(end + 8)
    if (next > message.length) return null
    if (message.readUInt16BE(end) === DNS_TYPE.OPT) {
      // One, and of the root (RFC 6891 §6.1.1).
      if (found !== NO_EDNS || message[owner] !== 0) return null
      found = { udpBytes: message.readUInt16BE(end + 2), version: message[end + 5] as number }
    }
    at = next
  }
  return found
}

/** -1: it is broken. A pointer ends a name, and is not followed. */
function skipName(message: Buffer, from: number): number {
  let at = from
  for (;;) {
    const length = message[at]
    if (length === undefined) return -1
    if (length >= 0xc0) return at + 2 <= message.length ? at + 2 : -1
    if (length > 63) return -1
    at += 1 + length
    if (length === 0) return at
  }
}

export interface DnsAnswerRecords {
  /** What the name is another name of; '': it is none. */
  readonly alias: string
  /** 4 or 16 bytes each. */
  readonly addresses: readonly Uint8Array[]
  readonly ttlSeconds: number
}

const NOTHING: DnsAnswerRecords = { alias: '', addresses: [], ttlSeconds: 0 }

/** @param limit bytes; records that do not fit are left out, and the client is told so */
export function writeAnswer(query: DnsQuery, rcode: number, records: DnsAnswerRecords | null, limit: number): Buffer {
  const { alias, addresses, ttlSeconds } = records ?? NOTHING
  const opt = query.ednsVersion === null ? 0 : 11
  const parts: Buffer[] = []
  let length = HEADER + query.question.length + opt
  let owner = HEADER
  let truncated = false
  const add = (record: Buffer): boolean => {
    if (length + record.length > limit) return false
    parts.push(record)
    length += record.length
    return true
  }
  if (alias !== '') {
    // The name of what follows is in the data of this record.
    owner = HEADER + query.question.length + 12
    truncated = !add(recordOf(HEADER, DNS_TYPE.CNAME, ttlSeconds, nameBytes(alias)))
  }
  for (const address of addresses) {
    if (truncated) break
    const type = address.length === 4 ? DNS_TYPE.A : DNS_TYPE.AAAA
    truncated = !add(recordOf(owner, type, ttlSeconds, address))
  }
  const known = records === null ? 0 : AA
  const header = headerOf(query.id, QR | known | (truncated ? TC : 0) | RA | (query.flags & (RD | CD)) | (rcode & 15))
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(parts.length, 6)
  header.writeUInt16BE(opt === 0 ? 0 : 1, 10)
  return Buffer.concat([header, query.question, ...parts, ...(opt === 0 ? [] : [optOf(rcode)])])
}

/** To a query of which not even the question could be read. */
export function writeRefusal(id: number, flags: number, rcode: number): Buffer {
  return headerOf(id, QR | RA | (flags & (OPCODE | RD)) | rcode)
}

/** An answer that came from elsewhere, for a client that takes no more than `limit` bytes: without its records (RFC 2181 §9). */
export function cutShort(query: DnsQuery, answer: Buffer, limit: number): Buffer {
  if (answer.length <= limit) return answer
  const flags = answer.readUInt16BE(2)
  const header = headerOf(query.id, flags | TC)
  header.writeUInt16BE(1, 4)
  return Buffer.concat([header, query.question])
}

/** Whether a message answers this query that was sent with `id`: anybody may send us one. */
export function answers(message: Buffer, query: DnsQuery, id: number): boolean {
  if (message.length < HEADER || message.readUInt16BE(0) !== id || (message.readUInt16BE(2) & QR) === 0) return false
  const { question } = query
  // Servers that refuse a query as a whole do not repeat it.
  if (message.readUInt16BE(4) === 0) return message.length === HEADER || rcodeOf(message) !== RCODE.NOERROR
  const name = question.length - 4
  const echoed = message.subarray(HEADER, HEADER + question.length)
  if (echoed.length !== question.length || !echoed.subarray(name).equals(question.subarray(name))) return false
  return echoed.toString('latin1', 0, name).toLowerCase() === question.toString('latin1', 0, name).toLowerCase()
}

export function rcodeOf(message: Buffer): number {
  return (message[3] as number) & 15
}

function headerOf(id: number, flags: number): Buffer {
  const header = Buffer.alloc(HEADER)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(flags, 2)
  return header
}

/** @param owner where in the message its name is */
function recordOf(owner: number, type: number, ttlSeconds: number, data: Uint8Array): Buffer {
  const record = Buffer.alloc(12 + data.length)
  record.writeUInt16BE(0xc000 | owner, 0)
  record.writeUInt16BE(type, 2)
  record.writeUInt16BE(CLASS_IN, 4)
  record.writeUInt32BE(ttlSeconds, 6)
  record.writeUInt16BE(data.length, 10)
  record.set(data, 12)
  return record
}

function nameBytes(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '')
  return Buffer.from([...labels.flatMap((label) => [label.length, ...Buffer.from(label, 'latin1')]), 0])
}

/** RFC 6891 §6.1.2: the upper bits of the code are in it. */
function optOf(rcode: number): Buffer {
  const opt = Buffer.alloc(11)
  opt.writeUInt16BE(DNS_TYPE.OPT, 1)
  opt.writeUInt16BE(OUR_UDP_BYTES, 3)
  opt.writeUInt8(rcode >> 4, 5)
  return opt
}
