// gRPC-Web of a browser through a gateway of YAML to a server by grpc-js: frames are made and read by hand (PROTOCOL-WEB.md of gRPC).
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { GrpcServer } from '../support/grpc.ts'
import { header, type ResponseMessage } from '../support/h1-reader.ts'
import { gateway, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

let server: GrpcServer
let proxy: HeddleProcess

t.before(async () => {
  server = await GrpcServer.start(t, 'one')
  proxy = await startProxy(t, {
    resources: yaml(
      gateway('edge', [
        { port: { number: 8080, name: 'web', protocol: 'GRPC-WEB' }, hosts: ['*'] },
        { port: { number: 9090, name: 'plain', protocol: 'HTTP' }, hosts: ['*'] },
      ]),
      service({ host: 'echo', protocol: 'GRPC', endpoints: [server] }),
      virtualService('echo', ['echo.test'], [{ route: [{ destination: { host: 'echo' } }] }], { gateways: ['edge'] }),
    ),
    listeners: [],
    bootstrap: {
      role: 'gateway',
      workload: { labels: { istio: 'ingress' } },
      gateway: { address: '127.0.0.1', ports: { 8080: 0, 9090: 0 } },
    },
  })
})

function frame(flags: number, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content)
  const head = Buffer.alloc(5)
  head[0] = flags
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

/** Messages, and trailers as text. */
function framesOf(body: Buffer): readonly (readonly [flags: number, text: string])[] {
  const frames: [number, string][] = []
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1)
    frames.push([body[at]!, body.toString('latin1', at + 5, end)])
    at = end
  }
  return frames
}

const TEXT = 'application/grpc-web-text'
const call = (type: string, body: Buffer | string, method = 'Unary', more: Record<string, string> = {}) => ({
  method: 'POST',
  target: `/test.Echo/${method}`,
  host: 'echo.test',
  headers: { 'content-type': type, 'x-grpc-web': '1', ...more },
  body,
})
/** base64 of several parts: each may have padding of its own. */
const fromText = ({ body }: ResponseMessage): Buffer =>
  Buffer.concat(
    body
      .toString('latin1')
      .split(/(?<==)(?!=)/)
      .map((part) => Buffer.from(part, 'base64')),
  )

t.test('calls of browsers', async (t) => {
  const port = proxy.port('0.0.0.0_8080')
  const unary = await askAny(t, port, call('application/grpc-web+proto', frame(0, 'hello')))
  t.equal(unary.status, 200)
  t.equal(header(unary, 'content-type'), 'application/grpc-web+proto')
  t.match(framesOf(unary.body), [
    [0, 'one:hello'],
    [0x80, /^grpc-status:0\r\n/],
  ])

  const stream = await askAny(t, port, call(TEXT, frame(0, 'x').toString('base64'), 'Expand', { accept: TEXT }))
  t.equal(header(stream, 'content-type'), `${TEXT}+proto`)
  t.match(framesOf(fromText(stream)), [
    [0, 'one:x0'],
    [0, 'one:x1'],
    [0, 'one:x2'],
    [0x80, /grpc-status:0/],
  ])

  server.moves.unary = (_call, done) => done({ code: grpc.status.NOT_FOUND, details: 'gone' })
  const failed = await askAny(t, port, call('application/grpc-web', frame(0, 'x')))
  const told = header(failed, 'grpc-status') ?? /grpc-status:(\d+)/.exec(failed.body.toString('latin1'))?.[1]
  t.equal(told, '5')
})

t.test('text that comes in any pieces', async (t) => {
  server.moves.unary = (c, done) => done(null, server.say(c.request))
  const body = frame(0, 'of several characters').toString('base64')
  for (const size of [1, 3, 5]) {
    const client = await connectAny(t, proxy.port('0.0.0.0_8080'))
    const head = `POST /test.Echo/Unary HTTP/1.1\r\nhost: echo.test\r\ncontent-type: ${TEXT}\r\ncontent-length: ${body.length}\r\n\r\n`
    client.expectMethod('POST')
    await client.write(head)
    for (let at = 0; at < body.length; at += size) await client.write(body.slice(at, at + size))
    t.match(framesOf((await client.response()).body)[0], [0, 'one:of several characters'], `of ${size}`)
    client.destroy()
  }
})

t.test('what is not gRPC-Web, and where nobody asked for it', async (t) => {
  const missing = await askAny(t, proxy.port('0.0.0.0_8080'), {
    ...call('application/grpc-web', frame(0, 'x')),
    host: 'nowhere.test',
  })
  t.equal(missing.status, 404)
  t.equal(header(missing, 'content-type'), 'application/grpc-web+proto')
  const broken = await askAny(t, proxy.port('0.0.0.0_8080'), call(TEXT, '%%%%'))
  t.same([broken.status, header(broken, 'grpc-status')], [400, '13'])
  const plain = await askAny(t, proxy.port('0.0.0.0_9090'), call('application/grpc-web', frame(0, 'x')))
  t.not(header(plain, 'content-type'), 'application/grpc-web+proto', 'it is passed on as it is')
})
