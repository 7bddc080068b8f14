// Clients that mean harm, with the limits that are in force without configuration: each costs its own connection, with a code that says why; another
// client of the same worker is served meanwhile; and afterwards the worker holds what it held.
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { Http2Client } from '../support/http2-client.ts'
import { block, frame, integer, PREFACE, settings, u32 } from '../support/http2-frames.ts'
import { Http2Wire, pseudo } from '../support/http2-wire.ts'
import { type InProcess, startInProcess } from '../support/in-process.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { Upstream } from '../support/upstream.ts'

t.setTimeout(120_000)

const PROTOCOL_ERROR = 1
const FRAME_SIZE_ERROR = 6
const STREAM_CLOSED = 5
const CANCEL = 8
const COMPRESSION_ERROR = 9
const CALM = 11

/** More than what a run differs from the next by. */
const SLACK_BYTES = 3 * 2 ** 20

let echo: EchoUpstream
let hold: Upstream
let proxy: InProcess

t.before(async () => {
  echo = await EchoUpstream.start(t)
  hold = await Upstream.start(t)
  proxy = await startInProcess(
    t,
    yaml(
      service({ host: 'echo', endpoints: [echo] }),
      service({ host: 'hold', endpoints: [hold] }),
      virtualService('hold', ['hold'], [{ route: [{ destination: { host: 'hold' } }], retries: { attempts: 0 } }]),
    ),
    { bootstrap: { concurrency: 1 } },
  )
  // Until code is compiled and buffers are there.
  const client = await Http2Client.connect(t, proxy.port)
  for (let i = 0; i < 300; i++) await client.ask({ host: 'echo' })
  client.destroy()
})

const ask = (id: number, host = 'echo', path = '/') => frame('HEADERS', 5, id, block(...pseudo('GET', path, host)))
const open = (id: number, host = 'hold') => frame('HEADERS', 4, id, block(...pseudo('POST', '/', host)))
const times = (n: number, make: (i: number) => Buffer) => Buffer.concat(Array.from({ length: n }, (_, i) => make(i)))

const settled = () =>
  eventually('nothing to be open', () => {
    const metrics = proxy.metrics()
    return ['envoy_http_downstream_cx_active', 'envoy_http_downstream_rq_active'].every((n) => (metrics.value(n) ?? 0) === 0)
  })

/** No connection is left on either side. */
async function alone(): Promise<void> {
  await settled()
  await eventually('upstream connections to be gone', () => {
    echo.dropConnections()
    for (const c of hold.connections) c.destroy()
    return (proxy.metrics().value('envoy_cluster_upstream_cx_active') ?? 0) === 0
  })
}

interface Attack {
  readonly name: string
  /** Sent in one go behind preface and SETTINGS. */
  readonly bytes: () => Buffer
  readonly code: number
  /** More of the same, until the connection is gone; for what is bounded by what waits. */
  readonly again?: () => Buffer
}

