// Attacks on HTTP/2, each by its name: what it costs its sender is the connection, and what it costs us has a bound.
import t from 'tap'
import { ABUSE_LIMITS, AbuseGuard } from '../../../../lib/http/h2/abuse-guard.ts'
import * as M from '../../../../lib/http/h2/message-head.ts'
import { block, END, frame, GET, get, integer, post, type server as Server, server, settings, text, u32, WHOLE } from './kit.ts'

type Side = ReturnType<typeof Server>

const CALM = /^GOAWAY last \d+ code 11$/

/** Feeds what `next` makes, one read each, until the server ends the connection. Returns how many it took, or -1 when `most` did not do. */
function until(side: Side, most: number, next: (i: number) => Buffer): number {
  for (let i = 0; i < most; i++) {
    side.wire.receive(side.h2, next(i))
    if (side.h2.closed) return i + 1
  }
  return -1
}

t.test('rapid reset (CVE-2023-44487)', async (t) => {
  const side = server()
  const took = until(side, 2000, (i) => Buffer.concat([get(i * 2 + 1), frame('RST_STREAM', 0, i * 2 + 1, u32(8))]))
  t.equal(took, 500, 'looked at from 500 streams on')
  t.match(side.said().at(-1), CALM)
})

t.test('rapid reset behind an honest beginning: the share counts', async (t) => {
  const side = server({}, true, (s) => s.sendHeaders(204, '', true))
  for (let i = 0; i < 600; i++) side.wire.receive(side.h2, get(i * 2 + 1))
  side.h2.streams.clear()
  const took = until(side, 5000, (i) => Buffer.concat([post(1201 + i * 2), frame('RST_STREAM', 0, 1201 + i * 2, u32(8))]))
  t.ok(took > 500 && took <= 1300, String(took))
})

t.test('a client that cancels some of its requests, or late, is left alone', async (t) => {
  const side = server({}, true, (s) => s.id % 4 === 1 && s.sendHeaders(204, '', true))
  t.equal(
    until(side, 3000, (i) =>
      i % 2 === 0 ? get(i * 2 + 1) : Buffer.concat([get(i * 2 + 1), frame('RST_STREAM', 0, i * 2 + 1, u32(8))]),
    ),
    -1,
  )
  const late = server()
  const { clock } = late.wire.io
  clock.update = () => {
    clock.monotonicMs += 1001
  }
  t.equal(
    until(late, 3000, (i) => (i % 2 === 0 ? get(i + 1) : frame('RST_STREAM', 0, i, u32(8)))),
    -1,
  )
})

t.test('resets that the client provokes (CVE-2025-8671)', async (t) => {
  for (const [what, provoke] of [
    ['WINDOW_UPDATE of nothing', (id: number) => frame('WINDOW_UPDATE', 0, id, u32(0))],
    ['a window that overflows', (id: number) => frame('WINDOW_UPDATE', 0, id, u32(0x7fffffff))],
    ['a second head', (id: number) => frame('HEADERS', WHOLE, id, block(...GET))],
    ['a priority of a wrong length', (id: number) => frame('PRIORITY', 0, id, 'abc')],
  ] as const) {
    const side = server()
    t.equal(
      until(side, 2000, (i) => Buffer.concat([post(i * 2 + 1), provoke(i * 2 + 1)])),
      500,
      what,
    )
    t.match(side.said().at(-1), CALM, what)
  }
  const malformed = server()
  t.equal(
    until(malformed, 2000, (i) => get(i * 2 + 1, ['connection', 'close'])),
    500,
    'malformed requests',
  )
})

t.test('more streams than allowed, again and again: our own resets count', async (t) => {
  const side = server({ maxConcurrentStreams: 10 })
  const took = until(side, 2000, (i) => post(i * 2 + 1))
  t.equal(took, 500)
  t.equal(side.streams.length, 10)
})

t.test('CONTINUATION flood: many small pieces', async (t) => {
  for (const piece of ['', 'x']) {
    const side = server()
    side.feed(frame('HEADERS', 0, 1, block(...GET)))
    const took = until(side, 1000, () => frame('CONTINUATION', 0, 1, piece))
    t.ok(took > 0 && took < 30, `${took} frames of ${piece.length}`)
    t.match(side.said().at(-1), CALM)
  }
})

t.test('CONTINUATION flood: large pieces are not kept beyond the limit', async (t) => {
  const side = server({ maxHeaderBytes: 60000 })
  side.feed(frame('HEADERS', 0, 1, block(...GET)))
  const took = until(side, 1000, () => frame('CONTINUATION', 0, 1, 'x'.repeat(16000)))
  t.ok(took > 0 && took * 16000 < 60000 + 2 * 16384 + 16000, String(took))
  t.match(side.said().at(-1), CALM)
})

