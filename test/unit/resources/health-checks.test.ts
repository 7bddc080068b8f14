// Who is asked how: the checks of heddle.yaml and the probes of WorkloadGroups, down to the endpoints.
import t from 'tap'
import type { HealthCheckRule } from '../../../lib/state/bootstrap-config.ts'
import type { HealthCheck, HealthProbe } from '../../../lib/state/health-check.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import { clusterOf, loadText, statusOf } from './kit.ts'

const istio = (kind: string, name: string, spec: string, meta = '') =>
  `---\napiVersion: networking.istio.io/v1\nkind: ${kind}\nmetadata: {name: ${name}${meta}}\nspec: ${spec}\n`
const entry = (host: string, more = '') =>
  istio(
    'ServiceEntry',
    host.replace(/[*.]/g, '-'),
    `{hosts: ["${host}"], resolution: STATIC, ports: [{number: 80, name: http}, {number: 81, name: tcp-b}], endpoints: [{address: 10.0.0.1, labels: {v: a}}]${more}}`,
  )

const CHECK: HealthCheck = {
  probe: { kind: 'tcp', port: 0 },
  intervalMs: 1,
  timeoutMs: 2,
  unhealthyThreshold: 3,
  healthyThreshold: 4,
  initialDelayMs: 5,
  origin: BUILT_IN,
}
/** Told apart by the port of its probe. */
const rule = (port: number, hosts: string[], more: Partial<HealthCheckRule> = {}): HealthCheckRule => ({
  hosts,
  ports: [],
  listeners: [],
  check: { ...CHECK, probe: { kind: 'tcp', port } },
  ...more,
})

t.test('the first rule that fits a cluster is in force for it', async (t) => {
  const result = loadText(
    t,
    entry('a.default.svc.cluster.local') +
      entry('b.example') +
      entry('c.b.example') +
      istio('DestinationRule', 'a', '{host: a, subsets: [{name: s, labels: {v: a}}]}') +
      istio('ServiceEntry', 'dns', '{hosts: [dns.b.example], resolution: DNS, ports: [{number: 80, name: http}]}') +
      istio('ServiceEntry', 'none', '{hosts: ["*.none"], ports: [{number: 80, name: http}]}'),
    {
      listeners: [
        { name: 'in', direction: 'inbound', forwardTo: '127.0.0.1:9000' },
        { name: 'other', direction: 'inbound', forwardTo: '127.0.0.1:9001' },
      ],
      healthChecks: [
        rule(1, ['a'], { ports: [81] }),
        rule(2, ['a']),
        rule(3, ['b.example', '*.b.example'], { ports: [80] }),
        rule(4, ['*'], { ports: [81] }),
        rule(5, [], { listeners: ['in'] }),
      ],
    },
  )
  const rows: [cluster: string, port: number | null][] = [
    ['outbound|80||a.default.svc.cluster.local', 2],
    ['outbound|81||a.default.svc.cluster.local', 1],
    ['outbound|80|s|a.default.svc.cluster.local', 2],
    ['outbound|81|s|a.default.svc.cluster.local', 1],
    ['outbound|80||b.example', 3],
    ['outbound|81||b.example', 4],
    ['outbound|80||c.b.example', 3],
    ['inbound|9000||', 5],
    ['inbound|9001||', null],
  ]
  for (const [name, port] of rows) {
    const probes = clusterOf(result, name).endpoints.map((e) => e.healthCheck?.probe.port ?? null)
    t.same(probes, [port], name)
  }
  const dns = clusterOf(result, 'outbound|80||dns.b.example')
  t.equal(dns.dnsNames[0]?.endpoint.healthCheck?.probe.port, 3, 'of what a name will resolve to')
  t.same(clusterOf(result, 'outbound|80||*.none').endpoints, [])
})

t.test('hosts and ports that nobody has are told', async (t) => {
  const result = loadText(t, entry('reviews.default.svc.cluster.local'), {
    healthChecks: [
      rule(1, ['reviews', 'reveiws', '*.none']),
      rule(2, ['reviews'], { ports: [8080] }),
      rule(3, ['*']),
      rule(4, [], { listeners: ['in'] }),
      rule(5, ['reviews'], { ports: [80, 8080] }),
    ],
  })
  t.same(
    result.notes.map((n) => n.message),
    [
      'there is no service `reveiws.default.svc.cluster.local`, so that nobody is asked; did you mean `reviews.default.svc.cluster.local`?',
      'there is no service `*.none`, so that nobody is asked',
      'its services have the ports 80, 81, not 8080, so that nobody is asked',
    ],
  )
  t.same(
    result.statuses.filter((s) => s.state !== 'in-force'),
    [],
  )
})

