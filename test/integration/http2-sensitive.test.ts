// Fields that their sender wants in no table of any hop (RFC 7541 §7.1.3): they stay so on both sides of the proxy.
import http2 from 'node:http2'
import type net from 'node:net'
import t from 'tap'
import { within } from '../support/eventually.ts'
import { service, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'

/** Names that came as never indexed. */
function sensitive(headers: object): readonly string[] {
  return (headers as Record<symbol, string[]>)[http2.sensitiveHeaders] ?? []
}

t.test('never indexed in, never indexed out; what was not, is not', async (t) => {
  const seen: (readonly string[])[] = []
  const server = http2.createServer()
  server.on('stream', (stream, headers) => {
    seen.push(sensitive(headers))
    stream.respond({ ':status': 200, 'x-session': 'abc', 'x-plain': 'b', [http2.sensitiveHeaders]: ['x-session'] })
    stream.end('ok')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const address = `127.0.0.1:${(server.address() as net.AddressInfo).port}`
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [{ address }], protocol: 'HTTP2' })),
    bootstrap: { concurrency: 1 },
  })
  const session = http2.connect(`http://127.0.0.1:${proxy.port()}`)
  t.teardown(() => session.destroy())
  const ask = (headers: http2.OutgoingHttpHeaders) =>
    within(
      'a response',
      new Promise<readonly string[]>((resolve, reject) => {
        const stream = session.request({ ':path': '/', ':authority': 'web', ...headers })
        stream.on('response', (h) => resolve(sensitive(h)))
        stream.on('error', reject)
        stream.resume()
        stream.end()
      }),
    )
  const token = { 'x-token': 't', 'x-open': 'o', [http2.sensitiveHeaders]: ['x-token'] }
  t.same(await ask(token), ['x-session'])
  t.same(await ask(token), ['x-session'], 'again, with what the tables have learnt')
  t.same(await ask({ 'x-token': 't', 'x-open': 'o' }), ['x-session'])
  t.same(seen, [['x-token'], ['x-token'], []])
})