const ATTACKS: readonly Attack[] = [
  {
    name: 'rapid reset (CVE-2023-44487)',
    bytes: () => times(1000, (i) => Buffer.concat([ask(2 * i + 1, 'hold'), frame('RST_STREAM', 0, 2 * i + 1, u32(CANCEL))])),
    code: CALM,
  },
  {
    name: 'resets that it provokes (CVE-2025-8671)',
    bytes: () => times(1000, (i) => Buffer.concat([open(2 * i + 1), frame('WINDOW_UPDATE', 0, 2 * i + 1, u32(0))])),
    code: CALM,
  },
  { name: 'streams beyond the limit', bytes: () => times(2000, (i) => ask(2 * i + 1, 'hold')), code: CALM },
  {
    name: 'CONTINUATION flood, of large fragments (CVE-2024-27316)',
    bytes: () =>
      Buffer.concat([
        frame('HEADERS', 1, 1, block(...pseudo('GET', '/', 'echo'))),
        times(200, (i) => frame('CONTINUATION', 0, 1, block([`x-${i}`, 'y'.repeat(8000)]))),
      ]),
    code: CALM,
  },
  {
    name: 'CONTINUATION flood, of empty fragments',
    bytes: () =>
      Buffer.concat([
        frame('HEADERS', 1, 1, block(...pseudo('GET', '/', 'echo'))),
        times(10_000, () => frame('CONTINUATION', 0, 1)),
      ]),
    code: CALM,
  },
  { name: 'SETTINGS flood', bytes: () => times(5000, () => settings([4, 65_535])), code: CALM },
  { name: 'SETTINGS flood, of empty ones', bytes: () => times(5000, () => settings()), code: CALM },
  { name: 'PING flood', bytes: () => times(5000, () => frame('PING', 0, 0, Buffer.alloc(8))), code: CALM },
  {
    name: 'empty DATA flood (CVE-2019-9518)',
    bytes: () => Buffer.concat([open(1), times(5000, () => frame('DATA', 0, 1))]),
    code: CALM,
  },
  {
    name: 'DATA flood of padding alone',
    bytes: () => Buffer.concat([open(1), times(500, () => frame('DATA', 8, 1, Buffer.alloc(11, 10)))]),
    code: CALM,
  },
  {
    name: 'PRIORITY flood',
    bytes: () => times(20_000, (i) => frame('PRIORITY', 0, 2 * i + 1, Buffer.concat([u32(0), Buffer.of(1)]))),
    code: CALM,
  },
  {
    name: 'WINDOW_UPDATE flood',
    bytes: () => Buffer.concat([open(1), times(5000, () => frame('WINDOW_UPDATE', 0, 1, u32(1)))]),
    code: CALM,
  },
  {
    name: 'flood of unknown frames',
    bytes: () =>
      times(5000, () => {
        const f = frame('PING', 0, 0, Buffer.alloc(8))
        f[3] = 0xfa
        return f
      }),
    code: CALM,
  },
  {
    name: 'RST_STREAM flood on closed streams',
    bytes: () =>
      Buffer.concat([
        ask(1, 'hold'),
        frame('RST_STREAM', 0, 1, u32(CANCEL)),
        times(5000, () => frame('RST_STREAM', 0, 1, u32(CANCEL))),
      ]),
    code: CALM,
  },
  {
    name: 'a header block that is no HPACK',
    bytes: () => frame('HEADERS', 5, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
    code: COMPRESSION_ERROR,
  },
  {
    name: 'a table size beyond the setting',
    bytes: () => frame('HEADERS', 5, 1, Buffer.concat([integer(0x20, 5, 1 << 20), block(...pseudo('GET', '/', 'echo'))])),
    code: COMPRESSION_ERROR,
  },
  { name: 'a frame beyond MAX_FRAME_SIZE', bytes: () => frame('HEADERS', 5, 1, Buffer.alloc(20_000)), code: FRAME_SIZE_ERROR },
  { name: 'stream 0', bytes: () => ask(0), code: PROTOCOL_ERROR },
  { name: 'an even stream', bytes: () => ask(2), code: PROTOCOL_ERROR },
  { name: 'a stream below the last one', bytes: () => Buffer.concat([ask(5), ask(3)]), code: STREAM_CLOSED },
  { name: 'DATA on a stream that was never opened', bytes: () => frame('DATA', 1, 7, 'x'), code: PROTOCOL_ERROR },
  {
    name: 'PUSH_PROMISE of a client',
    bytes: () => Buffer.concat([open(1), frame('PUSH_PROMISE', 4, 1, u32(2))]),
    code: PROTOCOL_ERROR,
  },
  {
    name: 'another frame inside of a header block',
    bytes: () =>
      Buffer.concat([frame('HEADERS', 1, 1, block(...pseudo('GET', '/', 'echo'))), frame('PING', 0, 0, Buffer.alloc(8))]),
    code: PROTOCOL_ERROR,
  },
]

t.test('floods and broken frames', async (t) => {
  const other = await Http2Client.connect(t, proxy.port)
  for (const { name, bytes, code } of ATTACKS) {
    const wire = await Http2Wire.greeted(t, proxy.port)
    void wire.write(bytes())
    t.match(await wire.untilTold(/^GOAWAY/, 20_000), new RegExp(` code ${code}$`), name)
    await wire.closed()
    wire.destroy()
    t.equal((await other.ask({ host: 'echo' })).status, 200, `${name}: another client is served`)
  }
  other.destroy()
  await settled()
})

t.test('HPACK bomb: a small block that becomes a large one is answered 431, and nothing of it is kept', async (t) => {
  const wire = await Http2Wire.greeted(t, proxy.port)
  // 4,000 bytes in the dynamic table, then named a thousand times.
  const big = Buffer.concat([
    Buffer.from([0x40]),
    Buffer.from([1]),
    Buffer.from('x'),
    integer(0, 7, 3900),
    Buffer.alloc(3900, 'y'),
  ])
  await wire.write(
    frame('HEADERS', 5, 1, Buffer.concat([block(...pseudo('GET', '/', 'echo')), big, Buffer.alloc(10_000, 0x80 | 62)])),
  )
  await wire.untilTold('HEADERS 1').catch(() => {})
  await wire.untilTold(/^(DATA|RST_STREAM|HEADERS) 1.*(end|code)/)
  await wire.write(ask(3))
  await wire.untilTold(/^DATA 3 .*end/)
  t.ok(
    wire.told().every((s) => !s.startsWith('GOAWAY')),
    'the connection goes on, its tables in step',
  )
  wire.destroy()
})

t.test('oversized header lists: too large and too many are 431', async (t) => {
  const client = await Http2Client.connect(t, proxy.port)
  const large = await client.ask({
    host: 'echo',
    headers: Array.from({ length: 9 }, (_, i) => [`x-${i}`, 'y'.repeat(7000)] as const),
  })
  t.same([large.status, large.body.toString()], [431, 'Request Header Fields Too Large'])
  const many = await client.ask({ host: 'echo', headers: Array.from({ length: 120 }, (_, i) => [`x-${i}`, 'y'] as const) })
  t.equal(many.status, 431)
  t.equal((await client.ask({ host: 'echo' })).status, 200, 'the connection goes on')
  const refused = (reason: string) => proxy.metrics().value('heddle_requests_refused_total', { reason })
  // The one of the bomb is among them.
  t.ok((refused('http2_headers_too_large') ?? 0) >= 1)
  t.ok((refused('http2_too_many_headers') ?? 0) >= 1)
  client.destroy()
})

t.test('what a client does not read is bounded', async (t) => {
  const wire = await Http2Wire.connect(t, proxy.port)
  await wire.write(
    Buffer.concat([
      PREFACE,
      settings([4, 2 ** 31 - 1]),
      frame('SETTINGS', 1, 0),
      frame('WINDOW_UPDATE', 0, 0, u32(2 ** 31 - 70_000)),
    ]),
  )
  await wire.untilTold('SETTINGS ack')
  wire.pause()
  const other = await Http2Client.connect(t, proxy.port)
  await other.ask({ host: 'echo' })
  const before = await proxy.measure(0)
  for (let i = 0; i < 50; i++) await wire.write(ask(2 * i + 1, 'echo', '/?body-bytes=4000000'))
  for (let i = 0; i < 20; i++) t.equal((await other.ask({ host: 'echo' })).status, 200)
  const during = await proxy.measure(0)
  // 50 answers of 4 MB.
  t.ok(during.heapBytes - before.heapBytes < 16 * 2 ** 20, `${during.heapBytes - before.heapBytes} bytes more`)
  wire.destroy()
  other.destroy()
  await settled()
})

t.test('afterwards the worker holds what it held', async (t) => {
  await alone()
  const before = await proxy.measure(0)
  for (const { bytes } of ATTACKS) {
    const wire = await Http2Wire.greeted(t, proxy.port)
    void wire.write(bytes())
    await wire.closed(20_000)
    wire.destroy()
  }
  await alone()
  const after = await proxy.measure(0)
  t.ok(after.heapBytes - before.heapBytes < SLACK_BYTES, `${before.heapBytes}, then ${after.heapBytes}`)
  t.ok((after.resources['Timeout'] ?? 0) <= (before.resources['Timeout'] ?? 0), 'timers')
  t.same(after.shared, before.shared, 'cells that all workers share')
})

t.test('a window that never opens: the stream is reset after streamStallTimeout, its upstream is let go', async (t) => {
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'echo', endpoints: [echo] })),
    bootstrap: { concurrency: 1, limits: { streamStallTimeout: '300ms' } },
  })
  const wire = await Http2Wire.connect(t, proxy.port())
  await wire.write(Buffer.concat([PREFACE, settings([4, 0]), frame('SETTINGS', 1, 0)]))
  await wire.untilTold('SETTINGS ack')
  await wire.write(ask(1, 'echo', '/?body-bytes=2000000'))
  await wire.untilTold('HEADERS 1')
  const other = await Http2Client.connect(t, proxy.port())
  t.equal((await other.ask({ host: 'echo' })).status, 200)
  t.equal(await wire.untilTold(/RST_STREAM/), `RST_STREAM 1 code ${CANCEL}`)
  t.match(await proxy.logged({ path: '/?body-bytes=2000000' }), { response_flags: 'SI' })
  t.equal((await proxy.metrics()).value('heddle_requests_refused_total', { reason: 'http2_stalled' }), 1)
  await wire.write(frame('PING', 0, 0, Buffer.alloc(8)))
  await wire.untilTold('PING ack')
  await eventually(
    'the upstream to be let go',
    async () => (await proxy.metrics()).value('envoy_cluster_upstream_rq_active') === 0,
  )
})
