// When what a control plane says is in force. Resources are JSON here, and what they mean is as plain: the rules are those of warming and of names.
import t from 'tap'
import { BUILT_IN } from '../../../../lib/state/origin.ts'
import { XDS } from '../../../../lib/xds/client/resource-types.ts'
import type { ResourceUpdate, XdsResource } from '../../../../lib/xds/client/resource-update.ts'
import type { Translators } from '../../../../lib/xds/store/translators.ts'
import { XdsWorld } from '../../../../lib/xds/store/xds-world.ts'
import type { Findings } from '../../../../lib/xds/translate/findings.ts'
import { cluster, endpoint } from '../../route/world.ts'

interface Plain {
  readonly eds?: string
  readonly secrets?: string[]
  readonly routes?: string[]
  readonly extensions?: string[]
  readonly timeoutMs?: number
  readonly endpoints?: string[]
  readonly bad?: string
  readonly tag?: string
}

function read(resource: XdsResource, findings: Findings): Plain {
  const plain = JSON.parse(Buffer.from(resource.bytes).toString()) as Plain
  if (plain.bad !== undefined) findings.at('x').fault(plain.bad)
  return plain
}

const translators: Translators = {
  cluster: (r, _, f) => {
    const p = read(r, f)
    return {
      cluster: cluster(r.name),
      edsName: p.eds ?? null,
      fetchTimeoutMs: p.timeoutMs ?? 0,
      secretNames: p.secrets ?? [],
    }
  },
  endpoints: (r, _, f) => ({ endpoints: (read(r, f).endpoints ?? []).map((a) => endpoint(a)), localityWeights: null }),
  assemble: ({ cluster }, endpoints, previous) => {
    const next = { ...cluster, endpoints: endpoints?.endpoints ?? [] }
    return previous !== null && JSON.stringify(previous) === JSON.stringify(next) ? previous : next
  },
  listener: (extensions) => (r, _, f) => {
    const p = read(r, f)
    const wanted = p.extensions ?? []
    return {
      listener: {
        name: r.name,
        direction: 'outbound',
        address: '0.0.0.0',
        port: 80,
        bind: false,
        capture: 'none',
        handOver: false,
        detectionTimeoutMs: 0,
        originalDst: p.tag ?? '',
        filterChains: [],
        defaultFilterChain: null,
        origin: BUILT_IN,
      },
      routeNames: p.routes ?? [],
      inlineTables: [],
      extensionNames: wanted,
      missingExtensions: wanted.filter((name) => !extensions.has(name)),
      fetchTimeoutMs: p.timeoutMs ?? 0,
      secretNames: p.secrets ?? [],
    }
  },
  route: (r, _, f) => ({ name: r.name, port: read(r, f).tag === undefined ? 80 : 81, ignorePort: true, virtualHosts: [] }),
  extension: (r, _, f) => ({ typeUrl: read(r, f).tag ?? '', value: new Uint8Array(0) }),
  secret: (r) => ({ name: r.name, certificateChainPem: 'c', privateKeyPem: 'k', rootsPem: [], crlPem: '' }),
}

/** `{ a: {…}, b: null }`: a comes or changes, b goes. */
function update(
  typeUrl: string,
  resources: Readonly<Record<string, Plain | null>>,
  origin: ResourceUpdate['origin'] = 'stream',
): ResourceUpdate {
  const entries = Object.entries(resources)
  const changed = entries
    .filter(([, p]) => p !== null)
    .map(([name, p]): XdsResource => ({ typeUrl, name, aliases: [], version: '', bytes: Buffer.from(JSON.stringify(p)) }))
  return {
    typeUrl,
    origin,
    changed,
    removed: entries.filter(([, p]) => p === null).map(([name]) => name),
    complete: false,
    version: '1',
  }
}

class World {
  readonly xds = new XdsWorld(translators)
  nowMs = 0

