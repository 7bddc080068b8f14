// A server's connection: what each frame does in each state of a stream (RFC 9113 §5, §6), windows, back-pressure, and the two ways to end.
import t from 'tap'
import { UNWANTED } from '../../../../lib/http/h2/connection-deadlines.ts'
import * as M from '../../../../lib/http/h2/message-head.ts'
import type { Http2Options } from '../../../../lib/http/h2/options.ts'
import { upgradeSettings } from '../../../../lib/http/h2/peer-settings.ts'
import type { Http2Stream } from '../../../../lib/http/h2/stream.ts'
import { cuts } from '../../../suite/splits.ts'
import { mapOf } from '../kit.ts'
import { block, END, frame, GET, get, POST, PREFACE, post, server, settings, told, u32, WHOLE } from './kit.ts'

const HELLO = Buffer.from('hello')

/** Answers `hello` at once. */
function greetBack(stream: Http2Stream): void {
  stream.sendHeaders(200, 'content-length: 5\r\n', false)
  stream.sendBody(HELLO, 0, 5)
  stream.sendEnd('')
}

t.test('a server says its SETTINGS and its window first, then acknowledges', async (t) => {
  const side = server({}, false)
  t.same(side.said(), [])
  t.same(side.feed(PREFACE, settings()), ['SETTINGS', 'WINDOW_UPDATE 0 +983041', 'SETTINGS ack'])
})

t.test('a request and its answer, in one write; the last frame ends the stream', async (t) => {
  const side = server({}, true, greetBack)
  t.same(side.feed(get(1, ['accept', '*/*'])), ['HEADERS 1', 'DATA 1 5 end'])
  t.same(side.log, ['1 GET / [accept: */*] no body', '1 end'])
  t.equal(side.h2.streams.size, 0)
})

t.test('an answer without a body ends with its head, however that is said', async (t) => {
  const side = server({}, true, (s) => {
    s.sendHeaders(204, '', s.id === 1)
    s.sendEnd('')
  })
  t.same(side.feed(get(1)), ['HEADERS 1 end'])
  t.same(side.feed(get(3)), ['HEADERS 3 end'])
})

t.test('what has left cannot become the last frame any more', async (t) => {
  const side = server()
  side.feed(get(1), get(3))
  side.run(() => {
    side.stream(1).sendHeaders(200, '', false)
    side.stream(1).sendBody(HELLO, 0, 5)
  })
  side.run(() => side.stream(3).sendHeaders(200, '', false))
  t.same(
    side.run(() => {
      side.stream(3).sendEnd('')
      side.stream(1).sendEnd('')
    }),
    ['DATA 3 0 end', 'DATA 1 0 end'],
  )
})

t.test('a whole conversation in any pieces', async (t) => {
  const bytes = Buffer.concat([
    PREFACE,
    settings([3, 7]),
    frame('SETTINGS', 1, 0),
    frame(
      'HEADERS',
      0x20 | 0x8,
      1,
      Buffer.concat([Buffer.from([2]), u32(0), Buffer.from([16]), block(...POST).subarray(0, 7), Buffer.from('pp')]),
    ),
    frame('CONTINUATION', 0, 1, block(...POST).subarray(7, 20)),
    frame('CONTINUATION', WHOLE, 1, Buffer.concat([block(...POST).subarray(20), block(['x-a', 'b'])])),
    frame('DATA', 8, 1, '\x02abcpp'),
    get(3),
    frame('PRIORITY', 0, 9, Buffer.concat([u32(3), Buffer.from([1])])),
    frame('DATA', 0, 1, 'defg'),
    frame('HEADERS', END | WHOLE, 1, block(['x-sum', '7'])),
    frame('PING', 0, 0, 'pingpong'),
  ])
  const expected = [
    '1 POST / [x-a: b] -1',
    '1 body abc',
    '3 GET / [] no body',
    '3 end',
    '1 body defg',
    '1 end [x-sum: 7]',
    'HEADERS 3',
    'DATA 3 5 end',
    'HEADERS 1',
    'DATA 1 5 end',
    'PING ack',
  ]
  const run = (pieces: readonly Buffer[]): string[] => {
    const side = server({}, false, (s) => s.id === 3 && greetBack(s))
    const said: string[] = []
    for (const piece of pieces) {
      side.wire.receive(side.h2, piece)
      if (side.log.at(-1)?.startsWith('1 end') === true && said.length === 0) {
        said.push('answered')
        side.wire.io.run('answer', () => greetBack(side.stream(1)))
      }
    }
    const seen = side
      .frames()
      .map(told)
      .filter((line) => !/^(?:SETTINGS|WINDOW)/.test(line))
    // The answer to 1 comes before or behind the PING, as the pieces are.
    return [...side.log, ...seen.sort()]
  }
  const wanted = JSON.stringify([...expected.slice(0, 6), ...expected.slice(6).sort()])
  let wrong = ''
  for (const ends of cuts(bytes.length)) {
    if (wrong !== '' || (ends.length === 3 && (ends[0] as number) % 5 !== 0)) continue
    const got = JSON.stringify(run(ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end))))
    if (got !== wanted) wrong = `cut at ${ends.slice(0, 3).join(' ')}: ${got}`
  }
  t.equal(wrong, '')
})

