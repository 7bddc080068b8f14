// Whatever an operator writes, reading it ends in statuses: nothing throws, and every object is in exactly one state.
import fc from 'fast-check'
import t from 'tap'
import { ResourceLoader } from '../../../lib/resources/load.ts'
import { bootstrapFor, Folder } from './kit.ts'

const SERVICE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'a' },
  spec: { clusterIP: '10.0.0.1', ports: [{ name: 'http', port: 80 }] },
}
const RULE = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'VirtualService',
  metadata: { name: 'v', creationTimestamp: '2024-01-01T00:00:00Z' },
  spec: {
    hosts: ['a', '*.free.test'],
    http: [
      {
        match: [{ uri: { prefix: '/x' }, headers: { h: { exact: '1' } }, port: 80 }],
        route: [{ destination: { host: 'a', subset: 's' }, weight: 1 }],
        timeout: '1s',
      },
      { delegate: { name: 'd' }, match: [{ uri: { prefix: '/d' } }] },
      {
        route: [{ destination: { host: 'a' } }],
        retries: { attempts: 1, retryOn: '5xx' },
        fault: { abort: { httpStatus: 500 } },
        headers: { request: { set: { x: '1' } } },
      },
    ],
    tcp: [{ match: [{ destinationSubnets: ['10.0.0.0/8'] }], route: [{ destination: { host: 'a' } }] }],
  },
}
const DELEGATE = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'VirtualService',
  metadata: { name: 'd' },
  spec: { http: [{ redirect: { uri: '/' } }] },
}
const POLICY = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'DestinationRule',
  metadata: { name: 'r' },
  spec: {
    host: 'a',
    subsets: [{ name: 's', labels: { v: '1' }, trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } }],
  },
}
const ENTRY = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name: 'e' },
  spec: { hosts: ['e.test'], ports: [{ number: 80, name: 'http' }], resolution: 'STATIC', endpoints: [{ address: '10.0.0.2' }] },
}
const SLICE = {
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'a-1', labels: { 'kubernetes.io/service-name': 'a' } },
  endpoints: [{ addresses: ['10.1.0.1'], targetRef: { kind: 'Pod', name: 'p' } }],
  ports: [{ name: 'http', port: 8080 }],
}
const WORLD: readonly object[] = [SERVICE, RULE, DELEGATE, POLICY, ENTRY, SLICE]

/** All places of a value, as ways to them. */
function waysInto(value: unknown): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [[]]
  const keys: (string | number)[] = Array.isArray(value) ? [...value.keys()] : Object.keys(value)
  return [[], ...keys.flatMap((key) => waysInto((value as Record<string | number, unknown>)[key]).map((way) => [key, ...way]))]
}

function replaced(value: unknown, way: readonly (string | number)[], by: unknown): unknown {
  const [key, ...rest] = way
  if (key === undefined) return by
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string | number, unknown>
  copy[key] = replaced(copy[key], rest, by)
  return copy
}

function check(t: { teardown(fn: () => void): unknown }, text: string): void {
  const result = new ResourceLoader(
    bootstrapFor([new Folder(t, { 'a.yaml': text }).path], {
      listeners: [{ name: 'tcp', protocol: 'tcp', destination: 'a:80' }],
    }),
  ).load()
  if (result.fatal !== null) throw new Error(result.fatal)
  const bad = result.statuses.find((s) => (s.state === 'in-force') !== (s.reason === '') || s.line < 1 || s.column < 1)
  if (bad !== undefined) throw new Error(JSON.stringify(bad))
  const names = new Set(result.snapshot.clusters.map((c) => c.name))
  if (names.size !== result.snapshot.clusters.length) throw new Error('a cluster occurs twice')
  for (const table of result.snapshot.routeTables) {
    const domains = table.virtualHosts.flatMap((h) => h.domains)
    if (new Set(domains).size !== domains.length) throw new Error(`a domain occurs twice in ${table.name}`)
  }
}

t.test('any value in any place', async (t) => {
  const ways = WORLD.flatMap((object, i) => waysInto(object).map((way) => [i, ...way]))
  const junk = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      true,
      0,
      -1,
      1e21,
      1.5,
      '',
      '*',
      '%',
      'yes',
      '1s',
      '10.0.0.1',
      '*.a',
      'a',
      {},
      [],
      [null],
      [{}],
      { exact: 'a' },
      { __proto__: null, constructor: 1 },
    ),
    fc.json().map((text): unknown => JSON.parse(text)),
  )
  fc.assert(
    fc.property(fc.constantFrom(...ways), junk, (way, value) => {
      const world = replaced(WORLD, way, value) as readonly unknown[]
      check(t, world.map((object) => `--- ${JSON.stringify(object)}`).join('\n'))
    }),
    { numRuns: 300 },
  )
  t.pass()
})

t.test('damaged text', async (t) => {
  const text = WORLD.map((object) => `---\n${JSON.stringify(object, null, 1).replaceAll('"', '')}`).join('\n')
  fc.assert(
    fc.property(fc.nat(text.length), fc.nat(40), fc.string({ maxLength: 8 }), (at, cut, extra) => {
      check(t, text.slice(0, at) + extra + text.slice(at + cut))
    }),
    { numRuns: 150 },
  )
  t.pass()
})
