// A client's connection: requests out, responses in, and what an upstream may do wrong.
import t from 'tap'
import * as M from '../../../../lib/http/h2/message-head.ts'
import { HeaderMap } from '../../../../lib/http/header-map.ts'
import { ask, block, client, END, frame, frames, PREFACE, settings, u32, WHOLE } from './kit.ts'

const head = (id: number, status: string, flags: number, ...fields: readonly (readonly [string, string])[]) =>
  frame('HEADERS', flags, id, block([':status', status], ...fields))

t.test('the preface and SETTINGS come first, and push is refused', async (t) => {
  const side = client({}, false)
  side.wire.io.run('begin', () => {})
  const bytes = side.wire.take()
  t.ok(bytes.subarray(0, 24).equals(PREFACE))
  const [first, second] = frames(bytes)
  t.equal(first?.type, 'SETTINGS')
  t.ok(first?.payload.includes(Buffer.from([0, 2, 0, 0, 0, 0])))
  t.equal(second?.type, 'WINDOW_UPDATE')
})

t.test('a request and its response', async (t) => {
  const side = client()
  ask(side, 'GET', '/a', 'Accept: */*\r\nHost: other\r\nConnection: close\r\n')
  t.same(side.said(), ['HEADERS 1 end'])
  side.feed(head(1, '200', WHOLE, ['content-length', '3'], ['x-a', 'b']), frame('DATA', END, 1, 'abc'))
  t.same(side.log, ['1 response 200 [content-length: 3; x-a: b] 3', '1 body abc', '1 end'])
  t.equal(side.h2.streams.size, 0)
})

t.test('interim responses, trailers, no body', async (t) => {
  const side = client()
  ask(side)
  side.feed(
    head(1, '103', WHOLE, ['link', '</a>']),
    head(1, '100', WHOLE),
    head(1, '200', WHOLE),
    frame('DATA', 0, 1, 'x'),
    frame('HEADERS', 5, 1, block(['grpc-status', '0'])),
  )
  t.same(side.log, [
    '1 interim 103 [link: </a>]',
    '1 interim 100 []',
    '1 response 200 [] -1',
    '1 body x',
    '1 end [grpc-status: 0]',
  ])
  ask(side)
  side.feed(head(3, '204', 5))
  t.same(side.log.slice(5), ['3 response 204 [] no body', '3 end'])
  ask(side, 'HEAD')
  side.feed(head(5, '200', 5, ['content-length', '100']))
  t.same(side.log.slice(7), ['5 response 200 [content-length: 100] no body', '5 end'])
})

t.test('a response before the end of the request: the rest is not wanted', async (t) => {
  const side = client()
  const s = ask(side, 'POST', '/', '', false)
  side.feed(head(1, '413', 5))
  t.same(side.log, ['1 response 413 [] no body', '1 end'])
  side.feed(frame('RST_STREAM', 0, 1, u32(0)))
  t.same(side.log.length, 2, 'no reset is told: the response is whole')
  side.said()
  t.same(
    side.run(() => {
      s.sendBody(Buffer.from('x'), 0, 1)
      s.sendEnd('')
    }),
    [],
  )
})

t.test('what an upstream may do wrong on a stream', async (t) => {
  const rows: readonly (readonly [string, readonly Buffer[], number])[] = [
    ['DATA before a response', [frame('DATA', 0, 1, 'x')], M.MISPLACED],
    ['no status', [frame('HEADERS', WHOLE, 1, block(['a', 'b']))], M.BAD_STATUS],
    ['101', [head(1, '101', WHOLE)], M.BAD_STATUS],
    ['an interim response that is the last', [head(1, '100', 5)], M.UNEXPECTED_HEADERS],
    ['transfer-encoding', [head(1, '200', WHOLE, ['transfer-encoding', 'chunked'])], M.HTTP1_FIELD],
    ['a field that would split', [head(1, '200', WHOLE, ['a', 'b\r\nc: d'])], M.BAD_VALUE],
    ['more than its length', [head(1, '200', WHOLE, ['content-length', '1']), frame('DATA', 0, 1, 'xy')], M.LENGTH_MISMATCH],
    ['less than its length', [head(1, '200', WHOLE, ['content-length', '3']), frame('DATA', END, 1, 'xy')], M.LENGTH_MISMATCH],
    ['a body of 204', [head(1, '204', WHOLE), frame('DATA', END, 1, 'xy')], M.BODY_NOT_ALLOWED],
    ['a second response', [head(1, '200', WHOLE), head(1, '200', WHOLE)], M.BAD_PSEUDO],
  ]
  for (const [what, bytes, fault] of rows) {
    const side = client()
    const s = ask(side)
    side.feed(...bytes)
    t.equal(side.log.at(-1), '1 reset 1', what)
    t.equal(s.fault, fault, what)
    t.notOk(side.h2.closed, what)
  }
})

t.test('a body in response to HEAD', async (t) => {
  const side = client()
  ask(side, 'HEAD')
  side.feed(head(1, '200', WHOLE, ['content-length', '2']), frame('DATA', END, 1, 'xy'))
  t.equal(side.log.at(-1), '1 reset 1')
})

