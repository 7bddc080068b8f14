// An HTTP/2 upstream that ends at any byte and resets at any frame: each request is answered whole or cut, the log says why, and nothing is left.
import net from 'node:net'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { Http2Client } from '../support/http2-client.ts'
import { block, END, frame, frames, settings, u32, WHOLE } from '../support/http2-frames.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'

t.setTimeout(120_000)

/** What is done with the nth request of all. `id` is its stream. */
type Act = (socket: net.Socket, id: number, nth: number) => void

/** Greets, acknowledges, and leaves the rest to `act`. */
class FrameUpstream {
  readonly address: string
  requests: number
  act: Act

  private constructor(server: net.Server) {
    this.address = `127.0.0.1:${(server.address() as net.AddressInfo).port}`
    this.requests = 0
    this.act = () => {}
    server.on('connection', (socket: net.Socket) => this.serve(socket))
  }

  static async start(t: Teardown): Promise<FrameUpstream> {
    const server = net.createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const upstream = new FrameUpstream(server)
    server.on('connection', (socket: net.Socket) => t.teardown(() => socket.destroy()))
    t.teardown(() => server.close())
    return upstream
  }

  private serve(socket: net.Socket): void {
    let got = Buffer.alloc(0)
    let seen = 0
    socket.on('error', () => {})
    socket.write(Buffer.concat([settings(), frame('SETTINGS', 1, 0)]))
    socket.on('data', (d) => {
      got = Buffer.concat([got, d])
      const heads = frames(got).filter((f) => f.type === 'HEADERS')
      for (const head of heads.slice(seen)) {
        seen++
        this.act(socket, head.id, this.requests++)
      }
    })
  }
}

const start = (t: Teardown, upstream: FrameUpstream, retries: object = { attempts: 0 }): Promise<HeddleProcess> =>
  startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream], protocol: 'HTTP2' }),
      destinationRule('web', 'web', { trafficPolicy: { connectionPool: { http: { http2MaxRequests: 50 } } } }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries }]),
    ),
    bootstrap: { concurrency: 1 },
  })

/** The frames of a whole answer on a stream. */
const answer = (id: number): Buffer[] => [
  frame('HEADERS', WHOLE, id, block([':status', '103'], ['link', '</a>'])),
  frame('HEADERS', WHOLE, id, block([':status', '200'], ['x-mark', 'yes'])),
  frame('DATA', 0, id, 'first '),
  frame('DATA', 0, id, 'second'),
  frame('HEADERS', END | WHOLE, id, block(['x-end', 'yes'])),
]
const TEXT = 'first second'
/** Bytes until the head of the final response is whole, and all of them. */
const HEAD = Buffer.concat(answer(1).slice(0, 2)).length
const ALL = Buffer.concat(answer(1)).length

const CLUSTER = { cluster_name: 'outbound|80||web.default.svc.cluster.local' }

async function nothingLeft(proxy: HeddleProcess): Promise<void> {
  const left = async (name: string) => (await proxy.metrics()).value(`envoy_cluster_upstream_${name}`, CLUSTER)
  await eventually(
    'no request to be left',
    async () => (await left('rq_active')) === 0 && (await left('rq_pending_active')) === 0,
  )
}

t.test('the connection ends behind every byte of an answer', async (t) => {
  const upstream = await FrameUpstream.start(t)
  const proxy = await start(t, upstream)
  const two = await Http2Client.connect(t, proxy.port())
  for (let n = 0; n <= ALL; n++) {
    upstream.act = (socket, id) => {
      socket.write(Buffer.concat(answer(id)).subarray(0, n), () => (n % 2 === 0 ? socket.end() : socket.resetAndDestroy()))
    }
    const target = `/byte/${n}`
    const call = two.call({ host: 'web', target })
    await call.ended()
    const { status, complete, body } = call.message
    // A RST may overtake what was sent before it: then less has come, and never more.
    if (n === ALL && n % 2 === 0) t.same([status, complete, body.toString()], [200, true, TEXT], target)
    else if (n < HEAD) t.equal(status, 503, target)
    else
      t.ok(
        status === 503 || (status === 200 && (complete === (n === ALL) || !complete) && TEXT.startsWith(body.toString())),
        target,
      )
  }
  for (let n = 0; n < ALL; n++) t.match(await proxy.logged({ path: `/byte/${n}` }), { response_flags: 'UC' })
  await nothingLeft(proxy)
})