  /** Takes updates as one event; returns what they were refused for. */
  take(...updates: ResourceUpdate[]): string[] {
    const faults = updates.flatMap((u) => this.xds.take(u, this.nowMs))
    this.xds.settle(this.nowMs)
    return faults.map(({ name, reason }) => `${name}: ${reason}`)
  }

  get clusters(): Record<string, string[]> {
    return Object.fromEntries(this.xds.snapshot.clusters.map((c) => [c.name, c.endpoints.map((e) => e.address)]))
  }

  get listeners(): string[] {
    return this.xds.snapshot.listeners.map((l) => l.name + l.originalDst)
  }

  get tables(): string[] {
    return this.xds.snapshot.routeTables.map((r) => `${r.name}:${r.port}`)
  }
}

t.test('a first configuration is complete when clusters and listeners have come with all that they name', async (t) => {
  const w = new World()
  t.same(w.xds.waitingFor(), ['clusters (CDS)', 'listeners (LDS)'])
  w.take(update(XDS.cluster, { a: { eds: 'a' }, b: {} }))
  t.same(w.xds.waitingFor(), ['listeners (LDS)', 'cluster a waits for endpoints a'])
  t.same(w.clusters, { b: [] })
  t.same([...(w.xds.wanted().get(XDS.endpoints) ?? [])], ['a'])
  w.take(update(XDS.endpoints, { a: { endpoints: ['10.0.0.1'] } }))
  w.take(update(XDS.listener, { l: { routes: ['80'], extensions: ['wasm'], secrets: ['kubernetes://s', 'default'] } }))
  t.same(
    w.xds.waitingFor(),
    ['listener l waits for secret kubernetes://s, routes 80, extension wasm'],
    'default is ours to provide',
  )
  t.same(w.listeners, [])
  t.same([...(w.xds.wanted().get(XDS.secret) ?? [])], ['kubernetes://s'])
  w.take(update(XDS.route, { '80': {} }), update(XDS.extension, { wasm: {} }))
  t.notOk(w.xds.complete)
  w.take(update(XDS.secret, { 'kubernetes://s': {} }))
  t.ok(w.xds.complete)
  t.same([w.listeners, w.tables, w.clusters], [['l'], ['80:80'], { b: [], a: ['10.0.0.1'] }])
})

t.test('no clusters and no listeners are a configuration, too', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, {}), update(XDS.listener, {}))
  t.ok(w.xds.complete)
  t.same(w.xds.snapshot.listeners, [])
})

t.test('what is new waits, and what it replaces serves meanwhile', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: { eds: 'a' } }), update(XDS.endpoints, { a: { endpoints: ['10.0.0.1'] } }))
  w.take(update(XDS.listener, { l: { routes: ['80'] } }), update(XDS.route, { '80': {} }))
  w.take(update(XDS.listener, { l: { routes: ['81'], tag: '!' } }))
  t.same([w.listeners, w.tables], [['l'], ['80:80']])
  w.take(update(XDS.route, { '81': { tag: 'x' } }))
  t.same([w.listeners, w.tables], [['l!'], ['81:81']])
  w.take(update(XDS.cluster, { a: { eds: 'other' } }))
  t.same(w.clusters, { a: ['10.0.0.1'] }, 'the cluster before it still serves')
  w.take(update(XDS.endpoints, { other: { endpoints: ['10.0.0.2'] } }))
  t.same(w.clusters, { a: ['10.0.0.2'] })
  w.take(update(XDS.cluster, { a: { eds: 'other', secrets: [] } }))
  t.same(w.clusters, { a: ['10.0.0.2'] }, 'endpoints that are held need not come again')
})

t.test('endpoints that do not exist are none, and so are routes', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: { eds: 'a' } }), update(XDS.listener, { l: { routes: ['80'] } }))
  w.take(update(XDS.endpoints, { a: null }), update(XDS.route, { '80': null }))
  t.ok(w.xds.complete)
  t.same([w.clusters, w.tables], [{ a: [] }, ['80:80']])
})

