// gRPC-Web through Envoy's filter and through heddle's: the same requests, written by hand, to an upstream of Node's HTTP/2.
import { once } from 'node:events'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { findEnvoy } from '../support/envoy.ts'
import { Beside, type Said, staticCluster } from '../support/envoy-beside.ts'
import { header } from '../support/h1-reader.ts'
import { type Http2Exchange, Http2Server } from '../support/http2-server.ts'
import { httpFilter } from '../support/xds-json.ts'

const skip = findEnvoy() === null ? 'no Envoy: set ENVOY to one (bench/README.md says whence)' : ''

const WEB = 'application/grpc-web'
const PROTO = `${WEB}+proto`
const TEXT = `${WEB}-text`
const TEXT_PROTO = `${TEXT}+proto`
/** One message of three bytes, and its frame. */
const MESSAGE = Buffer.from([0, 0, 0, 0, 3, 9, 8, 7])
const ONE = Buffer.from([0, 0, 0, 0, 1, 7])
const HTTP2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
}
const GRPC = 'application/grpc'

type Answer = (exchange: Http2Exchange) => void
const withTrailers =
  (trailers: object, ...parts: readonly Buffer[]): Answer =>
  ({ stream }) => {
    stream.respond({ ':status': 200, 'content-type': GRPC }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(trailers as never))
    for (const part of parts) stream.write(part)
    stream.end()
  }
