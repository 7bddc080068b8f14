// How a proxy ends: in-flight requests finish, new ones go elsewhere, what is cut is reported.
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { service, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'

const start = async (t: Teardown, deadline: string) => {
  const upstream = await Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [upstream] })),
    bootstrap: { drain: { deadline }, concurrency: 2 },
  })
  return { upstream, proxy }
}

t.test('SIGTERM lets a request finish, says Connection: close, refuses new connections and ends with 0', async (t) => {
  const { upstream, proxy } = await start(t, '30s')
  const client = await RawClient.connect(t, proxy.port())
  const idle = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web' })
  const exchange = await upstream.next()
  proxy.signal('SIGTERM')
  await idle.closed()
  // One worker may be a moment behind the other.
  await eventually('new connections to be refused', () =>
    RawClient.connect(t, proxy.port()).then(
      () => false,
      (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
    ),
  )
  await exchange.answer({ body: 'in time' })
  const response = await client.response()
  t.equal(response.body.toString(), 'in time')
  t.equal(header(response, 'connection')?.toLowerCase(), 'close')
  t.same(await proxy.exited, { code: 0, signal: null })
})

t.test('what is not done at the deadline is cut, and the log says what and why', async (t) => {
  const { upstream, proxy } = await start(t, '100ms')
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', target: '/never' })
  await upstream.next()
  proxy.signal('SIGTERM')
  await client.closed()
  await proxy.exited
  t.match(proxy.stderr, /GET \/never/)
})

t.test('a second SIGTERM ends it at once', async (t) => {
  const { upstream, proxy } = await start(t, '60s')
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web' })
  await upstream.next()
  proxy.signal('SIGTERM')
  await proxy.said(/drain/i)
  proxy.signal('SIGTERM')
  await proxy.exited
  t.equal(proxy.isRunning, false)
})
