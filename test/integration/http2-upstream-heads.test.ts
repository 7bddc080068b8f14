// What of a request's head an upstream is told in the words of its version, and what it may say before its answer.
import type { IncomingHttpHeaders } from 'node:http2'
import t from 'tap'
import { header } from '../support/h1-reader.ts'
import { Http2Client } from '../support/http2-client.ts'
import { Http2Server } from '../support/http2-server.ts'
import { service, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

let two: Http2Server
let one: Upstream
let proxy: HeddleProcess

/** 103s before the answer, as many as the path says. */
const interim = (target: string) => Number(target.slice(1) || 0)

async function answerHttp1(e: Exchange): Promise<void> {
  await e.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(interim(e.request.target)))
  await e.answer({ body: 'x' }).catch(() => {})
}

t.before(async () => {
  two = await Http2Server.start(t, {
    handler: (e) => {
      for (let i = 0; i < interim(e.path); i++) e.stream.additionalHeaders({ ':status': 103 })
      e.answer()
    },
  })
  one = await Upstream.start(t, (e) => void answerHttp1(e))
  proxy = await startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [two], protocol: 'HTTP2' }), service({ host: 'one', endpoints: [one] })),
    bootstrap: { concurrency: 1 },
  })
})

/** What Envoy 1.40 sends on with the configuration that istiod makes of such a service: of the request, [:scheme, x-forwarded-proto]. */
const SCHEMES_HTTP1: readonly (readonly [string, string, Record<string, string>, readonly [string, string]])[] = [
  ['nothing is said', '/', {}, ['http', 'http']],
  ['x-forwarded-proto https', '/', { 'X-Forwarded-Proto': 'https' }, ['https', 'https']],
  ['x-forwarded-proto HTTPS', '/', { 'X-Forwarded-Proto': 'HTTPS' }, ['https', 'HTTPS']],
  ['x-forwarded-proto ftp', '/', { 'X-Forwarded-Proto': 'ftp' }, ['http', 'ftp']],
  ['absolute form', 'https://web/', {}, ['https', 'http']],
  ['absolute form in capitals', 'HTTPS://web/', {}, ['https', 'http']],
  ['absolute form before x-forwarded-proto', 'https://web/', { 'X-Forwarded-Proto': 'http' }, ['https', 'http']],
  ['and the other way round', 'http://web/', { 'X-Forwarded-Proto': 'https' }, ['http', 'https']],
]

const SCHEMES_HTTP2: readonly (readonly [string, string, Record<string, string>, readonly [string, string]])[] = [
  ['http', 'http', {}, ['http', 'http']],
  ['https', 'https', {}, ['https', 'http']],
  ['HTTPS', 'HTTPS', {}, ['https', 'http']],
  ['ftp', 'ftp', {}, ['http', 'http']],
  ['ftp, and x-forwarded-proto https', 'ftp', { 'x-forwarded-proto': 'https' }, ['https', 'https']],
  ['https, and x-forwarded-proto http', 'https', { 'x-forwarded-proto': 'http' }, ['https', 'http']],
  ['https, and x-forwarded-proto ftp', 'https', { 'x-forwarded-proto': 'ftp' }, ['https', 'ftp']],
  ['http, and x-forwarded-proto https', 'http', { 'x-forwarded-proto': 'https' }, ['http', 'https']],
]

t.test('the scheme is what the request says of itself, and without that what a proxy in front has noted', async (t) => {
  const sent = () => {
    const { headers } = two.exchanges.at(-1) as { headers: IncomingHttpHeaders }
    return [headers[':scheme'], headers['x-forwarded-proto']]
  }
  for (const [what, target, headers, expected] of SCHEMES_HTTP1) {
    const client = await RawClient.connect(t, proxy.port())
    t.equal((await client.ask({ host: 'web', target, headers })).status, 200)
    t.same(sent(), expected, what)
  }
  const client = await Http2Client.connect(t, proxy.port())
  for (const [what, scheme, headers, expected] of SCHEMES_HTTP2) {
    t.equal((await client.ask({ host: 'web', pseudo: { ':scheme': scheme }, headers })).status, 200)
    t.same(sent(), expected, `:scheme ${what}`)
  }
})

t.test('that there is no body END_STREAM says; a length is passed on, and said only to HTTP/1', async (t) => {
  const http1 = await RawClient.connect(t, proxy.port())
  const http2 = await Http2Client.connect(t, proxy.port())
  for (const [what, method, headers, overHttp2, overHttp1] of [
    ['POST', 'POST', {}, undefined, '0'],
    ['PUT', 'PUT', {}, undefined, '0'],
    ['OPTIONS', 'OPTIONS', {}, undefined, '0'],
    ['DELETE', 'DELETE', {}, undefined, undefined],
    ['POST with content-length 0', 'POST', { 'Content-Length': '0' }, '0', '0'],
  ] as const) {
    for (const [version, client] of [
      ['HTTP/1.1', http1],
      ['HTTP/2', http2],
    ] as const) {
      await client.ask({ method, host: 'web', headers })
      t.equal(two.exchanges.at(-1)?.headers['content-length'], overHttp2, `${what}, ${version} to HTTP/2`)
      await client.ask({ method, host: 'one', headers })
      const last = one.exchanges.at(-1)
      t.equal(last === undefined ? '' : header(last.request, 'content-length'), overHttp1, `${what}, ${version} to HTTP/1.1`)
    }
  }
})

t.test('interim responses without end are a protocol error: 502', async (t) => {
  for (const host of ['one', 'web']) {
    const client = await RawClient.connect(t, proxy.port())
    const fine = await client.ask({ host, target: '/100' })
    t.same([fine.status, fine.informational.length], [200, 100], host)
    t.equal((await client.ask({ host, target: '/101' })).status, 502, host)
    t.match(await proxy.logged({ path: '/101', authority: host }), { response_flags: 'UPE' })
  }
})
