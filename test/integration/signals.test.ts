// SIGHUP and SIGUSR1: what an operator does to a proxy that runs.
import { readFileSync, renameSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { service, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { askOnce, RawClient } from '../support/raw-client.ts'

t.test('SIGHUP reads the resources anew', async (t) => {
  const echo = await EchoUpstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [echo] })),
    bootstrap: { concurrency: 2 },
  })
  const client = await RawClient.connect(t, proxy.port())
  t.equal((await client.ask({ host: 'web' })).status, 200)
  const before = await proxy.version()
  proxy.signal('SIGHUP')
  await eventually('a newer version', async () => (await proxy.version()) > before)
  await proxy.said(/in force \(SIGHUP\)/)
  t.equal((await client.ask({ host: 'web' })).status, 200, 'on the same connection')
  t.ok(proxy.isRunning)
})

t.test('SIGUSR1 opens the access log anew after it was rotated; no line is lost', async (t) => {
  const echo = await EchoUpstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [echo] })),
    bootstrap: { concurrency: 2 },
  })
  const log = path.join(proxy.dir, 'access.log')
  const rotated = path.join(proxy.dir, 'access.log.1')
  const paths = (file: string) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((l) => l !== '')
      .map((l) => (JSON.parse(l) as { path: string }).path)
  await askOnce(t, proxy.port(), { host: 'web', target: '/before' })
  await proxy.logged({ path: '/before' })
  renameSync(log, rotated)
  await askOnce(t, proxy.port(), { host: 'web', target: '/between' })
  proxy.signal('SIGUSR1')
  // Both workers have done so when lines of many connections come to the new file only.
  const after: string[] = []
  await eventually('lines in the new file', async () => {
    after.push(`/after/${after.length}`)
    await askOnce(t, proxy.port(), { host: 'web', target: after.at(-1)! })
    return proxy.accessLog().length >= 10
  })
  const all = () => [...paths(rotated), ...paths(log)].sort()
  const wanted = ['/before', '/between', ...after].sort()
  await eventually('all lines', () => all().length >= wanted.length)
  t.same(all(), wanted, 'each line is in one of the two')
  t.ok(paths(rotated).includes('/before'))
  t.notMatch(proxy.stderr, /[Dd]ebugger/, 'SIGUSR1 does not open the inspector')
})