t.test('errors of the connection', async (t) => {
  const rows: readonly (readonly [string, readonly Buffer[], number])[] = [
    ['DATA without a stream', [frame('DATA', 0, 0, 'x')], 1],
    ['HEADERS without a stream', [frame('HEADERS', 5, 0, block(...GET))], 1],
    ['an even stream', [get(2)], 1],
    ['DATA on an idle stream', [frame('DATA', 0, 1, 'x')], 1],
    ['RST_STREAM on an idle stream', [frame('RST_STREAM', 0, 1, u32(8))], 1],
    ['WINDOW_UPDATE on an idle stream', [frame('WINDOW_UPDATE', 0, 1, u32(8))], 1],
    ['a lower stream than before', [get(5), get(3)], 5],
    ['HEADERS on a stream that is over', [get(1), get(1)], 5],
    ['DATA on a stream that is over', [get(1), frame('DATA', 0, 1, 'x')], 5],
    ['DATA behind the RST_STREAM of the client', [post(3), frame('RST_STREAM', 0, 3, u32(8)), frame('DATA', 0, 3, 'x')], 5],
    ['a frame inside a header block', [frame('HEADERS', 0, 1, block(...GET)), frame('PING', 0, 0, '12345678')], 1],
    ['CONTINUATION of another stream', [frame('HEADERS', 0, 1, block(...GET)), frame('CONTINUATION', 4, 3)], 1],
    ['CONTINUATION of nothing', [frame('CONTINUATION', 4, 1)], 1],
    ['PUSH_PROMISE', [frame('PUSH_PROMISE', 4, 1, u32(2))], 1],
    ['SETTINGS on a stream', [frame('SETTINGS', 0, 1)], 1],
    ['SETTINGS of five bytes', [frame('SETTINGS', 0, 0, '12345')], 6],
    ['an acknowledgement with a payload', [frame('SETTINGS', 1, 0, '123456')], 6],
    ['a window beyond 2^31', [settings([4, 2 ** 31])], 3],
    ['a frame size below 2^14', [settings([5, 16383])], 1],
    ['a frame size of 2^24', [settings([5, 2 ** 24])], 1],
    ['ENABLE_PUSH of 2', [settings([2, 2])], 1],
    ['PING on a stream', [frame('PING', 0, 1, '12345678')], 1],
    ['PING of seven bytes', [frame('PING', 0, 0, '1234567')], 6],
    ['GOAWAY on a stream', [frame('GOAWAY', 0, 1, u32(0, 0))], 1],
    ['RST_STREAM of three bytes', [get(1), frame('RST_STREAM', 0, 1, 'abc')], 6],
    ['WINDOW_UPDATE of three bytes', [frame('WINDOW_UPDATE', 0, 0, 'abc')], 6],
    ['WINDOW_UPDATE of nothing', [frame('WINDOW_UPDATE', 0, 0, u32(0))], 1],
    ['a window that grows beyond 2^31', [frame('WINDOW_UPDATE', 0, 0, u32(0x7fffffff))], 3],
    ['a frame larger than ours', [frame('DATA', 0, 1, 'x'.repeat(16385))], 6],
    ['padding longer than the frame', [frame('HEADERS', 0xd, 1, Buffer.from([9, 0x82]))], 1],
    ['a priority cut off', [frame('HEADERS', 0x25, 1, 'abc')], 6],
    ['no HPACK', [frame('HEADERS', 5, 1, Buffer.from([0x80]))], 9],
  ]
  for (const [what, bytes, code] of rows) {
    const side = server({}, true, (s) => s.id !== 3 && greetBack(s))
    const last = side.feed(...bytes).at(-1)
    t.match(last, new RegExp(`^GOAWAY last \\d+ code ${code}$`), what)
    t.equal(side.log.at(-1), `error ${code}`, what)
    t.ok(side.wire.ended, `${what}: FIN`)
    t.same(side.feed(get(99)), [], `${what}: nothing more is read`)
  }
})

