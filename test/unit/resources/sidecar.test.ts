// Sidecar: which one holds, what it lets the workload see, and what is refused (Istio Sidecar).
import t from 'tap'
import { loadText, statusOf, tableOf, type View } from './kit.ts'

const service = (name: string, namespace: string, port = 80) =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: {clusterIP: 10.0.0.1, ports: [{name: http, port: ${port}}]}\n`
const istio = (kind: string, name: string, spec: string, namespace = 'default') =>
  `---\napiVersion: networking.istio.io/v1\nkind: ${kind}\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`
const sidecar = (spec: string, namespace = 'default', name = 'default') => istio('Sidecar', name, spec, namespace)
const SERVICES = service('a', 'default') + service('b', 'default', 81) + service('c', 'prod') + service('d', 'prod')

/** Names of the virtual hosts of a port, without what stands for unknown hosts. */
function hostsOf(result: ReturnType<typeof loadText>, port: number): string[] {
  return tableOf(result, port)
    .virtualHosts.map((v) => v.name.replace(/\.svc\.cluster\.local.*/, ''))
    .filter((name) => !/_any|_all/.test(name))
}

t.test('egress hosts', async (t) => {
  const rows: [egress: string, on80: string[], on81: string[]][] = [
    ['[{hosts: ["*/*"]}]', ['a.default', 'c.prod', 'd.prod'], ['b.default']],
    ['[{hosts: ["./*"]}]', ['a.default'], ['b.default']],
    ['[{hosts: ["./*", "prod/c.prod.svc.cluster.local"]}]', ['a.default', 'c.prod'], ['b.default']],
    ['[{hosts: ["prod/*.prod.svc.cluster.local"]}]', ['c.prod', 'd.prod'], []],
    ['[{hosts: ["*/c.prod.svc.cluster.local"]}]', ['c.prod'], []],
    ['[{hosts: ["default/c.prod.svc.cluster.local"]}]', [], []],
    ['[{hosts: ["~/*"]}]', [], []],
    ['[{hosts: ["prod/*", "~prod/d.prod.svc.cluster.local"]}]', ['c.prod'], []],
    ['[{port: {number: 80, protocol: HTTP, name: h}, hosts: ["prod/*"]}, {hosts: ["./*"]}]', ['c.prod', 'd.prod'], ['b.default']],
    ['[{port: {number: 81, protocol: HTTP, name: h}, hosts: ["*/*"]}]', [], ['b.default']],
    ['[]', ['a.default', 'c.prod', 'd.prod'], ['b.default']],
  ]
  for (const [egress, on80, on81] of rows) {
    const result = loadText(t, SERVICES + sidecar(`{egress: ${egress}}`))
    t.same(hostsOf(result, 80), on80, egress)
    const has81 = result.snapshot.routeTables.some((table) => table.name === '81')
    t.same(has81 ? hostsOf(result, 81) : [], on81, egress)
  }
})

t.test('what is not imported says by whom', async (t) => {
  const result = loadText(t, SERVICES + sidecar('{egress: [{hosts: ["./*"]}]}'))
  t.equal(statusOf(result, 'c').state, 'waiting')
  t.match(
    statusOf(result, 'c').reason,
    /Sidecar default\/default \(.*:\d+\) lists c\.prod\.svc\.cluster\.local in no egress entry/,
  )
  t.equal(statusOf(result, 'a').state, 'in-force')
  t.equal(statusOf(result, 'default').state, 'in-force')
})

t.test('a destination of a visible rule is reached by the rule only', async (t) => {
  const rule = istio('VirtualService', 'vs', '{hosts: [a], http: [{route: [{destination: {host: c.prod.svc.cluster.local}}]}]}')
  const result = loadText(t, SERVICES + rule + sidecar('{egress: [{hosts: ["./*"]}]}'))
  t.ok(result.snapshot.clusters.some((c) => c.name === 'outbound|80||c.prod.svc.cluster.local'))
  t.notOk(result.snapshot.clusters.some((c) => c.host === 'd.prod.svc.cluster.local'))
  t.same(hostsOf(result, 80), ['a.default'])
  t.equal(statusOf(result, 'vs').state, 'in-force')
})

t.test('rules of namespaces that are not imported have no effect', async (t) => {
  const rule = istio('VirtualService', 'vs', '{hosts: [d], http: [{route: [{destination: {host: d}}]}]}', 'prod')
  const result = loadText(t, SERVICES + rule + sidecar('{egress: [{hosts: ["./*", "prod/c.prod.svc.cluster.local"]}]}'))
  t.equal(statusOf(result, 'vs').state, 'waiting')
})

t.test('which one holds', async (t) => {
  const seen = (texts: string, view?: View) => hostsOf(loadText(t, SERVICES + texts, view), 80)
  const mesh = sidecar('{egress: [{hosts: ["prod/*"]}]}', 'istio-system')
  const own = sidecar('{egress: [{hosts: ["./*"]}]}')
  const selecting = sidecar('{workloadSelector: {labels: {app: web}}, egress: [{hosts: ["~/*"]}]}', 'default', 'web')
  const other = sidecar('{egress: [{hosts: ["~/*"]}]}', 'prod')
  t.same(seen(mesh), ['c.prod', 'd.prod'], 'the mesh default')
  t.same(seen(mesh + own), ['a.default'], 'the namespace before the mesh')
  t.same(seen(mesh + own + selecting), [], 'a selecting one before both')
  t.same(seen(own + selecting, { labels: { app: 'other' } }), ['a.default'], 'which selects others')
  t.same(seen(other), ['a.default', 'c.prod', 'd.prod'], 'not one of another namespace')
  const result = loadText(t, SERVICES + mesh + own.replace('name: default', 'name: own'))
  t.equal(statusOf(result, 'own').state, 'in-force')
  t.equal(statusOf(result, 'default').state, 'shadowed')
})

t.test('outboundTrafficPolicy', async (t) => {
  const rest = (spec: string, view: View = {}) =>
    tableOf(loadText(t, SERVICES + sidecar(spec), view), 80).virtualHosts.at(-1)?.name
  t.equal(rest('{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}'), 'block_all')
  t.equal(rest('{outboundTrafficPolicy: {}}'), 'block_all', 'the zero value of the API')
  t.equal(rest('{outboundTrafficPolicy: {mode: ALLOW_ANY}}', { outboundTrafficPolicy: 'REGISTRY_ONLY' }), 'allow_any')
  t.equal(rest('{egress: [{hosts: ["*/*"]}]}', { outboundTrafficPolicy: 'REGISTRY_ONLY' }), 'block_all', 'that of the mesh')
})

t.test('what is refused', async (t) => {
  const rows: [spec: string, reason: RegExp][] = [
    ['{}', /says nothing/],
    ['{egress: [{}]}', /at least one of `hosts`/],
    ['{egress: [{hosts: [reviews]}]}', /expected `namespace\/host`, such as `\.\/reviews`/],
    ['{egress: [{hosts: ["a b/*"]}]}', /a namespace before the slash/],
    ['{egress: [{hosts: ["./*"]}, {port: {number: 80}, hosts: ["./*"]}]}', /must be the last one/],
    ['{egress: [{port: {number: 70000}, hosts: ["./*"]}]}', /a port from 1 to 65535/],
    ['{egress: [{bind: 10.0.0.1, hosts: ["./*"]}]}', /`bind` needs a `port`/],
    ['{egres: []}', /did you mean `egress`/],
  ]
  for (const [spec, reason] of rows) {
    const status = statusOf(loadText(t, sidecar(spec)), 'default')
    t.equal(status.state, 'refused', spec)
    t.match(status.reason, reason, spec)
  }
})

t.test('what is not carried out is said', async (t) => {
  const status = statusOf(
    loadText(t, sidecar('{ingress: [{port: {number: 80, protocol: HTTP, name: h}}], egress: [{hosts: ["*/*"]}]}')),
    'default',
  )
  t.equal(status.state, 'partly')
  t.match(status.reason, /ingress: has no effect: nothing is captured/)
})
