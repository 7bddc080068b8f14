// What a request pays for its line. Records as a request leaves them: header values are cut from one text, ids are all different.
import { jsonLine, textLine } from '../../../lib/telemetry/access-format.ts'
import { AccessLog } from '../../../lib/telemetry/access-log.ts'
import type { AccessRecord } from '../../../lib/telemetry/access-record.ts'
import { type Bench, keep } from '../contract.ts'

const RECORDS = 1024

/** A class, as the stream that implements it is one. */
class BenchRecord implements AccessRecord {
  readonly startTimeMs: number
  readonly durationMs: number
  readonly method = 'GET'
  readonly originalPath: string
  readonly authority: string
  readonly protocol = 'HTTP/1.1'
  readonly responseCode = 200
  readonly responseFlags = 0
  readonly responseCodeDetails = 'via_upstream'
  readonly connectionTerminationDetails = ''
  readonly upstreamTransportFailureReason = ''
  readonly bytesReceived = 0
  readonly bytesSent = 1024
  readonly upstreamServiceTimeMs: number
  readonly upstreamHost = '10.0.0.9:9080'
  readonly upstreamCluster = 'outbound|9080|v1|reviews.default.svc.cluster.local'
  readonly upstreamLocalAddress = '10.0.0.1:40000'
  readonly downstreamLocalAddress = '127.0.0.1:8080'
  readonly downstreamPeerAddress = '127.0.0.1:50000'
  readonly requestedServerName = ''
  readonly routeName = 'default'
  readonly peerPrincipal = ''
  readonly ownPrincipal = ''
  readonly peer = null
  readonly attempts = 1
  readonly agent: string
  readonly requestId: string

  constructor(i: number) {
    const id = `6f1c2a4e-0000-4000-8000-${String(i).padStart(12, '0')}`
    const head = `GET /reviews/${i}?page=2&size=50 HTTP/1.1\r\nhost: reviews:9080\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\r\nx-request-id: ${id}\r\n`
    this.startTimeMs = 1_795_000_000_000 + i
    this.durationMs = i % 40
    this.originalPath = head.slice(4, head.indexOf(' HTTP'))
    this.authority = head.slice(head.indexOf('reviews:'), head.indexOf('\r\nuser'))
    this.upstreamServiceTimeMs = i % 39
    this.agent = head.slice(head.indexOf('Mozilla'), head.indexOf('\r\nx-request'))
    this.requestId = head.slice(head.indexOf(id), head.indexOf(id) + id.length)
  }

  requestHeader(name: string): string | null {
    return name === 'user-agent' ? this.agent : name === 'x-request-id' ? this.requestId : null
  }
}

const records = Array.from({ length: RECORDS }, (_, i) => new BenchRecord(i))
const record = (i: number): BenchRecord => records[i % RECORDS] as BenchRecord

/** Answers at once, as a disk that keeps up. */
function newLog(format: 'text' | 'json'): AccessLog {
  return new AccessLog({
    path: '/dev/null',
    format,
    values: new Float64Array(2),
    linesSlot: 0,
    droppedSlot: 1,
    write: (_fd, _buffer, _offset, length, callback) => callback(null, length),
  })
}

const text = newLog('text')
const json = newLog('json')

export const benches: readonly Bench[] = [
  {
    name: 'telemetry/access-log: a text line, into the buffer',
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) text.log(record(i))
      text.tick()
    },
  },
  {
    name: 'telemetry/access-log: a JSON line, into the buffer',
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) json.log(record(i))
      json.tick()
    },
  },
  {
    name: 'telemetry/access-format: a text line as a string',
    fn: (iterations) => {
      let length = 0
      for (let i = 0; i < iterations; i++) length += textLine(record(i)).length
      keep(length)
    },
  },
  {
    name: 'telemetry/access-format: a JSON line as a string',
    fn: (iterations) => {
      let length = 0
      for (let i = 0; i < iterations; i++) length += jsonLine(record(i)).length
      keep(length)
    },
  },
]