t.test('errors of the first bytes', async (t) => {
  const none = server({}, false)
  t.match(none.feed(Buffer.from('GET / HTTP/1.1\r\n\r\n')).at(-1), /^GOAWAY last 0 code 1/)
  const other = server({}, false)
  t.match(other.feed(PREFACE, frame('PING', 0, 0, '12345678')).at(-1), /^GOAWAY last 0 code 1/)
  const ack = server({}, false)
  t.match(ack.feed(PREFACE, frame('SETTINGS', 1, 0)).at(-1), /^GOAWAY last 0 code 1/)
})

t.test('errors of one stream cost that stream alone', async (t) => {
  const rows: readonly (readonly [string, readonly Buffer[], string, number])[] = [
    ['upper case', [get(1, ['X', 'y'])], 'RST_STREAM 1 code 1', M.BAD_NAME],
    ['connection', [get(1, ['connection', 'close'])], 'RST_STREAM 1 code 1', M.HTTP1_FIELD],
    [
      'trailers without an end',
      [post(1), frame('HEADERS', WHOLE, 1, block(['a', 'b']))],
      'RST_STREAM 1 code 1',
      M.UNEXPECTED_HEADERS,
    ],
    [
      'a pseudo-header in trailers',
      [post(1), frame('HEADERS', 5, 1, block([':path', '/']))],
      'RST_STREAM 1 code 1',
      M.BAD_PSEUDO,
    ],
    [
      'more than content-length',
      [post(1, ['content-length', '3']), frame('DATA', 0, 1, 'abcd')],
      'RST_STREAM 1 code 1',
      M.LENGTH_MISMATCH,
    ],
    [
      'less than content-length',
      [post(1, ['content-length', '3']), frame('DATA', END, 1, 'ab')],
      'RST_STREAM 1 code 1',
      M.LENGTH_MISMATCH,
    ],
    ['a length and no body', [get(1, ['content-length', '3'])], 'RST_STREAM 1 code 1', M.LENGTH_MISMATCH],
    [
      'a length and trailers at once',
      [post(1, ['content-length', '3']), frame('HEADERS', 5, 1, block(['a', 'b']))],
      'RST_STREAM 1 code 1',
      M.LENGTH_MISMATCH,
    ],
    [
      'CONNECT with a length',
      [frame('HEADERS', WHOLE, 1, block([':method', 'CONNECT'], [':authority', 'a:1'], ['content-length', '3']))],
      'RST_STREAM 1 code 1',
      M.BODY_NOT_ALLOWED,
    ],
    ['WINDOW_UPDATE of nothing', [post(1), frame('WINDOW_UPDATE', 0, 1, u32(0))], 'RST_STREAM 1 code 1', M.MISPLACED],
    [
      'a window that grows beyond 2^31',
      [post(1), frame('WINDOW_UPDATE', 0, 1, u32(0x7fffffff))],
      'RST_STREAM 1 code 3',
      M.MISPLACED,
    ],
    ['DATA behind the end', [get(1), frame('DATA', 0, 1, 'x')], 'RST_STREAM 1 code 5', M.MISPLACED],
    ['HEADERS behind the end', [get(1), frame('HEADERS', 5, 1, block(['a', 'b']))], 'RST_STREAM 1 code 5', M.MISPLACED],
    [
      'a stream that depends on itself',
      [frame('HEADERS', 0x25, 1, Buffer.concat([u32(1), Buffer.from([1]), block(...GET)]))],
      'RST_STREAM 1 code 1',
      0,
    ],
  ]
  for (const [what, bytes, said, fault] of rows) {
    const side = server()
    t.equal(side.feed(...bytes).at(-1), said, what)
    if (side.streams.length > 0) {
      t.equal(side.stream(1).fault, fault, what)
      t.match(side.log.at(-1), /^1 reset \d/, `${what}: the owner is told`)
      t.notOk(side.stream(1).resetByPeer)
    } else if (fault !== 0) t.same(side.log, [`1 refused ${fault}`], what)
    t.same(side.feed(get(5)), [], `${what}: the connection lives`)
    t.equal(side.log.at(-1), '5 end', what)
    t.equal(side.h2.streams.size, 1, what)
  }
})

