// Streams of gRPC that are large, slow or long: bounded memory in both directions, and what reloads, changing endpoints, drains, pings and idle
// timeouts do to them.
import http2 from 'node:http2'
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { eventually, pause, within } from '../support/eventually.ts'
import { ended, GrpcClient, GrpcServer } from '../support/grpc.ts'
import { framed, Http2Upstream, inTrailers } from '../support/http2-upstream.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(180_000)

const MIB = 1024 * 1024
/** Without progress for this long, the other side has stopped reading. */
const STALL_MS = 400
/** Far above what the windows of two hops and the kernels' buffers hold. */
const ALL = 96 * MIB
const HELD = 48 * MIB

const HEADERS = (authority: string): http2.OutgoingHttpHeaders => ({
  ':method': 'POST',
  ':path': '/test.Echo/Chat',
  ':authority': authority,
  'content-type': 'application/grpc',
  te: 'trailers',
})

/** A stream on a connection of its own. */
function call(t: Teardown, proxy: HeddleProcess, authority: string): http2.ClientHttp2Stream {
  const session = http2.connect(`http://127.0.0.1:${proxy.port()}`)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const stream = session.request(HEADERS(authority))
  stream.on('error', () => {})
  return stream
}

/** Writes as much as is taken, up to `max` bytes. */
function pour(stream: http2.Http2Stream, max: number, note: (sent: number) => void): void {
  const piece = Buffer.alloc(64 * 1024, 'p')
  let sent = 0
  const more = () => {
    while (sent < max) {
      sent += piece.length
      note(sent)
      if (!stream.write(piece)) {
        stream.once('drain', more)
        return
      }
    }
    stream.end()
  }
  more()
}

/** Reads to the end; how many bytes that were. */
function drained(stream: http2.Http2Stream): Promise<number> {
  let bytes = 0
  stream.on('data', (d: Buffer) => {
    bytes += d.length
  })
  return new Promise((resolve) => stream.on('end', () => resolve(bytes)))
}

const start = async (t: Teardown, bootstrap: Record<string, unknown> = {}) => {
  const one = await GrpcServer.start(t, 'one')
  const two = await GrpcServer.start(t, 'two')
  const slow = await Http2Upstream.start(t)
  const resources = (endpoints: readonly GrpcServer[], timeout = '0s') =>
    yaml(
      service({ host: 'echo', protocol: 'GRPC', endpoints: [...endpoints] }),
      service({ host: 'slow', protocol: 'GRPC', endpoints: [slow] }),
      virtualService('echo', ['echo'], [{ route: [{ destination: { host: 'echo' } }], timeout, retries: { attempts: 0 } }]),
    )
  const proxy = await startProxy(t, { resources: resources([one]), bootstrap })
  return { one, two, slow, proxy, resources }
}

/** A chat that is open, and what came of it. */
async function openChat(t: Teardown, proxy: HeddleProcess, options: grpc.ChannelOptions = {}) {
  const client = new GrpcClient(t, proxy.port(), 'echo', options)
  const chat = client.chat()
  const heard: string[] = []
  chat.on('data', (d: Buffer) => heard.push(d.toString()))
  chat.on('error', () => {})
  const status = new Promise<grpc.StatusObject>((resolve) => chat.on('status', resolve))
  const say = async (word: string): Promise<string> => {
    const before = heard.length
    chat.write(Buffer.from(word))
    await eventually(`an answer to ${word}`, () => heard.length > before)
    return heard.at(-1) as string
  }
  await say('open')
  return { client, chat, heard, status, say }
}

const rss = async (proxy: HeddleProcess) => (await proxy.metrics()).value('process_resident_memory_bytes') as number

