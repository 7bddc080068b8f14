// Access log lines, and a log that is never waited for.
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { istioLine, jsonLine, textLine, timeText } from '../../../lib/telemetry/access-format.ts'
import { AccessLog, type AccessLogOptions, BUFFER_BYTES, type WriteCall } from '../../../lib/telemetry/access-log.ts'
import { DC, UF, URX } from '../../../lib/telemetry/response-flags.ts'
import { accessRecord, type RecordParts } from './record.ts'

const TCP: RecordParts = { method: '', originalPath: '', protocol: '', authority: '', responseCode: 0, upstreamServiceTimeMs: -1 }

t.test("text is Envoy's default format", async (t) => {
  const all = { 'x-forwarded-for': '10.1.1.1,10.2.2.2', 'user-agent': 'curl/8.5.0', 'x-request-id': '6f1c' }
  const rows: [parts: RecordParts, expected: string][] = [
    [
      { headers: all },
      '[2026-11-21T10:00:00.007Z] "GET /reviews?id=1 HTTP/1.1" 200 - 3 1024 12 11 "10.1.1.1,10.2.2.2" "curl/8.5.0" "6f1c" "reviews:9080" "10.0.0.9:9080"',
    ],
    [
      { responseCode: 503, responseFlags: UF | URX, upstreamServiceTimeMs: -1, upstreamHost: '' },
      '[2026-11-21T10:00:00.007Z] "GET /reviews?id=1 HTTP/1.1" 503 URX,UF 3 1024 12 - "-" "-" "-" "reviews:9080" "-"',
    ],
    [
      { responseCode: 0, responseFlags: DC, upstreamServiceTimeMs: 0 },
      '[2026-11-21T10:00:00.007Z] "GET /reviews?id=1 HTTP/1.1" 0 DC 3 1024 12 0 "-" "-" "-" "reviews:9080" "10.0.0.9:9080"',
    ],
    [TCP, '[2026-11-21T10:00:00.007Z] "- - -" 0 - 3 1024 12 - "-" "-" "-" "-" "10.0.0.9:9080"'],
  ]
  for (const [parts, expected] of rows) t.equal(textLine(accessRecord(parts)), `${expected}\n`)
})