t.test('a header list beyond the limits may be answered', async (t) => {
  const side = server({ maxHeaderBytes: 1000 })
  t.same(side.feed(get(1, ['x', 'y'.repeat(1000)])), ['RST_STREAM 1 code 1'])
  t.same(side.log, [`1 refused ${M.TOO_LARGE}`])
  const many = server({ maxHeaders: 5 })
  t.same(many.feed(get(1, ['a', 'b'], ['c', 'd'])), ['RST_STREAM 1 code 1'])
  t.same(many.log, [`1 refused ${M.TOO_MANY}`])
})

t.test('frames that trail behind our RST_STREAM are ignored, and their bytes given back', async (t) => {
  const side = server({ initialConnectionWindow: 65535 })
  side.feed(post(1))
  t.same(
    side.run(() => side.stream(1).reset(8)),
    ['RST_STREAM 1 code 8'],
  )
  const said = side.feed(
    frame('DATA', 0, 1, 'x'.repeat(16000)),
    frame('DATA', 0, 1, 'x'.repeat(16000)),
    frame('DATA', END, 1, 'x'.repeat(2000)),
    frame('WINDOW_UPDATE', 0, 1, u32(5)),
  )
  t.same(said, ['WINDOW_UPDATE 0 +34000'])
  t.same(side.feed(frame('HEADERS', 5, 1, block(['a', 'b']))), [])
  t.same(side.log, ['1 POST / [] -1'])
})

t.test('streams beyond the limit are refused, and their headers still read', async (t) => {
  const side = server({ maxConcurrentStreams: 2 })
  const indexed = frame(
    'HEADERS',
    5,
    5,
    Buffer.concat([block(...GET), Buffer.from([0x40, 3]), Buffer.from('x-a'), Buffer.from([1]), Buffer.from('b')]),
  )
  t.same(side.feed(post(1), post(3), indexed), ['RST_STREAM 5 code 7'])
  side.feed(frame('RST_STREAM', 0, 1, u32(8)))
  side.feed(frame('HEADERS', 5, 7, Buffer.concat([block(...GET), Buffer.from([0xbe])])))
  t.equal(side.log.at(-2), '7 GET / [x-a: b] no body')
})

t.test("windows: no more is sent than what the client's windows allow, on the stream and on the connection", async (t) => {
  const side = server()
  side.feed(settings([4, 10]), get(1))
  const s = side.stream(1)
  const body = Buffer.alloc(100000, 'x')
  const send = (n: number) => {
    s.sendHeaders(200, '', false)
    return s.sendBody(body, 0, n)
  }
  let goes = true
  t.same(
    side.run(() => {
      goes = send(25)
    }),
    ['HEADERS 1', 'DATA 1 10'],
  )
  t.equal(goes, true, 'little waits: the source need not pause')
  t.same(side.feed(frame('WINDOW_UPDATE', 0, 1, u32(8))), ['DATA 1 8'])
  t.same(
    side.run(() => s.sendEnd('')),
    [],
  )
  t.same(side.feed(settings([4, 100])), ['SETTINGS ack', 'DATA 1 7 end'])
  // The connection's window: 65,535 of which 25 are gone.
  side.feed(settings([4, 1000000]), get(3))
  const other = side.stream(3)
  const sizes = side.run(() => {
    other.sendHeaders(200, '', false)
    goes = other.sendBody(body, 0, 100000)
  })
  t.same(sizes, ['HEADERS 3', 'DATA 3 16384', 'DATA 3 16384', 'DATA 3 16384', 'DATA 3 16358'])
  t.equal(goes, true)
  t.equal(
    side.run(() => {
      goes = other.sendBody(body, 0, 100000)
    }).length,
    0,
  )
  t.equal(goes, false)
  t.same(side.feed(frame('WINDOW_UPDATE', 0, 0, u32(20))), ['DATA 3 20'])
  t.notOk(side.log.includes('3 writable'))
  side.feed(frame('WINDOW_UPDATE', 0, 0, u32(200000)))
  t.equal(side.log.at(-1), '3 writable')
})

t.test('what waits leaves in its order, however it was put in and is let out', async (t) => {
  const side = server()
  side.feed(settings([4, 0]), get(1))
  const s = side.stream(1)
  const body = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251))
  side.run(() => {
    s.sendHeaders(200, '', false)
    for (let at = 0; at < 1000; at += 37) s.sendBody(body, at, Math.min(1000, at + 37))
    s.sendEnd('')
  })
  const parts: Buffer[] = []
  for (let n = 1; Buffer.concat(parts).length < 1000; n = (n * 3) % 101) {
    side.wire.receive(side.h2, frame('WINDOW_UPDATE', 0, 1, u32(n)))
    for (const f of side.frames()) parts.push(Buffer.from(f.payload))
  }
  t.ok(Buffer.concat(parts).equals(body))
  t.equal(side.h2.streams.size, 0)
})