t.test('without rules nobody is asked', async (t) => {
  const result = loadText(t, entry('a.example'))
  t.ok(result.snapshot.clusters.flatMap((c) => c.endpoints).every((e) => e.healthCheck === null))
})

const group = (probe: string, more = '') =>
  istio('WorkloadGroup', 'vms', `{template: {}${probe === '' ? '' : `, probe: ${probe}`}${more}}`)
const MEMBER = ', annotations: {istio.io/autoRegistrationGroup: vms}'
const OWNED =
  ', ownerReferences: [{apiVersion: networking.istio.io/v1, kind: WorkloadGroup, name: vms, uid: x, controller: true}]'
const vm = (name: string, address: string, meta: string) =>
  istio('WorkloadEntry', name, `{address: ${address}, labels: {app: vm}}`, meta)
const SELECTING = istio(
  'ServiceEntry',
  'vm',
  '{hosts: [vm.example], resolution: STATIC, ports: [{number: 80, name: http}], workloadSelector: {labels: {app: vm}}}',
)
const probesOf = (result: ReturnType<typeof loadText>) =>
  clusterOf(result, 'outbound|80||vm.example').endpoints.map((e) => e.healthCheck)

t.test('entries belong to a group by annotation or owner, in its namespace', async (t) => {
  const result = loadText(
    t,
    SELECTING +
      group('{tcpSocket: {port: 7}}') +
      vm('a', '10.0.0.1', MEMBER) +
      vm('b', '10.0.0.2', OWNED) +
      vm('c', '10.0.0.3', '') +
      vm('d', '10.0.0.4', OWNED.replace('kind: WorkloadGroup', 'kind: Deployment')) +
      vm('e', '10.0.0.5', MEMBER.replace('vms', 'others')),
    { healthChecks: [rule(9, ['vm.example'])] },
  )
  t.same(
    probesOf(result).map((check) => check?.probe.port),
    [7, 7, 9, 9, 9],
    'the group comes before heddle.yaml, which has the rest',
  )
  t.match(probesOf(result)[0]?.origin, { kind: 'WorkloadGroup', name: 'vms', line: 10 })
  t.equal(statusOf(result, 'vms').state, 'in-force')
  const elsewhere = loadText(
    t,
    SELECTING +
      group('{tcpSocket: {port: 7}}', '').replace('{name: vms}', '{name: vms, namespace: x}') +
      vm('a', '10.0.0.1', MEMBER),
  )
  t.same(probesOf(elsewhere), [null])
  t.match(statusOf(elsewhere, 'vms'), {
    state: 'waiting',
    reason:
      'waiting for a WorkloadEntry in `x` that belongs to it by the annotation istio.io/autoRegistrationGroup: vms, or an ownerReference',
  })
})