// The first two are the examples of istio.io, "Envoy Access Logs": of the client's side and of the server's.
t.test("Istio's default format", async (t) => {
  const id = '84961386-6d84-929d-98bd-c5aee93b5c88'
  const teapot: RecordParts = {
    startTimeMs: Date.parse('2020-11-25T21:26:18.409Z'),
    originalPath: '/status/418',
    responseCode: 418,
    bytesReceived: 0,
    bytesSent: 135,
    durationMs: 4,
    upstreamServiceTimeMs: 4,
    headers: { 'user-agent': 'curl/7.73.0-DEV', 'x-request-id': id },
    authority: 'httpbin:8000',
    upstreamHost: '10.44.1.27:80',
    upstreamCluster: 'outbound|8000||httpbin.foo.svc.cluster.local',
    upstreamLocalAddress: '10.44.1.23:37652',
    downstreamLocalAddress: '10.0.45.184:8000',
    downstreamPeerAddress: '10.44.1.23:46520',
    requestedServerName: '',
    routeName: 'default',
  }
  const rows: [parts: RecordParts, expected: string][] = [
    [
      teapot,
      `[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 4 4 "-" "curl/7.73.0-DEV" "${id}" "httpbin:8000" "10.44.1.27:80" outbound|8000||httpbin.foo.svc.cluster.local 10.44.1.23:37652 10.0.45.184:8000 10.44.1.23:46520 - default`,
    ],
    [
      {
        ...teapot,
        durationMs: 3,
        upstreamServiceTimeMs: 1,
        upstreamHost: '127.0.0.1:80',
        upstreamCluster: 'inbound|8000||',
        upstreamLocalAddress: '127.0.0.1:41854',
        downstreamLocalAddress: '10.44.1.27:80',
        downstreamPeerAddress: '10.44.1.23:37652',
        requestedServerName: 'outbound_.8000_._.httpbin.foo.svc.cluster.local',
      },
      `[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 3 1 "-" "curl/7.73.0-DEV" "${id}" "httpbin:8000" "127.0.0.1:80" inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 outbound_.8000_._.httpbin.foo.svc.cluster.local default`,
    ],
    [
      {
        ...TCP,
        responseFlags: UF | URX,
        responseCodeDetails: '',
        connectionTerminationDetails: 'rbac_access_denied_matched_policy[none]',
        upstreamTransportFailureReason: 'delayed_connect_error: 111',
        upstreamLocalAddress: '',
        routeName: '',
      },
      '[2026-11-21T10:00:00.007Z] "- - -" 0 URX,UF - rbac_access_denied_matched_policy[none] "delayed_connect_error: 111" 3 1024 12 - "-" "-" "-" "-" "10.0.0.9:9080" outbound|9080||reviews.prod.svc.cluster.local - 127.0.0.1:8080 127.0.0.1:50000 - -',
    ],
    // What a client says ends neither a field nor the line.
    [
      {
        ...teapot,
        originalPath: '/a b',
        requestedServerName: 'a b\nc',
        headers: { 'x-forwarded-for': '1" 2', 'x-request-id': 'i' },
      },
      '[2020-11-25T21:26:18.409Z] "GET /a\\x20b HTTP/1.1" 418 - via_upstream - "-" 0 135 4 4 "1\\" 2" "-" "i" "httpbin:8000" "10.44.1.27:80" outbound|8000||httpbin.foo.svc.cluster.local 10.44.1.23:37652 10.0.45.184:8000 10.44.1.23:46520 a\\x20b\\nc default',
    ],
  ]
  for (const [parts, expected] of rows) t.equal(istioLine(accessRecord(parts)), `${expected}\n`)
})

t.test('nothing of one line is left in the next', async (t) => {
  const plain: RecordParts = { headers: { 'user-agent': 'a', 'x-request-id': 'i' } }
  const before = textLine(accessRecord(plain))
  const rows: [parts: RecordParts, seen: string][] = [
    [{ ...plain, startTimeMs: 0 }, '[1970-01-01T00:00:00.000Z] "GET '],
    [{ ...plain, method: 'PUT' }, '] "PUT /'],
    [{ ...plain, protocol: 'HTTP/2' }, ' HTTP/2" 200 - 3 1024 12'],
    [{ ...plain, responseCode: 201 }, ' 201 - 3 1024 12'],
    [{ ...plain, responseFlags: DC }, ' 200 DC 3 1024 12'],
    [{ ...plain, bytesReceived: 4 }, ' 200 - 4 1024 12'],
    [{ ...plain, bytesSent: 5 }, ' 200 - 3 5 12'],
    [{ headers: { 'x-request-id': 'i' } }, ' "-" "i" "reviews:9080" '],
    [{ headers: { 'user-agent': 'b', 'x-request-id': 'i' } }, ' "b" "i" "reviews:9080" '],
    [{ ...plain, authority: 'ratings' }, '"ratings" "10.0.0.9:9080"'],
    [{ ...plain, upstreamHost: '' }, '"reviews:9080" "-"'],
  ]
  for (const [parts, seen] of rows) {
    t.match(textLine(accessRecord(parts)), seen)
    t.equal(textLine(accessRecord(plain)), before, `after ${seen}`)
  }
})