t.test('a window may be taken away below zero (RFC 9113 §6.9.2)', async (t) => {
  const side = server()
  side.feed(settings([4, 20]), get(1))
  const s = side.stream(1)
  side.run(() => {
    s.sendHeaders(200, '', false)
    s.sendBody(Buffer.alloc(30), 0, 30)
  })
  side.feed(settings([4, 5]))
  t.equal(s.sendWindow, -15)
  t.same(side.feed(frame('WINDOW_UPDATE', 0, 1, u32(15))), [])
  t.same(side.feed(frame('WINDOW_UPDATE', 0, 1, u32(4))), ['DATA 1 4'])
})

t.test('streams take turns', async (t) => {
  const side = server()
  side.feed(settings([4, 1 << 20]), get(1), get(3), get(5))
  const body = Buffer.alloc(60000)
  side.run(() => {
    for (const id of [1, 3, 5]) {
      side.stream(id).sendHeaders(200, '', false)
      side.stream(id).sendBody(body, 0, 60000)
    }
  })
  const order = side.feed(frame('WINDOW_UPDATE', 0, 0, u32(1 << 20))).map((line) => line.slice(0, 6))
  t.same(order.slice(0, 6), ['DATA 3', 'DATA 5', 'DATA 3', 'DATA 5', 'DATA 3', 'DATA 5'])
})

t.test('trailers wait for the body before them', async (t) => {
  const side = server()
  side.feed(settings([4, 4]), get(1))
  const s = side.stream(1)
  t.same(
    side.run(() => {
      s.sendHeaders(200, '', false)
      s.sendBody(HELLO, 0, 5)
      s.sendEnd('grpc-status: 0\r\n')
    }),
    ['HEADERS 1', 'DATA 1 4'],
  )
  t.same(side.feed(frame('WINDOW_UPDATE', 0, 1, u32(100))), ['DATA 1 1', 'HEADERS 1 end'])
})

t.test('a head larger than a frame goes on in CONTINUATION', async (t) => {
  const side = server({}, true, (s) => s.sendHeaders(200, `x-a: ${'y'.repeat(40000)}\r\n`, true))
  side.wire.receive(side.h2, get(1))
  const got = side.frames()
  t.same(
    got.map((f) => `${f.type} ${f.flags} ${f.payload.length > 16384}`),
    ['HEADERS 1 false', 'CONTINUATION 0 false', 'CONTINUATION 4 false'],
  )
})

t.test('received windows are given back half a window at a time', async (t) => {
  const side = server({ initialStreamWindow: 1000, initialConnectionWindow: 65535, maxStreamWindow: 1000 })
  side.feed(post(1))
  t.same(side.feed(frame('DATA', 0, 1, 'x'.repeat(400))), [])
  t.same(side.feed(frame('DATA', 8, 1, `\x31${'x'.repeat(50)}${'p'.repeat(49)}`)), ['WINDOW_UPDATE 1 +500'], 'padding counts')
  t.same(side.feed(frame('DATA', END, 1, 'x'.repeat(900))), [], 'not for a stream that has ended')
})

t.test('more than a window is an error', async (t) => {
  const side = server({ initialStreamWindow: 1000 })
  side.feed(post(1))
  t.same(side.feed(frame('DATA', 0, 1, 'x'.repeat(1001))), ['RST_STREAM 1 code 3'])
  const whole = server({ initialStreamWindow: 1 << 20, initialConnectionWindow: 65535, maxConnectionWindow: 65535 })
  whole.feed(post(1))
  whole.run(() => whole.stream(1).pause())
  for (let i = 0; i < 4; i++) whole.feed(frame('DATA', 0, 1, 'x'.repeat(16000)))
  t.same(whole.feed(frame('DATA', 0, 1, 'x'.repeat(16000))), ['GOAWAY last 1 code 3'])
})