t.test('probes and their defaults', async (t) => {
  const defaults = { intervalMs: 10_000, timeoutMs: 1000, unhealthyThreshold: 3, healthyThreshold: 1, initialDelayMs: 0 }
  const http: HealthProbe = {
    kind: 'http',
    tls: false,
    port: 80,
    path: '/',
    host: '',
    headers: [],
    statuses: [{ from: 200, to: 399 }],
  }
  const rows: [probe: string, wanted: object | null, note?: RegExp][] = [
    ['', null],
    ['{tcpSocket: {port: 5}}', { ...defaults, probe: { kind: 'tcp', port: 5 } }],
    ['{grpc: {port: 5, service: s}}', { ...defaults, probe: { kind: 'grpc', port: 5, service: 's' } }],
    ['{httpGet: {port: 80}}', { ...defaults, probe: http }],
    [
      '{initialDelaySeconds: 1, timeoutSeconds: 2, periodSeconds: 3, successThreshold: 4, failureThreshold: 5, httpGet: {port: 80, path: up, scheme: HTTPS, httpHeaders: [{name: Host, value: h.test}, {name: x, value: y}]}}',
      {
        intervalMs: 3000,
        timeoutMs: 2000,
        unhealthyThreshold: 5,
        healthyThreshold: 4,
        initialDelayMs: 1000,
        probe: { ...http, tls: true, path: '/up', host: 'h.test', headers: [['x', 'y']] },
      },
    ],
    [
      '{timeoutSeconds: 0, periodSeconds: 0, successThreshold: 0, failureThreshold: 0, tcpSocket: {port: 5}}',
      { ...defaults, probe: { kind: 'tcp', port: 5 } },
    ],
    [
      '{httpGet: {port: 80, host: localhost}}',
      { ...defaults, probe: { ...http, host: 'localhost' } },
      /line \d+: spec\.probe\.httpGet\.host: is sent as the Host header/,
    ],
    [
      '{tcpSocket: {port: 5, host: localhost}}',
      { ...defaults, probe: { kind: 'tcp', port: 5 } },
      /spec\.probe\.tcpSocket\.host: has no effect/,
    ],
    ['{exec: {command: [ls]}}', null, /spec\.probe\.exec: a command cannot be run from here/],
  ]
  for (const [probe, wanted, note] of rows) {
    const result = loadText(t, SELECTING + group(probe) + vm('a', '10.0.0.1', MEMBER))
    const [check] = probesOf(result)
    const { origin: _, ...seen } = check ?? { origin: null }
    t.same(check === null ? null : seen, wanted, probe)
    const status = statusOf(result, 'vms')
    t.equal(status.state, note === undefined ? 'in-force' : 'partly', probe)
    t.match(status.reason, note ?? /^$/, probe)
  }
})

t.test('what a WorkloadGroup cannot say', async (t) => {
  const head = 'apiVersion: networking.istio.io/v1\nkind: WorkloadGroup\nmetadata: {name: x}\nspec:\n'
  const rows: [spec: string, line: number, column: number, reason: RegExp][] = [
    ['  metadata: {}\n', 5, 3, /spec: the `template` is required and missing/],
    ['  template: {address: 10.0.0.1}\n', 5, 14, /spec\.template\.address: the template has no address/],
    ['  template: {ports: {http: 0}}\n', 5, 28, /expected a port from 1 to 65535, found 0/],
    ['  template: {serviceAcount: a}\n', 5, 14, /did you mean `serviceAccount`/],
    ['  template: {}\n  probe: {}\n', 6, 10, /a probe needs one of httpGet, tcpSocket, exec, grpc/],
    ['  template: {}\n  probe: {httpGet: {port: 1}, grpc: {port: 1}}\n', 6, 31, /only one of .* found httpGet and grpc/],
    ['  template: {}\n  probe: {httpGet: {}}\n', 6, 20, /expected a port from 1 to 65535, found none/],
    ['  template: {}\n  probe: {httpGet: {port: http}}\n', 6, 27, /expected a whole number, found the text "http"/],
    ['  template: {}\n  probe: {httpGet: {port: 1, scheme: http}}\n', 6, 38, /expected HTTP or HTTPS, found "http"/],
    ['  template: {}\n  probe: {httpGet: {port: 1, path: "/a b"}}\n', 6, 36, /cannot hold spaces/],
    ['  template: {}\n  probe: {httpGet: {port: 1, httpHeaders: [{value: x}]}}\n', 6, 44, /a header name is empty/],
    [
      '  template: {}\n  probe: {httpGet: {port: 1, httpHeaders: [{name: x, value: "a\\nb"}]}}\n',
      6,
      44,
      /cannot hold control characters/,
    ],
    ['  template: {}\n  probe: {tcpSocket: {port: 70000}}\n', 6, 29, /found 70000/],
    ['  template: {}\n  probe: {exec: {}}\n', 6, 17, /the `command` is required/],
    [
      '  template: {}\n  probe: {periodSeconds: -1, tcpSocket: {port: 1}}\n',
      6,
      26,
      /expected a number from 0 to 86400, found -1/,
    ],
    ['  template: {}\n  probe: {failureThreshold: -1, tcpSocket: {port: 1}}\n', 6, 29, /expected 0 or more, found -1/],
    ['  template: {}\n  probe: {periodSecond: 1, tcpSocket: {port: 1}}\n', 6, 11, /did you mean `periodSeconds`/],
  ]
  for (const [spec, line, column, reason] of rows) {
    const status = statusOf(loadText(t, head + spec), 'x')
    t.match([status.state, status.line, status.column, status.reason], ['refused', line, column, reason], spec)
  }
})
