// What a request pays for its line in a format that a control plane asks for, beside heddle's own two. Records as a request leaves them: heads parsed by the
// codec's parser, ids all different, a few connections.
import { latin1Write } from '../../../../lib/base/latin1.ts'
import type { LogContext } from '../../../../lib/filter/log/log-context.ts'
import { LogFormat } from '../../../../lib/filter/log/log-format.ts'
import { TcpRecord } from '../../../../lib/filter/network/tcp-record.ts'
import { parseRequestHead, parseResponseHead, StartLine } from '../../../../lib/http/h1/parse-head.ts'
import { HeaderMap } from '../../../../lib/http/header-map.ts'
import { DEFAULT_FORMAT, type LogLineFormat } from '../../../../lib/state/access-log.ts'
import { istioLine, textLine } from '../../../../lib/telemetry/access-format.ts'
import type { AccessRecord } from '../../../../lib/telemetry/access-record.ts'
import type { Connection } from '../../../../lib/transport/connection.ts'
import { ISTIO_JSON, ISTIO_TEXT } from '../../../../test/support/istio-log-formats.ts'
import { type Bench, keep } from '../../contract.ts'

const RECORDS = 1024

const ISTIO: LogLineFormat = { kind: 'text', text: ISTIO_TEXT, omitsEmpty: false }
const AS_JSON: LogLineFormat = { kind: 'json', fields: ISTIO_JSON, omitsEmpty: false }

function parsed(head: string, parse: typeof parseRequestHead): HeaderMap {
  const map = new HeaderMap()
  const bytes = Buffer.from(`${head}\0`, 'latin1')
  parse(bytes, 0, bytes.length - 1, new StartLine(), map, 100, 60_000)
  map.block = head
  return map
}

/** A class, as the stream that implements it is one. */
class BenchRequest extends TcpRecord implements LogContext, AccessRecord {
  declare readonly connection: Connection
  readonly startTimeMs: number
  readonly durationMs: number
  readonly responseFlags = 0
  readonly connectionTerminationDetails = ''
  readonly upstreamTransportFailureReason = ''
  readonly upstreamHost = '10.0.0.9:9080'
  readonly upstreamCluster = 'outbound|9080|v1|reviews.default.svc.cluster.local'
  readonly upstreamLocalAddress: string
  readonly upstreamTls = null
  readonly peerPrincipal = ''
  readonly ownPrincipal = ''
  readonly attempts = 1
  readonly logType = 'DownstreamEnd'
  private readonly fields: HeaderMap
  private readonly answer: HeaderMap
  private readonly target: string
  private readonly host: string
  private readonly remote: string
  private readonly serviceTime: number

  constructor(i: number) {
    super()
    const id = `6f1c2a4e-0000-4000-8000-${String(i).padStart(12, '0')}`
    const head = `GET /reviews/${i}?page=2&size=50 HTTP/1.1\r\nhost: reviews:9080\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\r\nx-request-id: ${id}\r\naccept: */*\r\n\r\n`
    this.startTimeMs = 1_795_000_000_000 + i
    this.durationMs = i % 40
    this.upstreamLocalAddress = `10.0.0.1:4000${i % 4}`
    this.fields = parsed(head, parseRequestHead)
    this.answer = parsed('HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 1024\r\n\r\n', parseResponseHead)
    this.answer.append('x-envoy-upstream-service-time', String(i % 39))
    this.target = head.slice(4, head.indexOf(' HTTP'))
    this.host = head.slice(head.indexOf('reviews:'), head.indexOf('\r\nuser'))
    this.remote = `127.0.0.1:5000${i % 4}`
    this.serviceTime = i % 39
  }

  override get method(): string {
    return 'GET'
  }

  override get originalPath(): string {
    return this.target
  }

  override get sentPath(): string {
    return this.target
  }

  override get authority(): string {
    return this.host
  }

  override get protocol(): string {
    return 'HTTP/1.1'
  }

  override get responseCode(): number {
    return 200
  }

  override get responseCodeDetails(): string {
    return 'via_upstream'
  }

  override get bytesReceived(): number {
    return 0
  }

  override get bytesSent(): number {
    return 1024
  }

  override get upstreamServiceTimeMs(): number {
    return this.serviceTime
  }

  override get downstreamLocalAddress(): string {
    return '127.0.0.1:8080'
  }

  override get downstreamRemoteAddress(): string {
    return this.remote
  }

  override get downstreamPeerAddress(): string {
    return this.remote
  }

  override get requestedServerName(): string {
    return ''
  }

  override get routeName(): string {
    return 'default'
  }

  override get requestHeaders(): HeaderMap {
    return this.fields
  }

  override get responseHeaders(): null {
    return this.answer as unknown as null
  }

  override requestField(id = 0, name = ''): string | null {
    return this.fields.known(id, name)
  }

  override requestHeader(name = ''): string | null {
    return this.fields.get(name)
  }
}

const records = Array.from({ length: RECORDS }, (_, i) => new BenchRequest(i))
const record = (i: number): BenchRequest => records[i % RECORDS] as BenchRequest

function bench(name: string, line: (c: BenchRequest) => string): Bench {
  return {
    name: `filter/log/log-format: ${name}`,
    fn: (iterations) => {
      const buffer = Buffer.alloc(2048)
      let length = 0
      for (let i = 0; i < iterations; i++) length += latin1Write(buffer, line(record(i)), 0)
      keep(length)
    },
  }
}

function compiled(format: LogLineFormat): (c: BenchRequest) => string {
  const made = new LogFormat(format)
  return (c) => made.line(c)
}

export const benches: readonly Bench[] = [
  bench("heddle's own text line", textLine),
  bench("heddle's own line in Istio's format", istioLine),
  bench("Envoy's default text", compiled(DEFAULT_FORMAT)),
  bench("Istio's default text", compiled(ISTIO)),
  bench("Istio's JSON", compiled(AS_JSON)),
]