t.test('what a paused stream keeps is not missing for the others', async (t) => {
  const sizes = { initialStreamWindow: 60000, maxStreamWindow: 60000, initialConnectionWindow: 65535 }
  const data = (id: number) => frame('DATA', 0, id, 'x'.repeat(16000))
  const side = server({ ...sizes, maxConnectionWindow: 131070 })
  side.feed(post(1))
  side.run(() => side.stream(1).pause())
  t.same(side.feed(data(1), data(1)), [], '32,000 are less than half')
  t.same(side.feed(data(1)), ['WINDOW_UPDATE 0 +65535'], '48,000 are more')
  const full = server({ ...sizes, maxConnectionWindow: 65535 })
  full.feed(post(1), post(3))
  full.run(() => full.stream(1).pause())
  t.same(full.feed(data(1), data(1), data(1)), [], 'it grows no further')
  // 17,535 are left of the window: half of that is given back, not half of the whole.
  t.same(full.feed(data(3)), ['WINDOW_UPDATE 0 +16000'])
})

t.test('before our SETTINGS are acknowledged a client may use the default window, and owes it afterwards', async (t) => {
  const side = server({ initialStreamWindow: 1000, maxStreamWindow: 1000 }, false)
  side.feed(PREFACE, settings(), post(1), frame('DATA', 0, 1, 'x'.repeat(1500)))
  t.equal(side.log.at(-1), `1 body ${'x'.repeat(1500)}`)
  // 65,535 − 1,500 − 64,535 are −500 now: the client has to be told of 1,500 more to have its 1,000.
  t.same(side.feed(frame('SETTINGS', 1, 0)), ['WINDOW_UPDATE 1 +1500'])
  t.same(side.feed(frame('DATA', 0, 1, 'x'.repeat(1001))), ['RST_STREAM 1 code 3'])
})

t.test('a paused stream gets nothing, its peer gets no window, and both go on at once', async (t) => {
  const side = server({ initialStreamWindow: 100, initialConnectionWindow: 65535 })
  side.feed(post(1))
  side.run(() => side.stream(1).pause())
  t.same(side.feed(frame('DATA', 0, 1, 'x'.repeat(60)), frame('DATA', END, 1, 'y'.repeat(40))), [])
  t.same(side.log, ['1 POST / [] -1'])
  side.run(() => side.stream(1).resume())
  t.same(side.log.slice(1), [`1 body ${'x'.repeat(60)}${'y'.repeat(40)}`, '1 end'])
})

t.test('a peer that does not read: bodies wait here, and only as much as a source sends until it is told', async (t) => {
  const side = server({}, true)
  side.feed(settings([4, 1 << 20]), frame('WINDOW_UPDATE', 0, 0, u32(1 << 20)), get(1))
  const s = side.stream(1)
  side.wire.full = true
  side.run(() => {
    s.sendHeaders(200, '', false)
    s.sendBody(HELLO, 0, 5)
  })
  let goes = true
  t.same(
    side.run(() => {
      goes = s.sendBody(HELLO, 0, 5)
    }),
    [],
    'nothing is put on top',
  )
  t.equal(goes, false)
  side.feed(frame('PING', 0, 0, '12345678'))
  side.wire.drain()
  t.same(side.said(), ['PING ack', 'DATA 1 5'])
  t.equal(side.log.at(-1), '1 writable')
})

t.test('interim responses', async (t) => {
  const side = server({}, true, (s) => {
    s.sendInformational(103, 'link: </a>\r\n')
    greetBack(s)
  })
  t.same(side.feed(get(1)), ['HEADERS 1', 'HEADERS 1', 'DATA 1 5 end'])
})

t.test('an answer before the end of the request', async (t) => {
  const side = server({}, true, greetBack)
  side.feed(post(1))
  t.equal(side.h2.streams.size, 1, 'the request goes on')
  t.same(
    side.run(() => side.stream(1).reset(0)),
    ['RST_STREAM 1 code 0'],
  )
  t.equal(side.h2.streams.size, 0)
})

t.test('an answer before the end of its request: what still comes is dropped, a second later the client is told', async (t) => {
  const side = server({}, true, greetBack)
  side.feed(post(1), post(3))
  for (const id of [1, 3]) {
    const stop = () => side.stream(id).stopReceiving()
    t.same(side.run(stop), [], 'no reset beside the end of the answer')
  }
  side.feed(frame('DATA', 0, 1, HELLO), frame('DATA', END, 3, HELLO))
  t.notOk(/body/.test(side.log.join()), 'nobody hears of it')
  t.equal(side.h2.streams.size, 1, 'one has ended by itself')
  const early = side.run(() => side.h2.onDeadline(UNWANTED))
  t.same(early, [], 'too early')
  const said = side.run(() => {
    side.wire.io.clock.monotonicMs += 1001
    side.h2.onDeadline(UNWANTED)
  })
  t.same(said, ['RST_STREAM 1 code 0'])
  t.equal(side.h2.streams.size, 0)
})

