// h2spec --strict against the whole proxy, with an HTTP/1.1 upstream that answers when a request is complete. Cases in which an answer that comes early
// would be read as a fault need such an upstream.
import t from 'tap'
import { EchoUpstream } from '../../support/echo-upstream.ts'
import { service, yaml } from '../../support/mesh.ts'
import { startProxy } from '../../support/proxy.ts'
import { H2SPEC, runH2spec } from './runner.ts'

t.setTimeout(180_000)

t.test('h2spec --strict, through the proxy', { skip: H2SPEC.skip, timeout: 180_000 }, async (t) => {
  const echo = await EchoUpstream.start(t)
  // Where HTTP/1 is spoken as well, what is no preface gets an answer of HTTP/1.
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: '127.0.0.1', endpoints: [echo] })),
    listeners: [{ name: 'out', protocol: 'http2', destinationPort: 80 }],
  })
  const { code, out, failures } = await runH2spec(proxy.port())
  t.match(out, /146 tests, 146 passed, 0 skipped, 0 failed/, 'all cases', { failures })
  t.equal(code, 0)
  t.ok(proxy.isRunning)
  t.notMatch(proxy.stderr, /internal error|bug/i)
  t.equal((await proxy.metrics()).value('envoy_http_downstream_rq_active'), 0)
  t.ok(echo.seen.length > 50, 'requests have reached the upstream')
})
