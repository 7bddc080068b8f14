// What requests need of the configuration becomes live in a worker, and nothing else.
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { startInProcess } from '../support/in-process.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import { askOnce } from '../support/raw-client.ts'

t.test('what was used, by name', async (t) => {
  const echo = await EchoUpstream.start(t)
  const services = (n: number) => Array.from({ length: n }, (_, i) => service({ host: `svc-${i}`, endpoints: [echo] }))
  const proxy = await startInProcess(t, yaml(...services(20)), { bootstrap: { concurrency: 1 } })
  const use = async () => {
    const { workers, bytes } = await proxy.supervisor.configUse()
    const names = (list: readonly string[]) => list.map((name) => /svc-\d+/.exec(name)?.[0]).sort()
    return {
      clusters: names(workers.flatMap((w) => w.clusters)),
      hosts: names(workers.flatMap((w) => w.virtualHosts.map((v) => v.name))),
      bytes,
      workers,
    }
  }
  const ask = async (host: string) => (await askOnce(t, proxy.port, { host })).status

  const before = await use()
  t.same([before.clusters, before.hosts], [[], []])
  t.ok(before.workers[0]!.heapBytes > 1e6)
  t.ok(
    before.bytes.clusters > 0 &&
      before.bytes.virtualHosts > 0 &&
      before.bytes.arenas >= before.bytes.clusters + before.bytes.virtualHosts,
  )

  t.same([await ask('svc-3'), await ask('svc-7'), await ask('svc-3'), await ask('nobody')], [200, 200, 200, 404])
  const after = await use()
  t.same(
    [after.clusters, after.hosts],
    [
      ['svc-3', 'svc-7'],
      ['svc-3', 'svc-7'],
    ],
  )
  t.match(
    JSON.stringify(proxy.supervisor.snapshot()?.clusters.map((c) => c.name)),
    /svc-19/,
    'pages show those too that nobody uses',
  )

  await proxy.reload(yaml(...services(21)))
  t.equal(await ask('svc-20'), 200)
  t.same((await use()).clusters, ['svc-20', 'svc-3', 'svc-7'])

  await proxy.reload(
    yaml(...services(21), virtualService('vs', ['svc-7'], [{ name: 'other', route: [{ destination: { host: 'svc-3' } }] }])),
  )
  t.same((await use()).hosts, ['svc-20', 'svc-3', 'svc-7'], 'one that has changed has been used all the same')
})