t.test('CONNECT is a tunnel whose sides end apart', async (t) => {
  const side = server({}, true, (s) => s.sendHeaders(200, '', false))
  side.feed(frame('HEADERS', WHOLE, 1, block([':method', 'CONNECT'], [':authority', 'a:80'])))
  const s = side.stream(1)
  t.same([s.authority, s.path, s.scheme], ['a:80', '', ''])
  side.feed(frame('DATA', END, 1, 'abc'))
  t.same(side.log.slice(1), ['1 body abc', '1 end'])
  t.same(
    side.run(() => {
      s.sendBody(HELLO, 0, 5)
      s.sendEnd('')
    }),
    ['DATA 1 5 end'],
  )
})

t.test('extended CONNECT is offered when it is wanted (RFC 8441)', async (t) => {
  const side = server({ extendedConnect: true })
  const ws = [
    [':method', 'CONNECT'],
    [':protocol', 'websocket'],
    [':scheme', 'http'],
    [':path', '/chat'],
    [':authority', 'a'],
  ] as const
  side.feed(frame('HEADERS', WHOLE, 1, block(...ws)))
  t.equal(side.stream(1).protocol, 'websocket')
  const greeting = server({ extendedConnect: true }, false)
  greeting.wire.receive(greeting.h2, PREFACE)
  t.ok(greeting.frames()[0]!.payload.includes(Buffer.from([0, 8, 0, 0, 0, 1])))
})

t.test('an orderly end: two GOAWAY, what is under way is finished, and the connection closes', async (t) => {
  const side = server()
  side.feed(get(1))
  t.same(
    side.run(() => side.h2.shutdown()),
    ['GOAWAY last 2147483647 code 0', 'PING'],
  )
  t.same(side.feed(get(3)), [], 'a request that was on its way')
  const [, ping] = [0, Buffer.from([0x68, 0x64, 0x6c, 0, 0, 0, 0, 2])]
  t.same(side.feed(frame('PING', 1, 0, ping)), ['GOAWAY last 3 code 0'])
  t.same(side.feed(get(5)), [], 'too late: not looked at')
  t.same(
    side.log.map((line) => line.split(' ')[0]),
    ['1', '1', '3', '3'],
  )
  side.run(() => greetBack(side.stream(1)))
  t.notOk(side.wire.ended)
  side.run(() => greetBack(side.stream(3)))
  t.ok(side.wire.ended)
})

t.test('h2c by Upgrade: the request of HTTP/1 becomes stream 1 (RFC 7540 §3.2)', async (t) => {
  const side = server({}, false, greetBack)
  const value = Buffer.from([0, 4, 0, 0, 0, 3]).toString('base64url')
  const said = side.run(() => {
    side.h2.upgrade('GET', 'http', 'a.example', '/x', mapOf('accept: */*\r\n'), upgradeSettings(value) as Buffer)
  })
  t.same(
    said,
    ['SETTINGS', 'WINDOW_UPDATE 0 +983041', 'HEADERS 1', 'DATA 1 3'],
    'within the window of its settings, which are not acknowledged',
  )
  t.same(side.log, ['1 GET /x [accept: */*] no body', '1 end'])
  t.same(side.feed(PREFACE, settings([4, 100]), get(3)), ['SETTINGS ack', 'DATA 1 2 end', 'HEADERS 3', 'DATA 3 5 end'])
  for (const bad of ['AAQ', '!!', Buffer.from([0, 4, 0xff, 0, 0, 0]).toString('base64url')])
    t.equal(upgradeSettings(bad), null, bad)
})

t.test("the client's end of the connection ends its streams", async (t) => {
  const side = server()
  side.feed(get(1))
  side.run(() => side.h2.onEnd())
  t.equal(side.log.at(-1), '1 reset -1')
  t.ok(side.wire.ended)
})

t.test('a reset of the client is told, and nothing more can be sent', async (t) => {
  const side = server()
  side.feed(get(1))
  t.same(side.feed(frame('RST_STREAM', 0, 1, u32(8))), [])
  t.equal(side.log.at(-1), '1 reset 8')
  t.ok(side.stream(1).resetByPeer)
  t.same(
    side.run(() => greetBack(side.stream(1))),
    [],
  )
})

