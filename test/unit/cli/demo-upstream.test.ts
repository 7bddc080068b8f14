import t from 'tap'
import { DemoUpstream } from '../../../lib/cli/demo-upstream.ts'
import { freePort } from '../../support/free-port.ts'
import { httpRequest } from '../../support/proxy.ts'

t.test('says which version it is and what it was sent', async (t) => {
  const upstream = new DemoUpstream('reviews', 'v2')
  const port = await freePort()
  await upstream.listen('127.0.0.1', port)
  t.teardown(() => upstream.close())
  const answer = await httpRequest(port, '/x?y=1')
  t.equal(answer.status, 200)
  t.equal(answer.headers['x-served-by'], 'reviews-v2')
  t.match(answer.body, `reviews v2 answers 200\nGET /x?y=1\nHost: 127.0.0.1:${port}\n`)
  const flaky: number[] = []
  for (let i = 0; i < 6; i++) flaky.push((await httpRequest(port, '/flaky')).status)
  t.same(flaky, [503, 503, 200, 503, 503, 200])
  t.equal((await httpRequest(port, '/seen')).body, 'reviews v2 has seen 7 requests\n')
})

t.test('closing it does not wait for /slow', async (t) => {
  const upstream = new DemoUpstream('reviews', 'v1')
  const port = await freePort()
  await upstream.listen('127.0.0.1', port)
  await t.rejects(Promise.all([httpRequest(port, '/slow'), httpRequest(port, '/').then(() => upstream.close())]), {
    code: 'ECONNRESET',
  })
})

t.test('a port that is taken', async (t) => {
  const first = new DemoUpstream('a', 'v1')
  const port = await freePort()
  await first.listen('127.0.0.1', port)
  t.teardown(() => first.close())
  await t.rejects(new DemoUpstream('b', 'v1').listen('127.0.0.1', port), { code: 'EADDRINUSE' })
})