t.test('a large header section in pieces of a sensible size is taken', async (t) => {
  const side = server()
  const whole = block(...GET, ...Array.from({ length: 50 }, (_, i) => [`x-${i}`, 'v'.repeat(1000)] as const))
  const parts: Buffer[] = [frame('HEADERS', END, 1, whole.subarray(0, 1000))]
  for (let at = 1000; at < whole.length; at += 1000)
    parts.push(frame('CONTINUATION', at + 1000 >= whole.length ? WHOLE : 0, 1, whole.subarray(at, at + 1000)))
  t.same(side.feed(...parts), [])
  t.equal(side.log.at(-1), '1 end')
})

t.test('HPACK bomb', async (t) => {
  const side = server()
  const bomb = Buffer.concat([block(...GET), Buffer.from([0x40]), text('x'), text('b'.repeat(4000)), Buffer.alloc(10000, 0xbe)])
  t.same(side.feed(frame('HEADERS', 5, 1, bomb)), ['RST_STREAM 1 code 1'])
  t.same(side.log, [`1 refused ${M.TOO_LARGE}`])
  t.ok(side.h2.streams.size === 0)
})

t.test('HPACK table size changes by the thousand', async (t) => {
  const side = server()
  const changes = Buffer.concat(Array.from({ length: 4000 }, (_, i) => integer(0x20, 5, i % 2 === 0 ? 0 : 4096)))
  side.feed(frame('HEADERS', 5, 1, Buffer.concat([changes, block(...GET)])))
  t.equal(side.log.at(-1), '1 end', 'cost their bytes, and nothing is kept')
})

t.test('oversized header lists', async (t) => {
  const side = server({ maxHeaderBytes: 2000 })
  t.same(side.feed(get(1, ['x', 'y'.repeat(3000)])), ['RST_STREAM 1 code 1'])
  t.same(side.feed(get(3)), [])
})

for (const [what, made] of [
  ['PING', () => frame('PING', 0, 0, '12345678')],
  ['SETTINGS', () => settings([4, 70000])],
  ['SETTINGS acknowledgements', () => frame('SETTINGS', 1, 0)],
  [
    'unknown frames',
    () => {
      const f = Buffer.from(frame('PING', 0, 0, '12345678'))
      f[3] = 77
      return f
    },
  ],
  ['WINDOW_UPDATE', () => frame('WINDOW_UPDATE', 0, 0, u32(1))],
  ['PRIORITY', () => frame('PRIORITY', 0, 9, Buffer.concat([u32(3), Buffer.from([1])]))],
] as const) {
  t.test(`${what} flood`, async (t) => {
    const side = server()
    side.wire.io.clock.update = () => {}
    const took = until(side, 5000, made)
    t.ok(took >= 100 && took <= 1003, String(took))
    t.match(side.said().at(-1), CALM)
  })
}

t.test('one SETTINGS frame with thousands of settings counts for many', async (t) => {
  const side = server()
  side.wire.io.clock.update = () => {}
  const many = settings(...Array.from({ length: 2700 }, () => [4, 70000] as const))
  const took = until(side, 1000, () => many)
  t.ok(took > 0 && took < 15, String(took))
})

t.test('a busy connection may send as many control frames as it needs', async (t) => {
  const side = server({}, true, (s) => s.sendHeaders(204, '', true))
  side.wire.io.clock.update = () => {}
  t.equal(
    until(side, 5000, (i) =>
      Buffer.concat([
        get(i * 2 + 1),
        frame('PING', 0, 0, '12345678'),
        frame('PRIORITY', 0, i * 2 + 1, Buffer.concat([u32(0), Buffer.from([1])])),
      ]),
    ),
    -1,
  )
})

t.test('empty frames flood (CVE-2019-9518)', async (t) => {
  for (const [what, empty] of [
    ['DATA', frame('DATA', 0, 1)],
    ['DATA of padding alone', frame('DATA', 8, 1, '\x02pp')],
  ] as const) {
    const side = server()
    side.feed(post(1))
    t.equal(
      until(side, 100, () => empty),
      11,
      what,
    )
    t.match(side.said().at(-1), CALM)
  }
})

t.test('replies that are never read (CVE-2019-9512, -9515)', async (t) => {
  for (const asks of [() => frame('PING', 0, 0, '12345678'), () => settings()]) {
    const side = server({ abuse: { ...ABUSE_LIMITS, controlFrames: 1e9 } })
    side.wire.full = true
    side.feed(frame('PING', 0, 0, '12345678'))
    const took = until(side, 20000, asks)
    t.equal(took, 1001)
    t.ok(side.wire.destroyed, 'closed at once: a GOAWAY would not be read')
    t.ok(side.h2.writer.waitingBytes < 32 * 1024, `${side.h2.writer.waitingBytes} bytes waited`)
  }
})

