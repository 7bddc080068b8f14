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

/**
 * The resources of each generation, large enough for one that is kept to show. Every other service comes and goes.
 * Made once, since writing YAML takes longer than what is to be tested.
 */
function meshOf(echo: EchoUpstream): (generation: number) => string {
  const routes = Array.from({ length: 50 }, (_, i) =>
    virtualService(
      `vs-${i}`,
      [`host-${i}.example`],
      Array.from({ length: 6 }, (_, r) => ({
        name: `route-${r}-of-generation-GENERATION`,
        match: [{ uri: { prefix: `/path/${r}/GENERATION` }, headers: { 'x-test': { exact: `${i}-${r}` } } }],
        route: [{ destination: { host: 'web' } }],
      })),
    ),
  )
  const services = Array.from({ length: 80 }, (_, i) => service({ host: `svc-${i}`, endpoints: [echo] }))
  const half = services.filter((_, i) => i % 2 === 0)
  const [all, some] = [services, half].map((list) => yaml(service({ host: 'web', endpoints: [echo] }), ...list, ...routes))
  return (generation) => ((generation % 2 === 0 ? all : some) as string).replaceAll('GENERATION', String(generation))
}

/** So many requests at least for each reload. */
async function exercise(
  t: Teardown,
  proxy: InProcess,
  mesh: (generation: number) => string,
  reloads: number,
  first: number,
  goal = 60,
): Promise<void> {
  const hosts = ['web', 'svc-0', 'svc-2', 'host-7.example']
  for (let i = 0; i < reloads; i++) {
    const load = await Load.start(t, {
      port: proxy.port,
      clients: 16,
      ...(goal > 1000 ? { pauseMs: 0 } : {}),
      request: (n) => ({ host: hosts[n % 4]!, ...(n % 4 === 0 ? { body: 'x'.repeat(20_000) } : {}) }),
    })
    await proxy.reload(mesh(first + i), 30_000)
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

const grown = (before: Holdings, after: Holdings) => after.heapBytes - before.heapBytes >= SLACK_BYTES

/**
 * What is held by each of some threads before and after the same work. What leaks grows each time; what the engine makes or moves when it finds the time (compiled
 * code, buffers) does not. So where a heap has grown, the work is done again, up to three times in all.
 */
async function compare(
  t: Test,
  names: readonly string[],
  measured: () => Promise<readonly Holdings[]> | readonly Holdings[],
  work: () => Promise<void>,
): Promise<void> {
  let before = await measured()
  await work()
  let after = await measured()
  for (let again = 0; again < 2 && after.some((h, i) => grown(before[i] as Holdings, h)); again++) {
    before = after
    await work()
    after = await measured()
  }
  for (const [i, name] of names.entries()) {
    const [then, now] = [before[i] as Holdings, after[i] as Holdings]
    t.same(now.resources, then.resources, `${name}: handles`)
    t.notOk(grown(then, now), `${name}: ${[then, now].map((h) => Math.round(h.heapBytes / 1024)).join(' KiB, then ')}`)
  }
}

t.test('twenty reloads under load leave workers with what they had', { timeout: 120_000 }, async (t) => {
  const echo = await EchoUpstream.start(t)
  const mesh = meshOf(echo)
  const proxy = await startInProcess(t, mesh(0))
  const measured = async () => {
    await settled(proxy, echo)
    return [await proxy.measure(0), await proxy.measure(1)] as const
  }
  // Until buffers and compiled code are there, and as many requests and old configurations as are kept for explain.
  await exercise(t, proxy, mesh, 1, 0, 4000)
  await exercise(t, proxy, mesh, 10, 1)
  let generation = 100
  await compare(t, ['worker 0', 'worker 1'], measured, async () => {
    await exercise(t, proxy, mesh, 20, generation)
    generation += 20
  })
})

// Without load: what clients and upstreams of a test remember would hide what the main thread does.
t.test('twenty reloads leave the main thread with what it had', { timeout: 120_000 }, async (t) => {
  const echo = await EchoUpstream.start(t)
  const mesh = meshOf(echo)
  const proxy = await startInProcess(t, mesh(0))
  let generation = 1
  const reload = async (times: number) => {
    for (let i = 0; i < times; i++) await proxy.reload(mesh(generation++), 30_000)
  }
  await reload(5)
  await compare(
    t,
    ['main thread'],
    () => [holdings(-1)],
    () => reload(20),
  )
})