t.test('a limit of time ends the wait', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: { eds: 'a', timeoutMs: 15_000 } }), update(XDS.listener, {}))
  w.nowMs = 14_999
  w.take()
  t.notOk(w.xds.complete)
  w.nowMs = 15_000
  w.take()
  t.same([w.xds.complete, w.clusters], [true, { a: [] }])
})

t.test('a bad resource is refused alone, and its last good version serves', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: { eds: 'a' }, b: {} }), update(XDS.endpoints, { a: { endpoints: ['10.0.0.1'] } }))
  const faults = w.take(update(XDS.cluster, { a: { eds: 'other', bad: 'no such policy' }, c: {}, d: { bad: 'nothing' } }))
  t.same(faults, ['a: x: no such policy', 'd: x: nothing'])
  t.same(w.clusters, { a: ['10.0.0.1'], b: [], c: [] })
  t.same(w.xds.refusals(), [
    'CDS a is refused, its last good version serves: x: no such policy',
    'CDS d is refused, nothing serves in its place: x: nothing',
  ])
  w.take(update(XDS.cluster, { a: { eds: 'a' }, d: null }))
  t.same(w.xds.refusals(), [])
})

t.test('what goes is gone: clusters, listeners, and what only they named', async (t) => {
  const w = new World()
  w.take(
    update(XDS.cluster, { a: { eds: 'a' }, b: {} }),
    update(XDS.endpoints, { a: { endpoints: ['10.0.0.1'] } }),
    update(XDS.listener, { l: { routes: ['80'] }, m: {} }),
    update(XDS.route, { '80': {} }),
  )
  w.take(update(XDS.cluster, { a: null }), update(XDS.listener, { l: null }))
  w.xds.forgetUnwanted()
  t.same([w.clusters, w.listeners, w.tables], [{ b: [] }, ['m'], []])
  t.same([w.xds.endpoints.held.size, w.xds.routes.held.size], [0, 0])
})

t.test('clusters that share endpoints change together', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: { eds: 'e' }, b: { eds: 'e' } }), update(XDS.endpoints, { e: { endpoints: ['10.0.0.1'] } }))
  w.take(update(XDS.endpoints, { e: { endpoints: ['10.0.0.2'] } }))
  t.same(w.clusters, { a: ['10.0.0.2'], b: ['10.0.0.2'] })
})

t.test('a filter that changes is one of the listener that names it', async (t) => {
  const w = new World()
  w.take(update(XDS.listener, { l: { extensions: ['f'] } }))
  w.take(update(XDS.extension, { f: {} }))
  const before = w.xds.snapshot.listeners[0]
  w.take(update(XDS.extension, { f: { tag: 'other' } }))
  t.not(w.xds.snapshot.listeners[0], before, 'translated again')
})

t.test('what does not change stays the same object, and without a change there is no new snapshot', async (t) => {
  const w = new World()
  w.take(
    update(XDS.cluster, { a: { eds: 'a' }, b: {} }),
    update(XDS.endpoints, { a: { endpoints: ['10.0.0.1'] } }),
    update(XDS.listener, { l: { routes: ['80'] } }),
    update(XDS.route, { '80': {} }),
  )
  const before = w.xds.snapshot
  t.notOk(w.xds.settle(0))
  w.take(update(XDS.endpoints, { a: { endpoints: ['10.0.0.2'] } }))
  const after = w.xds.snapshot
  t.equal(after.version, before.version + 1)
  t.not(
    after.clusters.find((c) => c.name === 'a'),
    before.clusters.find((c) => c.name === 'a'),
  )
  t.equal(
    after.clusters.find((c) => c.name === 'b'),
    before.clusters.find((c) => c.name === 'b'),
  )
  t.equal(after.listeners[0], before.listeners[0])
  t.equal(after.routeTables[0], before.routeTables[0])
})