const ANSWERS: Readonly<Record<string, Answer>> = {
  '/ok': withTrailers({ 'grpc-status': '0', 'grpc-message': 'fine', 'x-bin-bin': 'AAA', multi: ['a', 'b'] }, MESSAGE, ONE),
  '/failed': withTrailers({ 'grpc-status': '7' }),
  '/only': ({ stream }) =>
    stream.respond(
      { ':status': 200, 'content-type': GRPC, 'grpc-status': '5', 'grpc-message': 'not%20here', 'x-custom': 'c' },
      { endStream: true },
    ),
  '/http': (e) => e.answer(200, 'hel\tlo, Zoë', { 'content-type': 'text/plain' }),
  '/http500': (e) => e.answer(500, 'oops bad', { 'content-type': 'text/plain' }),
  '/http404': ({ stream }) => stream.respond({ ':status': 404 }, { endStream: true }),
  '/grpc500': (e) => e.answer(500, 'x', { 'content-type': GRPC }),
  '/notrailers': (e) => e.answer(200, ONE, { 'content-type': `${GRPC}+proto` }),
  '/length': ({ stream }) => {
    stream.respond({ ':status': 200, 'content-type': GRPC, 'content-length': ONE.length }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(ONE)
  },
}

const COMPARED = ['content-type', 'grpc-status', 'grpc-message', 'content-length', 'transfer-encoding', 'x-custom', 'location']

/** Parts may be encoded each by itself. */
function decoded(text: string): Buffer {
  return Buffer.concat(text.split(/(?<==)(?!=)/).map((part) => Buffer.from(part, 'base64')))
}

function compared({ answer, code, flags, details }: Said): object {
  const type = header(answer, 'content-type') ?? ''
  return {
    status: answer.status,
    log: [code, flags, details],
    headers: COMPARED.map((name) => [name, header(answer, name)]),
    body: (type.startsWith(TEXT) ? decoded(answer.body.toString('latin1')) : answer.body).toString('latin1'),
    trailers: answer.trailers,
  }
}

t.test('gRPC-Web is translated as by Envoy', { skip }, async (t) => {
  const seen: object[] = []
  const upstream = await Http2Server.start(t, {
    handler: async (e) => {
      e.read()
      await once(e.stream, 'end').catch(() => {})
      // What is no base64 is not heard to its end.
      if (e.stream.destroyed) return
      const { body } = e
      const names = ['content-type', 'te', 'accept', 'grpc-accept-encoding', 'content-length', 'grpc-timeout']
      seen.push([e.path, names.map((name) => e.headers[name]), body.toString('latin1')])
      ANSWERS[e.path]?.(e)
    },
  })
  const echo = await EchoUpstream.start(t)
  // As istiod says them.
  const timeouts = { timeout: '15s', max_grpc_timeout: '15s' }
  const beside = await Beside.start(t, {
    filters: [httpFilter('http.grpc_web.v3.GrpcWeb')],
    routes: [
      { match: { prefix: '/echo' }, route: { cluster: 'echo' } },
      { match: { prefix: '/dead' }, route: { cluster: 'dead' } },
      { match: { prefix: '/direct' }, direct_response: { status: 403, body: { inline_string: 'no!' } } },
      { match: { prefix: '/moved' }, redirect: { path_redirect: '/x' } },
      { match: { prefix: '/nowhere', headers: [{ name: 'x-never', present_match: true }] }, route: { cluster: 'c' } },
      {
        match: { safe_regex: { regex: '/(ok|failed|only|http.*|grpc500|notrailers|length)' } },
        route: { cluster: 'c', ...timeouts },
      },
    ],
    clusters: [
      staticCluster('c', [{ host: '127.0.0.1', port: upstream.port }], HTTP2),
      staticCluster('echo', [echo]),
      staticCluster('dead', [{ host: '127.0.0.1', port: 1 }]),
    ],
  })
  const base64 = MESSAGE.toString('base64')
  const binary = { 'content-type': PROTO }
  const text = { 'content-type': TEXT_PROTO, accept: TEXT_PROTO }
  type Row = readonly [target: string, headers: Readonly<Record<string, string>>, body: Buffer | string, method?: string]
  const rows: readonly Row[] = [
    ...[WEB, PROTO].map((type): Row => ['/ok', { 'content-type': type }, MESSAGE]),
    ...[TEXT, TEXT_PROTO].map((type): Row => ['/ok', { 'content-type': type }, base64]),
    // Passed on as they are.
    ...[`${WEB}+json`, `${TEXT}+json`, 'Application/Grpc-Web', `${WEB};charset=utf-8`].map(
      (type): Row => ['/notrailers', { 'content-type': type }, MESSAGE],
    ),
    ['/ok', { 'content-type': PROTO, accept: TEXT_PROTO }, MESSAGE],
    ['/ok', { 'content-type': PROTO, accept: TEXT }, MESSAGE],
    ['/ok', { 'content-type': TEXT_PROTO, accept: PROTO }, base64],
    ['/ok', { 'content-type': PROTO, accept: `text/html, ${TEXT_PROTO}`, te: 'x', 'grpc-accept-encoding': 'gzip' }, MESSAGE],
    ['/ok', { 'content-type': PROTO, 'grpc-timeout': '9S' }, MESSAGE],
    ...Object.keys(ANSWERS).flatMap((path): Row[] => [
      [path, binary, MESSAGE],
      [path, text, base64],
    ]),
    ...['/dead', '/direct', '/moved', '/nowhere'].map((path): Row => [path, binary, MESSAGE]),
    ['/dead', text, base64],
    ['/ok', { 'content-type': TEXT_PROTO }, 'AAAAA'],
    ['/ok', { 'content-type': TEXT_PROTO }, 'AAAAA==='],
    ['/ok', { 'content-type': TEXT_PROTO }, `${base64}AQ==${base64}`],
    ['/ok', { 'content-type': TEXT_PROTO }, ''],
    ['/ok', binary, ''],
    ['/http', binary, MESSAGE, 'GET'],
    ['/echo', { ...binary, 'x-status': '503', 'x-body-bytes': '30' }, MESSAGE],
    ['/echo', { ...binary, 'x-status': '503', 'x-body-bytes': '20000' }, MESSAGE],
  ]
  for (const [target, headers, body, method = 'POST'] of rows) {
    const { envoy, heddle } = await beside.ask(t, { method, target, headers, body })
    const name = `${method} ${target} ${JSON.stringify(headers)} ${String(body).length}`
    t.same(compared(heddle), compared(envoy), name)
    if (target === '/echo') {
      const [theirs, ours] = echo.seen
        .splice(0)
        .map((e) => [e.body, header(e as never, 'content-type'), header(e as never, 'te')])
      t.same(ours, theirs, `${name}: upstream`)
    } else if (seen.length % 2 === 0) {
      const [theirs, ours] = seen.splice(0)
      t.same(ours, theirs, `${name}: upstream`)
    } else seen.length = 0
  }
  t.same(beside.heddle.errors, [])
})
