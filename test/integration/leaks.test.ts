// Twenty reloads and thousands of requests later the proxy holds no more than before.
import type { Test } from 'tap'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { type Holdings, holdings } from '../support/holdings.ts'
import { type InProcess, startInProcess } from '../support/in-process.ts'
import { Load } from '../support/load.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { Teardown } from '../support/teardown.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

/** More than what a run differs from the next by; less than what twenty configurations, or their clusters, would take. */
const SLACK_BYTES = 3 * 2 ** 20

/** Large enough for one that is kept to show. Every other service comes and goes. */
function mesh(echo: EchoUpstream, generation: number): string {
  const routes = Array.from({ length: 50 }, (_, i) =>
    virtualService(
      `vs-${i}`,
      [`host-${i}.example`],
      Array.from({ length: 6 }, (_, r) => ({
        name: `route-${r}-of-generation-${generation}`,
        match: [{ uri: { prefix: `/path/${r}/${generation}` }, headers: { 'x-test': { exact: `${i}-${r}` } } }],
        route: [{ destination: { host: 'web' } }],
      })),
    ),
  )
  const services = Array.from({ length: 200 }, (_, i) => service({ host: `svc-${i}`, endpoints: [echo] }))
  return yaml(
    service({ host: 'web', endpoints: [echo] }),
    ...services.filter((_, i) => i % 2 === 0 || generation % 2 === 0),
    ...routes,
  )
}

/** So many requests at least for each reload. */
async function exercise(
  t: Teardown,
  proxy: InProcess,
  echo: EchoUpstream,
  reloads: number,
  first: number,
  goal = 60,
): Promise<void> {
  const hosts = ['web', 'svc-0', 'svc-2', 'host-7.example']
  for (let i = 0; i < reloads; i++) {
    const load = await Load.start(t, {
      port: proxy.port,
      clients: 16,
      request: (n) => ({ host: hosts[n % 4]!, ...(n % 4 === 0 ? { body: 'x'.repeat(20_000) } : {}) }),
    })
    await proxy.reload(mesh(echo, first + i))
    await eventually('answers', () => load.answered >= goal, 60_000)
    await load.stop()
    if (load.lost.length > 0) throw new Error(load.lost.join('\n'))
    for (const client of load.clients) client.destroy()
  }
}

/** No connection is left on either side. */
async function settled(proxy: InProcess, echo: EchoUpstream): Promise<void> {
  echo.dropConnections()
  await eventually('connections to be gone', () => {
    const metrics = proxy.metrics()
    const open = (name: string) => (metrics.value(name) ?? 0) === 0
    return open('envoy_http_downstream_cx_active') && open('envoy_cluster_upstream_cx_active')
  })
}

function compare(t: Test, who: string, before: Holdings, after: Holdings): void {
  const [then, now] = [before.heapBytes, after.heapBytes].map((bytes) => Math.round(bytes / 1024)) as [number, number]
  t.same(after.resources, before.resources, `${who}: handles`)
  t.ok(after.heapBytes - before.heapBytes < SLACK_BYTES, `${who}: ${then} KiB, then ${now}`)
}

t.test('twenty reloads under load leave workers with what they had', { timeout: 120_000 }, async (t) => {
  const echo = await EchoUpstream.start(t)
  const proxy = await startInProcess(t, mesh(echo, 0))
  const measured = async () => {
    await settled(proxy, echo)
    return [await proxy.measure(0), await proxy.measure(1)] as const
  }
  // Until buffers and compiled code are there, and as many requests and old configurations as are kept for explain.
  await exercise(t, proxy, echo, 1, 0, 8000)
  await exercise(t, proxy, echo, 10, 1)
  const before = await measured()
  await exercise(t, proxy, echo, 20, 100)
  const after = await measured()
  for (const i of [0, 1] as const) compare(t, `worker ${i}`, before[i], after[i])
})

// Without load: what clients and upstreams of a test remember would hide what the main thread does.
t.test('twenty reloads leave the main thread with what it had', { timeout: 120_000 }, async (t) => {
  const echo = await EchoUpstream.start(t)
  const proxy = await startInProcess(t, mesh(echo, 0))
  for (let i = 1; i <= 5; i++) await proxy.reload(mesh(echo, i))
  const before = holdings(-1)
  for (let i = 6; i <= 25; i++) await proxy.reload(mesh(echo, i))
  compare(t, 'main thread', before, holdings(-1))
})