t.test('an owner that resets, ends or pauses inside of its events', async (t) => {
  const side = server()
  side.feed(post(1))
  const s = side.stream(1)
  const seen: string[] = []
  s.events = {
    onBody(b, start, end) {
      seen.push(b.toString('latin1', start, end))
      s.reset(8)
    },
    onEnd: () => void seen.push('end'),
    onReset: () => void seen.push('reset'),
    onWritable() {},
    onResponse() {},
    onInformational() {},
  }
  t.same(side.feed(frame('DATA', 0, 1, 'abc'), frame('DATA', END, 1, 'def')), ['RST_STREAM 1 code 8'])
  t.same(seen, ['abc'])
  t.same(side.wire.faults, [])
})

t.test('the round trip of SETTINGS lets windows grow, and no window grows beyond its limit', async (t) => {
  const side = server(
    { initialStreamWindow: 65536, maxStreamWindow: 200000, initialConnectionWindow: 65536, maxConnectionWindow: 100000 },
    false,
  )
  const { clock } = side.wire.io
  let now = Math.ceil(clock.monotonicMs)
  clock.update = () => {
    clock.monotonicMs = now
  }
  side.feed(PREFACE, settings())
  now += 40
  side.feed(frame('SETTINGS', 1, 0), post(1))
  t.ok(side.h2.rttMs >= 40)
  for (let i = 0; i < 60; i++) {
    now += 1
    side.feed(frame('DATA', 0, 1, 'x'.repeat(16000)))
  }
  t.equal(side.stream(1).receiveWindow.size, 200000)
  t.equal(side.h2.window.size, 100000)
  const slow = server({ initialStreamWindow: 65536, maxStreamWindow: 200000 })
  slow.feed(post(1))
  slow.wire.io.clock.update = () => {
    slow.wire.io.clock.monotonicMs += 1000
  }
  for (let i = 0; i < 60; i++) slow.feed(frame('DATA', 0, 1, 'x'.repeat(16000)))
  t.equal(slow.stream(1).receiveWindow.size, 65536, 'a slow sender needs no larger one')
})

/** A server whose clock the test moves, 40 ms from its client. */
function timed(options: Partial<Http2Options>) {
  const side = server(options, false)
  const { clock } = side.wire.io
  const time = { now: Math.ceil(clock.monotonicMs) }
  clock.update = () => {
    clock.monotonicMs = time.now
  }
  side.feed(PREFACE, settings())
  time.now += 40
  side.feed(frame('SETTINGS', 1, 0))
  return { side, time }
}

t.test('what windows may grow by is shared by all streams, and is free again behind a stream', async (t) => {
  const { side, time } = timed({ initialStreamWindow: 65536, maxStreamWindow: 1 << 20, windowGrowth: 196608 })
  const fast = (id: number) => {
    for (let i = 0; i < 40; i++) {
      time.now += 1
      side.feed(frame('DATA', 0, id, 'x'.repeat(16000)))
    }
    return side.stream(id).receiveWindow.size
  }
  side.feed(post(1), post(3), post(5))
  t.equal(fast(1), 262144, 'all of it')
  t.equal(fast(3), 65536, 'nothing is left')
  side.feed(frame('RST_STREAM', 0, 1, u32(8)))
  t.equal(fast(3), 262144, 'a reset stream leaves it to others')
  side.run(() => side.stream(3).reset(8))
  t.equal(fast(5), 262144, 'one that we reset too')
})

t.test('a window that lasts for seconds shrinks to where it began', async (t) => {
  const { side, time } = timed({ initialStreamWindow: 65536, maxStreamWindow: 262144 })
  side.feed(post(1))
  const feed = (ms: number) => {
    time.now += ms
    side.feed(frame('DATA', 0, 1, 'x'.repeat(16000)))
  }
  for (let i = 0; i < 60; i++) feed(1)
  const { receiveWindow } = side.stream(1)
  t.equal(receiveWindow.size, 262144)
  feed(1100)
  t.equal(receiveWindow.size, 131072)
  for (let i = 0; i < 5; i++) feed(1100)
  t.equal(receiveWindow.size, 65536)
  t.ok(receiveWindow.available > 0 && receiveWindow.available <= 262144)
})

t.test('a stream that is reset with bytes that nobody took gets no window behind its reset', async (t) => {
  const side = server({ initialStreamWindow: 1000, initialConnectionWindow: 65535 })
  side.feed(post(1))
  side.run(() => side.stream(1).pause())
  side.feed(frame('DATA', 0, 1, 'x'.repeat(900)))
  t.same(
    side.run(() => side.stream(1).reset(8)),
    ['RST_STREAM 1 code 8'],
  )
})