t.test('JSON has the keys of Istio', async (t) => {
  t.strictSame(JSON.parse(jsonLine(accessRecord({ headers: { 'user-agent': 'curl/8.5.0', 'x-request-id': '6f1c' } }))), {
    authority: 'reviews:9080',
    bytes_received: 3,
    bytes_sent: 1024,
    connection_termination_details: null,
    downstream_local_address: '127.0.0.1:8080',
    downstream_remote_address: '127.0.0.1:50000',
    duration: 12,
    method: 'GET',
    path: '/reviews?id=1',
    protocol: 'HTTP/1.1',
    request_id: '6f1c',
    requested_server_name: null,
    response_code: 200,
    response_code_details: 'via_upstream',
    response_flags: '-',
    route_name: 'default',
    start_time: '2026-11-21T10:00:00.007Z',
    upstream_cluster: 'outbound|9080||reviews.prod.svc.cluster.local',
    upstream_host: '10.0.0.9:9080',
    upstream_local_address: '10.0.0.1:40000',
    upstream_service_time: '11',
    upstream_transport_failure_reason: null,
    user_agent: 'curl/8.5.0',
    x_forwarded_for: null,
  })
  const keys = Object.keys(JSON.parse(jsonLine(accessRecord(TCP))) as object)
  t.strictSame(keys, [...keys].sort(), 'sorted')
  t.match(JSON.parse(jsonLine(accessRecord(TCP))), { method: null, path: null, protocol: null, upstream_service_time: null })
})

const HOSTILE: [value: string, text: string][] = [
  ['a"b', 'a\\"b'],
  ['a\\', 'a\\\\'],
  ['a\nb', 'a\\nb'],
  ['a\r\n[2026', 'a\\r\\n[2026'],
  ['\t\0\x1b[2J\x7f', '\\t\\x00\\x1b[2J\\x7f'],
  ['caf\xe9', 'caf\\xe9'],
  ['\u2028', '\\u2028'],
  ['" 200 - 0 0 "', '\\" 200 - 0 0 \\"'],
  ['" "x" "y', '\\" \\"x\\" \\"y'],
]

t.test('no header value can forge a field or a line', async (t) => {
  for (const [value, expected] of HOSTILE) {
    for (const name of ['x-forwarded-for', 'user-agent', 'x-request-id'] as const) {
      const record = accessRecord({ headers: { [name]: value } })
      const index = ['x-forwarded-for', 'user-agent', 'x-request-id'].indexOf(name)
      const quoted = ['-', '-', '-'].map((dash, i) => `"${i === index ? expected : dash}"`).join(' ')
      t.equal(
        textLine(record),
        `[2026-11-21T10:00:00.007Z] "GET /reviews?id=1 HTTP/1.1" 200 - 3 1024 12 11 ${quoted} "reviews:9080" "10.0.0.9:9080"\n`,
      )
      const json = jsonLine(record)
      t.match(json, /^[\x20-\x7e]*\n$/)
      t.equal((JSON.parse(json) as Record<string, unknown>)[name.replaceAll('-', '_').replace('x_request', 'request')], value)
    }
    const words = value.replaceAll(' ', '\u0001')
    t.equal(JSON.parse(jsonLine(accessRecord({ originalPath: words, method: words, authority: words }))).path, words)
  }
  t.match(textLine(accessRecord({ originalPath: '/a HTTP/1.0" 200' })), ' "GET /a\\x20HTTP/1.0\\"\\x20200 HTTP/1.1" 200 - ')
})

t.test('the longest line fits into a buffer', async (t) => {
  for (const fill of ['x', '"', '\xff', '\u2028']) {
    const long = fill.repeat(60 * 1024)
    const record = accessRecord({
      method: long,
      originalPath: long,
      authority: long,
      requestedServerName: long,
      headers: { 'x-forwarded-for': long, 'user-agent': long, 'x-request-id': long },
    })
    t.ok(textLine(record).length < BUFFER_BYTES)
    t.ok(jsonLine(record).length < BUFFER_BYTES)
    t.match(JSON.parse(jsonLine(record)), { user_agent: /\.\.\.$/, response_code: 200 })
  }
})

t.test('time text', async (t) => {
  for (const iso of [
    '2026-11-21T10:00:00.007Z',
    '2026-11-21T10:00:00.070Z',
    '2026-11-21T10:00:01.700Z',
    '2026-11-21T10:00:00.999Z',
  ]) {
    t.equal(timeText(Date.parse(iso)), iso)
  }
})

