// Configuration changes twenty times while clients ask without a pause: nobody notices but by the answers.
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { Load } from '../support/load.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

/** A folder as kubelet mounts a ConfigMap: files are links into `..data`, which is itself a link that is swapped. */
class ConfigMap {
  readonly folder: string
  private current: string

  constructor(t: Teardown, files: Readonly<Record<string, string>>) {
    this.folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-configmap-'))
    t.teardown(() => rmSync(this.folder, { recursive: true, force: true }))
    this.current = ''
    this.publish('..v0', files)
    for (const name of Object.keys(files)) symlinkSync(path.join('..data', name), path.join(this.folder, name))
  }

  publish(version: string, files: Readonly<Record<string, string>>): void {
    mkdirSync(path.join(this.folder, version))
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(this.folder, version, name), text)
    symlinkSync(version, path.join(this.folder, '..data_tmp'))
    renameSync(path.join(this.folder, '..data_tmp'), path.join(this.folder, '..data'))
    if (this.current !== '') rmSync(path.join(this.folder, this.current), { recursive: true })
    this.current = version
  }
}

/** All requests say which generation of the route they met. */
const route = (generation: number, destinations: readonly object[]) =>
  yaml(
    virtualService(
      'web',
      ['web'],
      [
        {
          name: `generation-${generation}`,
          route: destinations,
          headers: { response: { set: { 'x-generation': String(generation) } } },
        },
      ],
    ),
  )

const BROKEN = 'apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: web\n'

const lastReloadWas = (proxy: HeddleProcess, value: number) =>
  eventually(
    `heddle_config_last_reload_successful ${value}`,
    async () => (await proxy.metrics()).value('heddle_config_last_reload_successful') === value,
  )

t.test('twenty changes under load: no request is lost, each is answered by a configuration of its time', async (t) => {
  const [one, two, three] = await Promise.all(['one', 'two', 'three'].map((name) => EchoUpstream.start(t, { name })))
  const slow = await Upstream.start(t)
  const { map, services, destinations } = world(t, one!, two!, three!, slow)
  const proxy = await startProxy(t, {
    resources: { 'services.yaml': services(1), 'slow.yaml': toSlow('slow') },
    resourcePaths: [map.folder],
    bootstrap: { concurrency: 2 },
  })

  /** Generation that is known to be in force everywhere, and the newest that may be. */
  let inForce = 0
  let written = 0
  let file = 'services.yaml'
  const wrong: string[] = []
  const load = await Load.start(t, {
    port: proxy.port(),
    clients: 8,
    request: (n) => ({ host: 'web', target: `/${n}`, ...(n % 3 === 0 ? { method: 'POST', body: 'x'.repeat(n % 5000) } : {}) }),
    atSend: () => inForce,
    onAnswer: (answer, before) => {
      const generation = Number(header(answer, 'x-generation') ?? Number.NaN)
      if (!(generation >= before && generation <= written)) {
        wrong.push(`${answer.status} of generation ${generation}; in force when it was sent: ${before}, newest: ${written}`)
      }
    },
  })

  // Begun before all changes, answered after them.
  const patient = await connectAny(t, proxy.port())
  await patient.send({ host: 'slow' })
  const held = await slow.next()

  /** What was under way is through, so that every configuration meets requests. */
  const someAnswers = async () => {
    const goal = load.answered + 50
    await eventually('answers', () => load.answered >= goal || load.lost.length > 0)
  }
  const change = async (how: (generation: number) => void) => {
    written++
    how(written)
    await eventually(`generation ${written} in force in all workers`, () => isInForce(proxy, written))
    inForce = written
    await someAnswers()
  }

  await someAnswers()
  for (let round = 0; round < 4; round++) {
    await change((g) => map.publish(`..v${g}`, { 'route.yaml': route(g, destinations.weights(20 + 15 * round)) }))
    await change((g) => {
      proxy.writeResources({ [file]: services(2 + (round % 2)), 'slow.yaml': toSlow('web') })
      map.publish(`..v${g}`, { 'route.yaml': route(g, destinations.only('two')) })
    })
    await change((g) => {
      proxy.writeResources({ [file]: services(1) })
      map.publish(`..v${g}`, { 'route.yaml': route(g, destinations.only('one')) })
    })
    // Broken: the generation before stays in force.
    map.publish(`..broken${round}`, { 'route.yaml': BROKEN })
    await lastReloadWas(proxy, 0)
    await someAnswers()
    await change((g) => map.publish(`..v${g}`, { 'route.yaml': route(g, destinations.weights(50)) }))
    t.equal((await proxy.metrics()).value('heddle_config_last_reload_successful'), 1, 'repaired')
    // A file gets another name, and one more comes or goes.
    await change((g) => {
      const from = file
      file = `services-${g}.yaml`
      renameSync(path.join(proxy.dir, 'mesh', from), path.join(proxy.dir, 'mesh', file))
      proxy.writeResources({ 'extra.yaml': round % 2 === 0 ? yaml(service({ host: 'extra', endpoints: [three!] })) : null })
      map.publish(`..v${g}`, { 'route.yaml': route(g, destinations.weights(80)) })
    })
  }
  t.equal(written, 20)
  await load.stop()
  t.same(load.lost, [], 'no request is lost')
  t.same([...load.statuses.keys()], [200], `${load.answered} answers`)
  t.same(wrong, [], 'each answer is of a configuration between the one in force when it was asked and the newest')
  t.equal(load.cut, 0, 'no connection is cut')
  t.equal(load.clients.length, 8)
  t.same([...load.upstreams.keys()].sort(), ['one', 'three', 'two'], 'and every endpoint had its time')

  await held.answer({ body: 'from the old cluster' })
  t.equal((await patient.response()).body.toString(), 'from the old cluster')
  t.equal((await patient.ask({ host: 'slow' })).status, 200, 'its connection lives')
  const metrics = await proxy.metrics()
  t.equal(metrics.value('heddle_worker_restarts_total') ?? 0, 0)
  t.equal(metrics.value('heddle_boundary_errors_total') ?? 0, 0, 'no exception on the way')
})