t.test('what ends the connection', async (t) => {
  const rows: readonly (readonly [string, Buffer, number])[] = [
    ['PUSH_PROMISE', frame('PUSH_PROMISE', WHOLE, 1, Buffer.concat([u32(2), block([':method', 'GET'])])), 1],
    ['a stream of the server', head(2, '200', WHOLE), 1],
    ['a response to nothing', head(9, '200', WHOLE), 1],
    ['ENABLE_PUSH of a server', settings([2, 1]), 1],
  ]
  for (const [what, bytes, code] of rows) {
    const side = client()
    ask(side)
    side.said()
    t.match(side.feed(bytes).at(-1), new RegExp(`^GOAWAY last 0 code ${code}$`), what)
    t.equal(side.log.at(-2), `1 reset ${code}`, what)
  }
})

t.test("the server's limit of streams is kept to", async (t) => {
  const side = client({}, false)
  side.feed(settings([3, 2]))
  ask(side)
  ask(side)
  t.notOk(side.h2.hasRoom)
  t.throws(() => ask(side), /no room/)
  side.feed(head(1, '200', 5))
  t.ok(side.h2.hasRoom)
  side.feed(settings([3, 0]))
  t.notOk(side.h2.hasRoom)
})

t.test('REFUSED_STREAM and GOAWAY say which requests may be sent again', async (t) => {
  const side = client()
  const [a, b, c] = [ask(side), ask(side), ask(side)]
  side.feed(frame('RST_STREAM', 0, 1, u32(7)))
  t.same([side.log.at(-1), a.unprocessed], ['1 reset 7', true])
  side.feed(frame('GOAWAY', 0, 0, Buffer.concat([u32(3, 0), Buffer.from('bye')])))
  t.same(side.log.slice(1), ['5 reset -2', 'goaway 0 bye'])
  t.same([b.unprocessed, c.unprocessed], [false, true])
  t.notOk(side.h2.hasRoom)
  t.notOk(side.wire.ended)
  side.feed(head(3, '200', 5))
  t.ok(side.wire.ended, 'after the last stream')
})

t.test('a connection that is lost takes its streams with it, but for those whose response is whole', async (t) => {
  const side = client()
  const a = ask(side)
  ask(side)
  a.pause()
  side.feed(head(1, '200', WHOLE), frame('DATA', END, 1, 'abc'))
  side.run(() => side.h2.onClose('ECONNRESET'))
  t.same(side.log.slice(1), ['3 reset -1', 'closed ECONNRESET'])
  side.run(() => a.resume())
  t.same(side.log.slice(3), ['1 body abc', '1 end'])
})

t.test('an orderly end of ours', async (t) => {
  const side = client()
  ask(side)
  side.said()
  t.same(
    side.run(() => side.h2.shutdown()),
    ['GOAWAY last 0 code 0'],
  )
  t.notOk(side.h2.hasRoom)
  side.feed(head(1, '200', 5))
  t.ok(side.wire.ended)
})

t.test('keepalive: a silent peer is asked, and given up', async (t) => {
  const side = client({ keepaliveIntervalMs: 10_000, keepaliveTimeoutMs: 20_000 })
  const { clock } = side.wire.io
  let now = Math.ceil(clock.monotonicMs)
  clock.update = () => {
    clock.monotonicMs = now
  }
  ask(side)
  now += 5000
  side.feed(head(1, '200', WHOLE))
  side.said()
  now += 5000
  t.same(
    side.run(() => side.h2.onDeadline(3)),
    [],
    'bytes came 5 s ago',
  )
  now += 5000
  t.same(
    side.run(() => side.h2.onDeadline(3)),
    ['PING'],
  )
  now += 100
  side.feed(frame('PING', 1, 0, Buffer.from([0x68, 0x64, 0x6c, 0, 0, 0, 0, 1])))
  now += 19_900
  side.run(() => side.h2.onDeadline(4))
  t.notOk(side.wire.destroyed)
  now += 10_000
  t.same(
    side.run(() => side.h2.onDeadline(3)),
    ['PING'],
  )
  side.feed(frame('PING', 1, 0, Buffer.from([0x68, 0x64, 0x6c, 0, 0, 0, 0, 1])))
  now += 20_007
  side.run(() => side.h2.onDeadline(4))
  t.notOk(side.wire.destroyed, 'it answered at once, and the deadline was late')
  now += 10_000
  side.run(() => side.h2.onDeadline(3))
  now += 20_001
  side.run(() => side.h2.onDeadline(4))
  t.ok(side.wire.destroyed)
  t.equal(side.log.at(-1), '1 reset -1')
})

t.test('CONNECT, plain and extended', async (t) => {
  const side = client()
  const s = ask(side, 'POST', '/x', '', false)
  s.reset(8)
  side.said()
  side.run(() => {
    side.h2.request(s.events, 'CONNECT', '', 'a:443', '', '', new HeaderMap(), '', '', false)
    side.h2.request(
      s.events,
      'CONNECT',
      'http',
      'a',
      '/chat',
      'websocket',
      new HeaderMap(),
      'sec-websocket-version: 13\r\n',
      '',
      false,
    )
  })
  t.equal(side.h2.streams.size, 2)
  side.feed(settings([8, 1]))
  t.ok(side.h2.peer.connectProtocol)
})

// A POST was sent twice: the endpoint had ended its side while the first stood in line, was not told so, and read on.
t.test('what waits for the end of the turn does not leave once the endpoint has ended its side', async (t) => {
  const side = client()
  const { io, connection } = side.wire
  connection.gathers = true
  ask(side, 'POST')
  const before = connection.bytesWritten
  t.equal(side.wire.take().length, 0, 'it waits')
  io.run('end', () => side.h2.onEnd())
  t.equal(connection.bytesWritten, before, 'so its owner takes it for unsent')
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  t.equal(side.wire.take().length, 0)
})