const LINES = 0
const DROPPED = 1

/** A log on a writer that the test answers for. */
function heldLog(): {
  log: AccessLog
  values: Float64Array
  text: string[]
  answer: (error: string | null, written?: number) => void
  waiting: () => number
  errors: string[]
} {
  const values = new Float64Array(2)
  const text: string[] = []
  const errors: string[] = []
  const calls: { length: number; chunk: string; done: (error: NodeJS.ErrnoException | null, written: number) => void }[] = []
  const write: WriteCall = (_fd, buffer, offset, length, callback) => {
    calls.push({ length, chunk: Buffer.from(buffer.subarray(offset, offset + length)).toString('latin1'), done: callback })
  }
  const options: AccessLogOptions = {
    path: '/dev/null',
    format: 'text',
    values,
    linesSlot: LINES,
    droppedSlot: DROPPED,
    onError: (error) => void errors.push(error.code ?? ''),
    write,
  }
  const answer = (code: string | null, written?: number): void => {
    const call = calls.shift()
    if (call === undefined) throw new Error('nothing is being written')
    const count = code === null ? (written ?? call.length) : 0
    text.push(call.chunk.slice(0, count))
    call.done(code === null ? null : Object.assign(new Error(code), { code }), count)
  }
  return { log: new AccessLog(options), values, text, answer, waiting: () => calls.length, errors }
}

const record = (n: number, extra = 0): ReturnType<typeof accessRecord> =>
  accessRecord({ originalPath: `/${n}`, headers: { 'user-agent': 'x'.repeat(extra) } })