t.test('with one proxy', async (t) => {
  const { one, two, slow, proxy, resources } = await start(t)

  t.test('messages of 4 MiB, in both directions', async (t) => {
    const client = new GrpcClient(t, proxy.port(), 'echo')
    const large = Buffer.alloc(4 * MIB, 'abcdefg')
    const got = await client.unary(large)
    t.equal(got.code, grpc.status.OK)
    t.ok(got.messages[0]?.equals(one.say(large)))
  })

  // grpc-js keeps what nobody reads in its memory: slow ends are by node:http2.

  t.test('a client that does not read stops the server, and gets everything once it reads', async (t) => {
    let sent = 0
    slow.onStream = ({ stream }) => {
      // Node resets a stream whose request nobody has read, and forgets to end it.
      stream.resume()
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      pour(stream, ALL, (bytes) => {
        sent = bytes
      })
    }
    const before = await rss(proxy)
    const stream = call(t, proxy, 'slow')
    stream.end(framed('x'))
    await stalls(() => sent)
    t.ok(sent < HELD, `stopped after ${sent} bytes`)
    t.ok((await rss(proxy)) - before < HELD, 'the proxy does not keep them')
    t.equal(await drained(stream), ALL)
  })

  t.test('a server that does not read stops the client, and gets everything once it reads', async (t) => {
    const before = await rss(proxy)
    slow.startAfresh()
    slow.onStream = () => {}
    const stream = call(t, proxy, 'slow')
    let sent = 0
    pour(stream, ALL, (bytes) => {
      sent = bytes
    })
    await stalls(() => sent)
    t.ok(sent < HELD, `stopped after ${sent} bytes`)
    t.ok((await rss(proxy)) - before < HELD, 'the proxy does not keep them')
    const { stream: taken } = slow.seen[0] as (typeof slow.seen)[number]
    t.equal(await drained(taken), ALL)
    taken.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true })
    stream.resume()
  })

  t.test('a stream that is stuck does not hold up the others of its connections', async (t) => {
    let sent = 0
    slow.startAfresh()
    slow.onStream = ({ stream }, nth) => {
      stream.resume()
      if (nth > 1) {
        inTrailers(stream, 0, 'y'.repeat(100_000))
        return
      }
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      pour(stream, ALL, (bytes) => {
        sent = bytes
      })
    }
    const stuck = call(t, proxy, 'slow')
    const session = stuck.session as http2.ClientHttp2Session
    await new Promise((resolve) => session.once('connect', resolve))
    // Node's window of a connection is as small as that of one stream.
    session.setLocalWindowSize(16 * MIB)
    stuck.end(framed('x'))
    await stalls(() => sent)
    for (let i = 0; i < 20; i++) {
      const next = session.request(HEADERS('slow'))
      next.end(framed('u'.repeat(100_000)))
      // A stream that cannot move is reset after 30 s, and would let them go on then.
      t.equal(await within('a call beside it', drained(next), 15_000), 100_005)
    }
    stuck.close(8)
    await slow.seen[0]?.closed
  })

  t.test('a reload and endpoints that come and go leave an open stream alone', async (t) => {
    const { say, chat, status } = await openChat(t, proxy)
    t.equal(await say('a'), 'one:a')
    await proxy.reload({ 'mesh.yaml': resources([one], '20s') })
    t.equal(await say('b'), 'one:b', 'another route')
    await proxy.reload({ 'mesh.yaml': resources([two]) })
    t.equal(await say('c'), 'one:c', 'its endpoint is gone for others')
    const client = new GrpcClient(t, proxy.port(), 'echo')
    t.equal((await client.unary('x')).messages[0]?.toString(), 'two:x', 'and a new call goes elsewhere')
    await proxy.reload({ 'mesh.yaml': resources([one, two]) })
    t.equal(await say('d'), 'one:d')
    await proxy.reload({ 'mesh.yaml': resources([one]) })
    chat.end()
    t.equal((await status).code, grpc.status.OK)
  })

  t.test('many pings of an honest client are no flood', async (t) => {
    const session = http2.connect(`http://127.0.0.1:${proxy.port()}`)
    t.teardown(() => session.destroy())
    await new Promise((resolve) => session.once('connect', resolve))
    const ping = () => new Promise<Error | null>((resolve) => session.ping((error) => resolve(error)))
    let failed = 0
    for (let i = 0; i < 500; i++) if ((await ping()) !== null) failed++
    t.equal(failed, 0)
  })

  t.test('a client with keepalive keeps its stream', async (t) => {
    const { say, chat, status } = await openChat(t, proxy, {
      'grpc.keepalive_time_ms': 20,
      'grpc.keepalive_timeout_ms': 2000,
      'grpc.keepalive_permit_without_calls': 1,
    })
    for (let i = 0; i < 10; i++) {
      await pause(30)
      t.equal(await say(String(i)), `one:${i}`)
    }
    chat.end()
    t.equal((await status).code, grpc.status.OK)
  })
})

t.test('the end of the proxy: GOAWAY, a stream goes on until the deadline, and new calls have no place', async (t) => {
  const { proxy } = await start(t, { drain: { deadline: '1s' } })
  const session = http2.connect(`http://127.0.0.1:${proxy.port()}`)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const goaway = new Promise<number>((resolve) => session.once('goaway', resolve))
  const { say, status } = await openChat(t, proxy)
  const stream = session.request(HEADERS('echo'))
  stream.on('error', () => {})
  const headed = new Promise((resolve) => stream.once('response', resolve))
  stream.write(Buffer.from([0, 0, 0, 0, 1, 0x61]))
  await headed
  proxy.signal('SIGTERM')
  t.equal(await goaway, 0, 'NO_ERROR')
  t.equal(await say('still'), 'one:still')
  const { code } = await status
  t.ok([grpc.status.UNAVAILABLE, grpc.status.INTERNAL, grpc.status.CANCELLED].includes(code), `cut at the deadline: ${code}`)
  t.equal((await proxy.exited).signal, null)
})

t.test('a stream that ends in time lets the proxy end early', async (t) => {
  const { proxy } = await start(t, { drain: { deadline: '30s' } })
  const { say, chat, status } = await openChat(t, proxy)
  proxy.signal('SIGTERM')
  await proxy.said(/draining/)
  t.equal(await say('last'), 'one:last')
  chat.end()
  t.equal((await status).code, grpc.status.OK)
  t.same(await proxy.exited, { code: 0, signal: null })
})

t.test('a stream on which nothing moves', async (t) => {
  const silent = await Http2Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'echo', protocol: 'GRPC', endpoints: [silent] })),
    bootstrap: { limits: { streamIdleTimeout: '1s' } },
  })
  silent.onStream = () => {}
  const client = new GrpcClient(t, proxy.port(), 'echo')
  const unary = await client.unary('x', { metadata: { 'x-request-id': 'complete' } })
  t.same([unary.code, unary.details], [grpc.status.UNAVAILABLE, 'stream timeout'], 'complete: 504')
  const chat = client.chat({ metadata: { 'x-request-id': 'incomplete' } })
  t.same(
    await ended(chat).then(({ code, details }) => [code, details]),
    [grpc.status.UNKNOWN, 'stream timeout'],
    'incomplete: 408',
  )
  for (const request_id of ['complete', 'incomplete']) t.match(await proxy.logged({ request_id }), { response_flags: 'SI' })
  t.equal(await silent.seen[0]?.closed, 8)
})

/** Until a count has not moved for a while; a machine that is slow makes it return early, never late. */
async function stalls(count: () => number): Promise<void> {
  let last = -1
  while (count() !== last) {
    last = count()
    await pause(STALL_MS)
  }
}