t.test('a stream is reset before and behind every frame, with every code; the connection goes on', async (t) => {
  const upstream = await FrameUpstream.start(t)
  const proxy = await start(t, upstream)
  const one = await RawClient.connect(t, proxy.port())
  const two = await Http2Client.connect(t, proxy.port())
  for (let n = 0; n < 5; n++) {
    for (let code = 0; code <= 13; code++) {
      upstream.act = (socket, id) => {
        socket.write(Buffer.concat([...answer(id).slice(0, n), frame('RST_STREAM', 0, id, u32(code))]))
      }
      const target = `/reset/${n}/${code}`
      const call = two.call({ host: 'web', target })
      await call.ended()
      t.equal(call.message.status, n < 2 ? 503 : 200, target)
      t.equal(call.message.complete, n < 2, target)
    }
  }
  for (let n = 0; n < 5; n++)
    for (let code = 0; code <= 13; code++) t.match(await proxy.logged({ path: `/reset/${n}/${code}` }), { response_flags: 'UR' })
  // Behind its end a reset is about the rest of the request only (RFC 9113 §8.1).
  upstream.act = (socket, id) => {
    socket.write(Buffer.concat([...answer(id), frame('RST_STREAM', 0, id, u32(0))]))
  }
  t.equal((await one.ask({ host: 'web', target: '/whole' })).body.toString(), TEXT)
  await nothingLeft(proxy)
  t.equal((await proxy.metrics()).value('envoy_cluster_upstream_cx_total', CLUSTER), 1)
})

t.test('GOAWAY before and behind every frame: the stream is taken or is not', async (t) => {
  const upstream = await FrameUpstream.start(t)
  const proxy = await start(t, upstream, { attempts: 1, retryOn: 'refused-stream' })
  const two = await Http2Client.connect(t, proxy.port())
  for (let n = 0; n <= 5; n++) {
    for (const taken of [true, false]) {
      for (const closes of [true, false]) {
        let times = 0
        upstream.act = (socket, id) => {
          const parts = answer(id)
          if (++times > 1) socket.write(Buffer.concat(parts))
          else {
            const goaway = frame('GOAWAY', 0, 0, u32(taken ? id : id - 1, 0))
            const rest = taken ? parts.slice(n) : []
            socket.write(Buffer.concat([...parts.slice(0, n), goaway, ...rest]), () => closes && socket.end())
          }
        }
        const target = `/goaway/${n}/${taken}/${closes}`
        const call = two.call({ host: 'web', target, method: 'POST', body: 'once' })
        await call.ended()
        const { status, body, complete } = call.message
        // What has not been told to the client yet is asked for again, also a POST: the upstream says that it did nothing. A 103 was told.
        if (taken || n === 0 || n === 5) t.same([status, complete, body.toString()], [200, true, TEXT], target)
        else if (n === 1) t.equal(status, 503, target)
        else t.same([status, complete], [200, false], target)
        t.equal(times, !taken && n === 0 ? 2 : 1, target)
      }
    }
  }
  await nothingLeft(proxy)
})

t.test('an upstream that stalls: the timeout of the route answers, and the stream is given up alone', async (t) => {
  const upstream = await FrameUpstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream], protocol: 'HTTP2' }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], timeout: '200ms', retries: { attempts: 0 } }]),
    ),
    bootstrap: { concurrency: 1 },
  })
  const two = await Http2Client.connect(t, proxy.port())
  for (let n = 0; n < 5; n++) {
    upstream.act = (socket, id, nth) => socket.write(Buffer.concat(nth % 2 === 0 ? answer(id).slice(0, n) : answer(id)))
    const call = two.call({ host: 'web', target: `/stall/${n}` })
    const other = two.call({ host: 'web', target: `/quick/${n}` })
    t.equal((await other.response()).body.toString(), TEXT)
    await call.ended()
    t.same([call.message.status, call.message.complete], n < 2 ? [504, true] : [200, false], `${n} frames`)
    t.match(await proxy.logged({ path: `/stall/${n}` }), { response_flags: 'UT' })
  }
  await nothingLeft(proxy)
  t.equal((await proxy.metrics()).value('envoy_cluster_upstream_cx_total', CLUSTER), 1)
})
