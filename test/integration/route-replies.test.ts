// Redirects and direct responses: the route answers, no upstream is asked (Istio HTTPRedirect and Istio HTTPDirectResponse).
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { EMPTY_LENGTH, HTTP1_ONLY } from '../support/versions.ts'

let upstream: EchoUpstream
let proxy: HeddleProcess

const on = (prefix: string, more: object) => ({ match: [{ uri: { prefix } }], ...more })

t.before(async () => {
  upstream = await EchoUpstream.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      virtualService(
        'web',
        ['web'],
        [
          on('/uri', { redirect: { uri: '/new' } }),
          on('/query', { redirect: { uri: '/new?own=1' } }),
          on('/host', { redirect: { authority: 'other.example' } }),
          on('/scheme', { redirect: { scheme: 'https' } }),
          on('/port', { redirect: { authority: 'other.example', port: 8443, scheme: 'https' } }),
          on('/code', { redirect: { uri: '/new', redirectCode: 308 } }),
          on('/edited', {
            redirect: { uri: '/new' },
            headers: { response: { set: { 'x-edit': 'yes' } } },
          }),
          on('/text', { directResponse: { status: 418, body: { string: 'short and stout' } } }),
          on('/bytes', {
            directResponse: { status: 200, body: { bytes: Buffer.from('{"a":1}').toString('base64') } },
            headers: { response: { set: { 'content-type': 'application/json' } } },
          }),
          on('/empty', { directResponse: { status: 204 } }),
          { route: [{ destination: { host: 'web' } }] },
        ],
      ),
    ),
  })
})

t.test('Location', async (t) => {
  const rows: readonly [target: string, host: string, location: string, status: number][] = [
    ['/uri/x', 'web', 'http://web/new', 301],
    ['/uri/x?q=1', 'web', 'http://web/new?q=1', 301],
    ['/query?q=1', 'web', 'http://web/new?own=1', 301],
    ['/host/x?q=1', 'web:80', 'http://other.example/host/x?q=1', 301],
    ['/scheme', 'web:80', 'https://web/scheme', 301],
    ['/port', 'web', 'https://other.example:8443/port', 301],
    ['/code', 'web', 'http://web/new', 308],
  ]
  for (const [target, host, location, status] of rows) {
    const answer = await askAny(t, proxy.port(), { host, target })
    t.same([answer.status, header(answer, 'location'), answer.body.length], [status, location, 0], `${host}${target}`)
    t.equal(header(answer, 'content-length'), EMPTY_LENGTH)
    t.match(await proxy.logged({ path: target }), {
      response_code_details: 'direct_response',
      response_flags: '-',
      upstream_host: null,
    })
  }
  t.equal(upstream.seen.length, 0)
})

t.test('edits of the response apply', async (t) => {
  t.equal(header(await askAny(t, proxy.port(), { host: 'web', target: '/edited' }), 'x-edit'), 'yes')
})

t.test('direct responses', async (t) => {
  const text = await askAny(t, proxy.port(), { host: 'web', target: '/text' })
  t.same([text.status, text.body.toString(), header(text, 'content-type')], [418, 'short and stout', 'text/plain'])
  const bytes = await askAny(t, proxy.port(), { host: 'web', target: '/bytes' })
  t.same([bytes.body.toString(), header(bytes, 'content-type')], ['{"a":1}', 'application/json'])
  const empty = await askAny(t, proxy.port(), { host: 'web', target: '/empty' })
  t.same([empty.status, header(empty, 'content-length')], [204, undefined])
  const head = await askAny(t, proxy.port(), { method: 'HEAD', host: 'web', target: '/text' })
  t.same([head.status, header(head, 'content-length'), head.body.length], [418, '15', 0])
  t.equal(upstream.seen.length, 0)
})

t.test('a body that comes along', { skip: HTTP1_ONLY }, async (t) => {
  const client = await connectAny(t, proxy.port())
  const small = await client.ask({ method: 'POST', host: 'web', target: '/text', body: 'x'.repeat(10) })
  t.equal(small.status, 418)
  const unread = await connectAny(t, proxy.port())
  unread.expectMethod('POST')
  await unread.write('POST /text HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\npart')
  const answer = await unread.response()
  t.same([answer.status, header(answer, 'connection')], [418, 'close'])
  t.equal(await unread.closed(), 'end')
})