const paths = (text: string): number[] => [...text.matchAll(/"GET \/(\d+) /g)].map((m) => Number(m[1]))
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

t.test('lines wait for a tick or for half a buffer', async (t) => {
  const { log, text, answer, waiting } = heldLog()
  log.log(record(0))
  t.equal(waiting(), 0)
  log.tick()
  t.equal(waiting(), 1)
  answer(null)
  t.equal(text.join(''), textLine(record(0)))
  log.tick()
  t.equal(waiting(), 0, 'nothing to write')
  for (let i = 1; waiting() === 0; i++) log.log(record(i, 1000))
  answer(null)
  t.ok((text[1] as string).length >= BUFFER_BYTES / 2 && (text[1] as string).length < BUFFER_BYTES / 2 + 2000)
})

t.test('one write at a time, in order, whatever is cut short', async (t) => {
  const { log, text, answer, waiting } = heldLog()
  for (let i = 0; i < 300; i++) {
    log.log(record(i, 150))
    if (i % 100 === 99) log.tick()
    t.ok(waiting() <= 1)
  }
  for (let n = 1; waiting() > 0; n++) {
    answer(null, n % 3 === 0 ? undefined : 1000 + n)
    log.tick()
  }
  t.strictSame(paths(text.join('')), upTo(300))
})

t.test('a stalled log drops lines and counts them, and goes on later', async (t) => {
  const { log, values, text, answer, waiting } = heldLog()
  const total = 5000
  for (let i = 0; i < total; i++) log.log(record(i))
  const dropped = values[DROPPED] as number
  t.ok(dropped > 0)
  t.equal((values[LINES] as number) + dropped, total)
  t.equal(waiting(), 1)
  while (waiting() > 0) {
    answer(null)
    log.tick()
  }
  t.strictSame(paths(text.join('')), upTo(total - dropped), 'what was taken is written, without a gap')
  t.ok(text.join('').length <= 3 * BUFFER_BYTES, 'two buffers and as much again is all that waits')
  log.log(record(9999))
  log.tick()
  answer(null)
  t.strictSame(paths(text.at(-1) as string), [9999])
})

t.test('EAGAIN waits for a tick', async (t) => {
  const { log, values, text, answer, waiting } = heldLog()
  log.log(record(0))
  log.tick()
  answer('EAGAIN')
  t.equal(waiting(), 0)
  log.log(record(1))
  log.flush()
  t.equal(waiting(), 0, 'a flush does not try again')
  log.tick()
  answer(null)
  answer(null)
  t.strictSame(paths(text.join('')), [0, 1])
  t.equal(values[DROPPED], 0)
})

t.test('a failed write is dropped, counted and told', async (t) => {
  const { log, values, text, answer, errors } = heldLog()
  for (let i = 0; i < 3; i++) log.log(record(i))
  log.tick()
  answer(null, textLine(record(0)).length + 5)
  answer('ENOSPC')
  t.strictSame(errors, ['ENOSPC'])
  t.equal(values[DROPPED], 2)
  log.log(record(3))
  log.tick()
  answer(null)
  t.strictSame(paths(text.at(-1) as string), [3])
})

function fileLog(path: string, values = new Float64Array(2), closeTimeoutMs = 60_000): AccessLog {
  return new AccessLog({ path, format: 'text', values, linesSlot: LINES, droppedSlot: DROPPED, closeTimeoutMs })
}

t.test('a file is appended to, and opened anew after rotation', async (t) => {
  const path = join(t.testdir({ 'access.log': 'old\n' }), 'access.log')
  const log = fileLog(path)
  log.log(record(0))
  log.flush()
  renameSync(path, `${path}.1`)
  log.reopen()
  log.log(record(1))
  log.reopen()
  await log.close()
  await log.close()
  const both = readFileSync(`${path}.1`, 'latin1') + readFileSync(path, 'latin1')
  t.match(readFileSync(`${path}.1`, 'latin1'), /^old\n\[/)
  t.strictSame(paths(both), [0, 1])
})

t.test('a file that cannot be opened is named with its setting', async (t) => {
  t.throws(
    () => fileLog('/no/such/folder/access.log'),
    /accessLog\.path \/no\/such\/folder\/access\.log cannot be opened.*ENOENT/,
  )
})

/** Bytes read, 0 at the end, -1 when there is nothing yet. */
function readOrNothing(fd: number, into: Buffer): number {
  try {
    return readSync(fd, into)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return -1
    throw error
  }
}

t.test('a pipe that nobody reads neither blocks nor breaks lines', async (t) => {
  const path = join(t.testdir(), 'fifo')
  execFileSync('mkfifo', [path])
  t.throws(() => fileLog(path), /a named pipe that nobody reads/)
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const values = new Float64Array(2)
  const log = fileLog(path, values, 50)
  const total = 3000
  for (let i = 0; i < total; i++) {
    log.log(record(i))
    if (i % 50 === 0) {
      await new Promise((resolve) => setImmediate(resolve))
      log.tick()
    }
  }
  await log.close()
  const chunks: Buffer[] = []
  const chunk = Buffer.alloc(BUFFER_BYTES)
  // A write that was with the kernel when `close` gave up waiting closes the pipe a little later: until then there is nothing, not the end.
  for (let n = 1; n !== 0; ) {
    n = readOrNothing(reader, chunk)
    if (n > 0) chunks.push(Buffer.from(chunk.subarray(0, n)))
    else if (n < 0) await new Promise((resolve) => setImmediate(resolve))
  }
  closeSync(reader)
  const text = Buffer.concat(chunks).toString('latin1')
  const seen = paths(text)
  t.ok(seen.length > 0)
  t.equal(text.split('\n').length - 1, seen.length, 'only whole lines')
  t.ok(text.endsWith('\n'))
  t.strictSame(seen, upTo(seen.length))
  // `close` counts the write that the kernel had at that moment as lost; when it went through after all, its lines (4 KB at most) are both.
  const counted = seen.length + (values[DROPPED] as number)
  const both = Math.ceil(4096 / (text.length / seen.length))
  t.ok(counted >= total && counted <= total + both, `what was not written was counted: ${counted} of ${total}`)
})
