// Hot lane: a connection of a node's tunnel as a line of the access log, with ztunnel's fields in ztunnel's order, as text or JSON. Pure ASCII.
import { timeText } from './access-format.ts'
import type { TunnelRecord } from './tunnel-record.ts'

type Fields = readonly (readonly [name: string, value: string | number, quoted: boolean])[]

/** `time\tlevel\taccess\tmessage\tname=value name="value"…`, what is not known is left out. */
export function tunnelTextLine(rec: TunnelRecord): string {
  let line = `${timeText(rec.startTimeMs + rec.durationMs)}\t${levelOf(rec)}\taccess\t${messageOf(rec)}\t`
  let first = true
  for (const [name, value, quoted] of fieldsOf(rec)) {
    if (value === '') continue
    line += `${first ? '' : ' '}${name}=${quoted || !isWord(String(value)) ? quote(String(value)) : value}`
    first = false
  }
  return `${line}\n`
}

export function tunnelJsonLine(rec: TunnelRecord): string {
  let line = `{"level":"${levelOf(rec)}","time":"${timeText(rec.startTimeMs + rec.durationMs)}","scope":"access","message":"${messageOf(rec)}"`
  for (const [name, value] of fieldsOf(rec)) {
    if (value === '') continue
    line += `,"${name}":${typeof value === 'number' ? value : quote(value)}`
  }
  return `${line}}\n`
}

function levelOf({ error, refusedEarly }: TunnelRecord): string {
  return refusedEarly ? 'warn' : error === '' ? 'info' : 'error'
}

function messageOf({ refusedEarly }: TunnelRecord): string {
  return refusedEarly ? 'connection failed' : 'connection complete'
}

function fieldsOf(rec: TunnelRecord): Fields {
  const { source, destination, service } = rec
  return [
    ['src.addr', rec.sourceAddress, false],
    ['src.workload', source === null ? '' : source.name, true],
    ['src.namespace', source === null ? '' : source.namespace, true],
    ['src.identity', rec.sourceIdentity, true],
    ['src.cluster', source === null ? '' : source.clusterId, true],
    ['dst.addr', rec.destinationAddress, false],
    ['dst.hbone_addr', rec.hboneAddress, false],
    ['dst.service', service === null ? '' : service.hostname, true],
    ['dst.workload', destination === null ? '' : destination.name, true],
    ['dst.namespace', destination === null ? '' : destination.namespace, true],
    ['dst.identity', rec.destinationIdentity, true],
    ['dst.cluster', destination === null ? '' : destination.clusterId, true],
    ['direction', rec.direction, true],
    ['bytes_sent', rec.refusedEarly ? '' : rec.bytesSent, false],
    ['bytes_recv', rec.refusedEarly ? '' : rec.bytesReceived, false],
    ['duration', rec.refusedEarly ? '' : `${rec.durationMs}ms`, true],
    ['id', rec.id, true],
    ['error', rec.error, true],
  ]
}

const PLAIN = /^[ !#-[\]-~]*$/
/** What needs no quotes: the authority of a CONNECT is what a peer wrote. */
const WORD = /^[\w.:[\]-]+$/
/** Longer values are cut, so that a peer cannot keep its connection out of the log with a line that no buffer holds. */
const MAX_CHARS = 2000

function isWord(value: string): boolean {
  return value.length <= MAX_CHARS && WORD.test(value)
}

function quote(value: string): string {
  const text = value.length > MAX_CHARS ? `${value.slice(0, MAX_CHARS)}...` : value
  if (PLAIN.test(text)) return `"${text}"`
  // JSON's escapes, and what is not ASCII as well: the length of a line is its size in bytes.
  return JSON.stringify(text).replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