const toSlow = (host: string) => yaml(virtualService('slow', ['slow'], [{ route: [{ destination: { host } }] }]))

function world(t: Teardown, one: EchoUpstream, two: EchoUpstream, three: EchoUpstream, slow: Upstream) {
  const only = (host: string) => [{ destination: { host } }]
  const weights = (percent: number) => [
    { destination: { host: 'one' }, weight: percent },
    { destination: { host: 'two' }, weight: 100 - percent },
  ]
  /** `two` has one to three endpoints. */
  const services = (endpoints: number) =>
    yaml(
      service({ host: 'web', endpoints: [one] }),
      service({ host: 'slow', endpoints: [slow] }),
      service({ host: 'one', endpoints: [one] }),
      service({ host: 'two', endpoints: [two, three, one].slice(0, endpoints) }),
      destinationRule('two', 'two', { trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' } } }),
    )
  const map = new ConfigMap(t, { 'route.yaml': route(0, only('one')) })
  return { map, services, destinations: { only, weights } }
}

/** A change of two files may be read between the two: what counts is the first snapshot that has the generation. */
async function isInForce(proxy: HeddleProcess, generation: number): Promise<boolean> {
  const dump = (await proxy.adminJson('/config_dump')) as { version: number }
  return JSON.stringify(dump).includes(`"generation-${generation}"`) && (await proxy.version()) >= dump.version
}

t.test('a request that began before a change is explained with the configuration of its time', async (t) => {
  const [before, after] = [await Upstream.start(t), await Upstream.start(t)]
  const services = yaml(service({ host: 'before', endpoints: [before] }), service({ host: 'after', endpoints: [after] }))
  const config = (host: string) =>
    yaml(virtualService('web', ['web.example'], [{ name: `to-${host}`, route: [{ destination: { host } }] }]))
  const proxy = await startProxy(t, { resources: { 'services.yaml': services, 'route.yaml': config('before') } })
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web.example', headers: { 'x-request-id': 'began-before' } })
  const held = await before.next()
  await proxy.reload({ 'route.yaml': `# one line more\n${config('after')}` })
  await held.answer({ body: 'old' })
  t.equal((await client.response()).body.toString(), 'old')
  await client.send({ host: 'web.example', headers: { 'x-request-id': 'began-after' } })
  await (await after.next()).answer({ body: 'new' })
  t.equal((await client.response()).body.toString(), 'new')

  const old = (await proxy.explain('began-before')) as { route: { name: string; line: number }; cluster: string }
  t.equal(old.cluster, 'outbound|80||before.default.svc.cluster.local')
  t.match(JSON.stringify(old), /to-before/)
  t.notMatch(JSON.stringify(old), /to-after/)
  const now = (await proxy.explain('began-after')) as typeof old
  t.equal(now.cluster, 'outbound|80||after.default.svc.cluster.local')
  t.equal(now.route.line, old.route.line + 1, 'each points into the file as it was')
})