t.test('answers that are never read: requests do not pile up', async (t) => {
  const side = server({}, true, (s) => s.sendHeaders(200, `x: ${'y'.repeat(1000)}\r\n`, true))
  side.wire.full = true
  side.feed(get(1))
  const took = until(side, 20000, (i) => get(i * 2 + 3))
  t.ok(took > 0 && took <= 1001, String(took))
})

t.test('a window that never opens (CVE-2019-9511, -9517): the stream is reset, and what waited is let go', async (t) => {
  const side = server({ stallTimeoutMs: 30_000 })
  side.feed(settings([4, 0]), get(1), get(3))
  const { clock } = side.wire.io
  let now = Math.ceil(clock.monotonicMs)
  clock.update = () => {
    clock.monotonicMs = now
  }
  side.run(() => {
    side.stream(1).sendHeaders(200, '', false)
    side.stream(1).sendBody(Buffer.alloc(1000), 0, 1000)
  })
  now += 29_000
  side.feed(frame('WINDOW_UPDATE', 0, 0, u32(1)))
  side.run(() => side.h2.onDeadline(2))
  t.equal(side.h2.streams.size, 2, 'not before its time')
  now += 1_001
  t.same(
    side.run(() => side.h2.onDeadline(2)),
    ['RST_STREAM 1 code 8'],
  )
  t.equal(side.stream(1).fault, M.STALLED)
  t.equal(side.stream(1).queuedBytes, 0)
  t.equal(side.h2.streams.size, 1, 'the stream that waits for its server is left alone')
})

t.test('a head that never ends', async (t) => {
  const side = server({ headerTimeoutMs: 10_000 })
  side.feed(frame('HEADERS', 0, 1, block(...GET)))
  side.run(() => side.h2.onDeadline(1))
  t.match(side.log.at(-1), /error 11/)
  const between = server()
  between.feed(frame('PING', 0, 0, '12345678').subarray(0, 5))
  between.feed(frame('PING', 0, 0, '12345678').subarray(5), frame('PING', 0, 0, '12345678').subarray(0, 5))
  between.run(() => between.h2.onDeadline(1))
  t.notOk(between.h2.closed, 'another frame by now')
})

t.test('SETTINGS that are never acknowledged', async (t) => {
  const side = server()
  t.match(side.run(() => side.h2.onDeadline(0)).at(-1), /code 4$/)
})

t.test('frames on streams that were reset', async (t) => {
  const side = server()
  side.wire.io.clock.update = () => {}
  side.feed(post(1))
  side.run(() => side.stream(1).reset(8))
  const took = until(side, 5000, () => frame('RST_STREAM', 0, 1, u32(8)))
  t.ok(took > 0 && took <= 1003, String(took))
  const empty = server()
  empty.feed(post(1))
  empty.run(() => empty.stream(1).reset(8))
  t.ok(until(empty, 5000, () => frame('DATA', 0, 1)) > 0)
})

t.test('the guard: credit comes back with time and with work', async (t) => {
  const guard = new AbuseGuard({ ...ABUSE_LIMITS, controlFrames: 10, controlFramesPerSecond: 5 }, 0)
  for (let i = 0; i < 10; i++) t.ok(guard.control(1, 0))
  guard.useful()
  t.ok(guard.control(1, 0))
  t.notOk(guard.control(1, 0))
  t.ok(guard.control(1, 1000))
  t.notOk(guard.control(20, 1e9), 'never more than the limit at once')
})

t.test('answers to PINGs that were never sent, and streams behind our GOAWAY, are counted as other frames are', async (t) => {
  const acks = server()
  const took = until(acks, 5000, () => frame('PING', 1, 0, Buffer.alloc(8)))
  t.ok(took > 900 && took < 1500, String(took))
  t.match(acks.said().at(-1), CALM)
  const leaving = server()
  leaving.feed(get(1))
  leaving.run(() => leaving.h2.shutdown())
  // The answer to the PING between the two GOAWAYs.
  leaving.feed(frame('PING', 1, 0, Buffer.from([0x68, 0x64, 0x6c, 0, 0, 0, 0, 2])))
  const behind = until(leaving, 5000, (i) => get(i * 2 + 3))
  t.ok(behind > 900 && behind < 2500, String(behind))
  t.match(leaving.said().at(-1), CALM)
})
