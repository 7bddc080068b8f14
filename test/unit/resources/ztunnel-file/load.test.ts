// ztunnel's local file: what is read of it, what is refused and where, and what stays in force meanwhile.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { MeshIndex } from '../../../../lib/decide/tunnel/mesh-index.ts'
import { decideOutbound } from '../../../../lib/decide/tunnel/outbound.ts'
import { L4Authorizer } from '../../../../lib/policy/l4-authorizer.ts'
import { l4Connection } from '../../../../lib/policy/l4-match.ts'
import { WorldLoader, type WorldResult } from '../../../../lib/resources/ztunnel-file/load.ts'

class Files {
  readonly folder: string
  readonly loader: WorldLoader

  constructor(t: Test, names = ['mesh.yaml']) {
    this.folder = mkdtempSync(join(tmpdir(), 'heddle-mesh-'))
    t.teardown(() => rmSync(this.folder, { recursive: true }))
    this.loader = new WorldLoader(
      names.map((n) => join(this.folder, n)),
      'cluster.local',
    )
  }

  load(text: string, name = 'mesh.yaml'): WorldResult {
    writeFileSync(join(this.folder, name), text)
    return this.loader.load()
  }
}

const read = (t: Test, text: string) => new Files(t).load(text)

const EXAMPLE = `
workloads:
- uid: cluster1//Pod/default/web
  name: web
  namespace: default
  serviceAccount: web
  trustDomain: mesh.example
  workloadIps: ["10.0.0.1", "FD00::0:1"]
  protocol: HBONE
  node: node1
  network: ""
  clusterId: cluster1
  waypoint: {destination: default/way.mesh, hboneMtlsPort: 15008}
  networkGateway: {destination: west/192.0.2.7, hboneMtlsPort: 15009}
  applicationTunnel: {protocol: PROXY, port: 15088}
  authorizationPolicies: [default/listed]
  status: Unhealthy
  capacity: 3
  locality: {region: r, zone: z}
  canonicalName: web
  workloadType: deployment
  services:
    "default/Web.mesh":
      80: 8080
- name: bare
  namespace: default
  hostname: db.example.com
  services: {}
services:
- name: web
  namespace: default
  hostname: Web.mesh
  vips: [/10.9.0.1, west/10.9.0.2]
  cidrVips: [{network: "", cidr: 10.8.0.0/16}]
  ports: {80: 8080, 443: 0}
  subjectAltNames: [spiffe://mesh.example/ns/default/sa/other]
  weightedWaypoints: [{destination: {destination: default/way.mesh, hboneMtlsPort: 15008}, weight: 9}]
  loadBalancer: {routingPreferences: [Network, Region], mode: Failover, healthPolicy: AllowAll}
  ipFamilies: Dual
  canonical: true
  visibility: Namespace
  endpoints:
    cluster1//Pod/default/web: {workloadUid: cluster1//Pod/default/web, port: {443: 8443}, status: Healthy}
- {name: way, namespace: default, hostname: way.mesh, vips: [], ports: {15008: 15008}}
policies:
- name: listed
  namespace: default
  scope: WorkloadSelector
  action: Allow
  dryRun: false
  rules:
  - - - principals: [!Exact mesh.example/ns/default/sa/web, !Prefix mesh.example/, !Suffix /sa/db, !Presence []]
        notNamespaces: [{Exact: prod}, {Presence: []}]
        serviceAccounts: [{namespace: default, serviceAccount: web}]
        sourceIps: [10.0.0.0/8, "::/0"]
        notDestinationPorts: [9999]
    - - {}
- {name: all, namespace: istio-system, scope: Global, action: Deny, rules: [], dryRun: true}
`

t.test('everything that it may say', async (t) => {
  const { world, statuses, notes, fatal } = read(t, EXAMPLE)
  t.same(
    statuses.map((s) => [s.kind, s.namespace, s.name, s.state, s.line, s.column]),
    [
      ['Workload', 'default', 'web', 'in-force', 3, 3],
      ['Workload', 'default', 'bare', 'in-force', 25, 3],
      ['Service', 'default', 'web', 'in-force', 30, 3],
      ['Service', 'default', 'way', 'in-force', 44, 3],
      ['Authorization', 'default', 'listed', 'in-force', 46, 3],
      ['Authorization', 'istio-system', 'all', 'in-force', 58, 3],
    ],
  )
  t.same([fatal, notes], [null, []])
  const [web, bare] = world.workloads
  const { origin, ...rest } = web!
  t.same([origin.kind, origin.name, origin.line], ['Workload', 'web', 3])
  t.same(rest, {
    uid: 'cluster1//Pod/default/web',
    name: 'web',
    namespace: 'default',
    serviceAccount: 'web',
    trustDomain: 'mesh.example',
    network: '',
    addresses: ['10.0.0.1', 'fd00::1'],
    hostname: '',
    protocol: 'HBONE',
    networkMode: 'STANDARD',
    nativeTunnel: false,
    applicationTunnel: { protocol: 'PROXY', port: 15088 },
    waypoint: { destination: { kind: 'hostname', namespace: 'default', hostname: 'way.mesh' }, hboneMtlsPort: 15008 },
    networkGateway: { destination: { kind: 'address', network: 'west', address: '192.0.2.7' }, hboneMtlsPort: 15009 },
    services: [{ service: 'default/web.mesh', ports: [{ servicePort: 80, targetPort: 8080 }] }],
    authorizationPolicies: ['default/listed'],
    healthy: false,
    capacity: 3,
    node: 'node1',
    clusterId: 'cluster1',
    locality: { region: 'r', zone: 'z', subzone: '' },
    canonicalName: 'web',
    canonicalRevision: '',
    workloadName: '',
    workloadType: 'deployment',
  })
  t.match(bare, {
    uid: 'Kubernetes//Pod/default/bare',
    serviceAccount: 'default',
    trustDomain: 'cluster.local',
    protocol: 'TCP',
    hostname: 'db.example.com',
    healthy: true,
    capacity: 1,
    applicationTunnel: null,
    waypoint: null,
  })
  const { origin: _, ...service } = world.services[0]!
  t.same(service, {
    name: 'web',
    namespace: 'default',
    hostname: 'web.mesh',
    vips: [
      { network: '', address: '10.9.0.1' },
      { network: 'west', address: '10.9.0.2' },
    ],
    prefixVips: [{ network: '', prefix: { address: '10.8.0.0', length: 16 } }],
    ports: [
      { servicePort: 80, targetPort: 8080 },
      { servicePort: 443, targetPort: 0 },
    ],
    endpoints: [{ workloadUid: 'cluster1//Pod/default/web', ports: [{ servicePort: 443, targetPort: 8443 }], healthy: true }],
    subjectAltNames: ['spiffe://mesh.example/ns/default/sa/other'],
    waypoint: null,
    weightedWaypoints: [
      {
        destination: { destination: { kind: 'hostname', namespace: 'default', hostname: 'way.mesh' }, hboneMtlsPort: 15008 },
        weight: 9,
      },
    ],
    loadBalancing: { scopes: ['NETWORK', 'REGION'], mode: 'FAILOVER', healthPolicy: 'ALLOW_ALL' },
    ipFamilies: 'DUAL',
    canonical: true,
    visibility: 'NAMESPACE',
  })
  const [listed, all] = world.policies
  t.match(listed, { scope: 'WORKLOAD_SELECTOR', action: 'ALLOW', dryRun: false })
  t.match(all, { scope: 'GLOBAL', action: 'DENY', dryRun: true, rules: [] })
  t.equal(listed?.rules[0]?.origin.line, 52)
  const match = listed?.rules[0]?.clauses[0]?.matches[0]
  t.same(match?.principals, [
    { kind: 'exact', value: 'mesh.example/ns/default/sa/web' },
    { kind: 'prefix', value: 'mesh.example/' },
    { kind: 'suffix', value: '/sa/db' },
    { kind: 'presence' },
  ])
  t.same(match?.notNamespaces, [{ kind: 'exact', value: 'prod' }, { kind: 'presence' }])
  t.same(match?.sourceIps, [
    { address: '10.0.0.0', length: 8 },
    { address: '::', length: 0 },
  ])
  t.same(match?.notDestinationPorts, [9999])
  t.same(match?.serviceAccounts, [{ namespace: 'default', serviceAccount: 'web' }])
  t.equal(listed?.rules[0]?.clauses.length, 2)
  t.same(structuredClone(world), world, 'it can cross to a worker')
})

t.test('the form of a list of nothing', async (t) => {
  for (const text of ['', 'workloads:\n', 'workloads: []\nservices:\npolicies: []\n', '# nothing\n']) {
    const { world, statuses, fatal } = read(t, text)
    t.same([world, statuses, fatal], [{ workloads: [], services: [], policies: [] }, [], null], JSON.stringify(text))
  }
})

t.test('refused, with the place and what to write', async (t) => {
  const w = (fields: string) => `workloads:\n- {name: a, namespace: ns, ${fields}}\n`
  const s = (fields: string) => `services:\n- {name: a, namespace: ns, hostname: a.mesh, ${fields}}\n`
  const m = (fields: string) =>
    `policies:\n- {name: a, namespace: ns, scope: Namespace, action: Allow, rules: [[[{${fields}}]]]}\n`
  const rows: [text: string, place: [line: number, column: number], reason: RegExp][] = [
    ['workload: []\n', [1, 1], /unknown field `workload`; did you mean `workloads`/],
    ['- name: a\n', [1, 1], /expected a map with workloads, services, policies, found a list/],
    ['workloads: {a: b}\n', [1, 12], /expected a list, found a map/],
    ['workloads:\n- just text\n', [2, 3], /expected a map/],
    ['workloads:\n- name: a\n  nam: b\n', [3, 3], /unknown field `nam`; did you mean `name`.*the field `namespace` is required/],
    [w('workloadIp: 10.0.0.1'), [2, 28], /unknown field `workloadIp`; did you mean `workloadIps`/],
    [w('workloadIps: [10.0.0.256]'), [2, 42], /workloadIps\[0\]: expected an IP address, found "10\.0\.0\.256"/],
    [w('workloadIps: 10.0.0.1'), [2, 41], /expected a list, found the text "10\.0\.0\.1"/],
    [w('services: {}'), [2, 3], /it needs `workloadIps`, a `hostname` or a `networkGateway`/],
    ['workloads:\n- {namespace: ns, workloadIps: [10.0.0.1]}\n', [2, 3], /needs a `uid` or a `name`/],
    [
      w('workloadIps: [10.0.0.1], protocol: hbone'),
      [2, 63],
      /expected one of TCP, HBONE, found the text "hbone"; did you mean `HBONE`/,
    ],
    [
      w('workloadIps: [10.0.0.1], services: {web.mesh: {80: 80}}'),
      [2, 64],
      /services\["web\.mesh"\]: expected `namespace\/hostname`, found "web\.mesh"/,
    ],
    [
      w('workloadIps: [10.0.0.1], services: {ns/web.mesh: {http: 80}}'),
      [2, 78],
      /the number of a port from 1 to 65535, found `http`/,
    ],
    [w('workloadIps: [10.0.0.1], services: {ns/web.mesh: {80: 65536}}'), [2, 82], /expected a port from 0 to 65535, found 65536/],
    [
      w('workloadIps: [10.0.0.1], waypoint: {destination: way.mesh, hboneMtlsPort: 15008}'),
      [2, 77],
      /expected `namespace\/hostname` or `network\/IP`, found "way\.mesh"/,
    ],
    [
      w('workloadIps: [10.0.0.1], waypoint: {destination: ns/way.mesh}'),
      [2, 63],
      /waypoint: the field `hboneMtlsPort` is required/,
    ],
    [
      w('workloadIps: [10.0.0.1], waypoint: {destination: ns/way.mesh, hboneMtlsPort: 0}'),
      [2, 105],
      /expected a port from 1 to 65535, found 0/,
    ],
    [w('workloadIps: [10.0.0.1], capacity: -1'), [2, 63], /from 0 to 4294967295, found -1/],
    [w('workloadIps: [10.0.0.1], locality: {regio: r}'), [2, 64], /unknown field `regio`; did you mean `region`/],
    [
      s('vips: [10.9.0.1]'),
      [2, 53],
      /expected `network\/IP`, found "10\.9\.0\.1"; for the default network write "\/10\.9\.0\.1"/,
    ],
    [s('vips: [/10.9.0.1/32]'), [2, 53], /expected `network\/IP`/],
    [s('cidrVips: [{network: "", cidr: 10.0.0.1}]'), [2, 77], /found "10\.0\.0\.1"; for one address write 10\.0\.0\.1\/32/],
    [
      s('subjectAltNames: [web]'),
      [2, 64],
      /expected spiffe:\/\/<trust domain>\/ns\/<namespace>\/sa\/<service account>, found "web"/,
    ],
    [
      s('loadBalancer: {mode: STRICT}'),
      [2, 67],
      /expected one of Standard, Strict, Failover, Passthrough.*did you mean `Strict`/,
    ],
    [s('visibility: Private'), [2, 58], /expected one of Public, Namespace/],
    [
      m('principals: [a]'),
      [2, 85],
      /rules\[0\]\[0\]\[0\]\.principals\[0\]: expected one of !Exact, !Prefix, !Suffix and !Presence, found the text "a"; write !Exact "a"/,
    ],
    [
      m('principals: [{exact: a}]'),
      [2, 86],
      /expected one of Exact, Prefix, Suffix, Presence, found `exact`; did you mean `Exact`/,
    ],
    [m('principals: [{Exact: 1}]'), [2, 93], /expected text, found the number 1/],
    [m('principal: [!Exact a]'), [2, 72], /unknown field `principal`; did you mean `principals`/],
    [m('sourceIps: [10.0.0.1]'), [2, 84], /for one address write 10\.0\.0\.1\/32/],
    [m('sourceIps: [10.0.0.0/33]'), [2, 84], /such as 10\.0\.0\.0\/8/],
    [m('destinationPorts: [70000]'), [2, 91], /expected a port from 0 to 65535, found 70000/],
    [
      'policies:\n- {name: a, namespace: ns, scope: Mesh, action: Allow, rules: []}\n',
      [2, 35],
      /expected one of Global, Namespace, WorkloadSelector/,
    ],
    ['policies:\n- {name: a, namespace: ns, scope: Global, action: Custom, rules: []}\n', [2, 51], /expected one of Allow, Deny/],
    ['policies:\n- {name: a, namespace: ns, scope: Global, action: Deny}\n', [2, 3], /the field `rules` is required/],
    ['workloads:\n- name: !Nope a\n', [2, 9], /tags of your own are not supported/],
    ['workloads: [\n', [2, 1], /not valid YAML/],
  ]
  for (const [text, place, reason] of rows) {
    const [status, ...others] = read(t, text).statuses
    t.same([status?.state, status?.line, status?.column, others], ['refused', ...place, []], text)
    t.match(status?.reason, reason, text)
  }
})

t.test('a bad object is refused alone, the first of two counts, and several documents are one', async (t) => {
  const files = new Files(t, ['mesh.yaml', 'more.yaml'])
  files.load(
    'workloads:\n- {name: c, namespace: ns, workloadIps: [10.0.0.3]}\n- {name: a, namespace: ns, workloadIps: [10.0.0.9]}\n',
    'more.yaml',
  )
  const { world, statuses } = files.load(
    'workloads:\n- {name: a, namespace: ns, workloadIps: [10.0.0.1]}\n- {name: bad, namespace: ns, workloadIps: [x]}\n---\nworkloads:\n- {name: b, namespace: ns, workloadIps: [10.0.0.2]}\n',
  )
  t.same(
    world.workloads.map((w) => [w.name, w.addresses, w.origin.line]),
    [
      ['a', ['10.0.0.1'], 2],
      ['b', ['10.0.0.2'], 6],
      ['c', ['10.0.0.3'], 2],
    ],
  )
  t.same(
    statuses.map((s) => [s.name, s.state]),
    [
      ['a', 'in-force'],
      ['bad', 'refused'],
      ['b', 'in-force'],
      ['c', 'in-force'],
      ['a', 'shadowed'],
    ],
  )
  t.match(statuses.at(-1)?.reason, /the same object at .*mesh\.yaml:2/)
})

t.test('the last good text of an object stays in force', async (t) => {
  const files = new Files(t)
  const policy = (port: string) =>
    `policies:\n- {name: p, namespace: ns, scope: Namespace, action: Deny, rules: [[[{destinationPorts: [${port}]}]]]}\n`
  files.load(`${policy('80')}workloads:\n- {name: a, namespace: ns, workloadIps: [10.0.0.1]}\n`)
  const ports = (r: WorldResult) => r.world.policies.map((p) => p.rules[0]?.clauses[0]?.matches[0]?.destinationPorts)
  const worse = files.load(policy('http'))
  t.same(ports(worse), [[80]])
  t.match(worse.statuses[0]?.reason, /expected a whole number.*; the version of .* keeps serving, the last good one/)
  t.same(worse.world.workloads, [], 'what is taken out is out')
  t.same(ports(files.load(policy('81'))), [[81]])
  const broken = files.load('policies: [\n')
  t.same(ports(broken), [[81]], 'nor does a file that is no YAML take anything away')
  t.match(broken.statuses.find((s) => s.name === 'p')?.reason, /its file cannot be read \(not valid YAML.*keeps serving/)
  rmSync(join(files.folder, 'mesh.yaml'))
  const gone = files.loader.load()
  t.same([ports(gone), gone.fatal], [[[81]], null], 'nor one that is gone')
  t.same(ports(files.load('policies: []\n')), [])
})

t.test('a first reading without a file is none', async (t) => {
  t.match(new Files(t).loader.load().fatal, /mesh\.yaml: no such file/)
})

t.test('a policy that was never readable denies: a misspelling must not open a workload', async (t) => {
  const bad = (scope: string) =>
    `policies:\n- {name: p, namespace: ns, scope: ${scope}, action: Allow, rules: [[[{destinationPort: [80]}]]]}\nworkloads:\n- {name: a, namespace: ns, workloadIps: [10.0.0.1], authorizationPolicies: [ns/p]}\n- {name: b, namespace: ns, workloadIps: [10.0.0.2]}\n- {name: c, namespace: other, workloadIps: [10.0.0.3]}\n`
  const rows: [scope: string, allowed: boolean[]][] = [
    ['Namespace', [false, false, true]],
    ['Global', [false, false, false]],
    ['WorkloadSelector', [false, true, true]],
    ['Nonsense', [false, false, true]],
  ]
  for (const [scope, allowed] of rows) {
    const { world, statuses } = read(t, bad(scope))
    const authorizer = new L4Authorizer(world.policies)
    const c = l4Connection('10.0.0.9', '10.0.0.1', 80, null)
    t.same(
      world.workloads.map((w) => authorizer.check(w, c).allowed),
      allowed,
      scope,
    )
    t.match(statuses[0]?.reason, /until it can be read, nobody may connect to the workloads that it is for/)
  }
})

t.test('names that nobody has', async (t) => {
  const { notes } = read(
    t,
    'workloads:\n- {name: a, namespace: ns, workloadIps: [10.0.0.1], authorizationPolicies: [ns/nobdy], services: {ns/web.mesg: {}}, waypoint: {destination: ns/way.mesh, hboneMtlsPort: 15008}}\nservices:\n- {name: web, namespace: ns, hostname: web.mesh, endpoints: {nobody: {}}}\npolicies:\n- {name: nobody, namespace: ns, scope: WorkloadSelector, action: Deny, rules: []}\n',
  )
  t.same(
    notes.map((n) => n.message),
    [
      'services: nobody has ns/web.mesg; did you mean `ns/web.mesh`?; it is an endpoint of nothing there',
      'authorizationPolicies: nobody has ns/nobdy; did you mean `ns/nobody`?; the policy does not count',
      'waypoint: nobody has ns/way.mesh; did you mean `ns/web.mesh`?; connections to this workload are refused',
      'endpoints: nobody has nobody; the endpoint does not count',
    ],
  )
})

t.test('a world that was read decides', async (t) => {
  const { world } = read(
    t,
    EXAMPLE.replace('visibility: Namespace', 'visibility: Public').replace('status: Unhealthy', 'status: Healthy'),
  )
  const index = new MeshIndex(structuredClone(world))
  const source = index.workloadByInfo({ name: 'web', namespace: 'default', serviceAccount: 'web' })
  const d = decideOutbound(index, {
    source,
    sourceInfo: source!,
    sourceIp: '10.0.0.1',
    destination: { ip: '10.9.0.1', port: 80 },
    ownPorts: [15001],
    hbonePort: 15008,
    draws: { waypoint: 0, endpoint: 0, gateway: 0, address: 0 },
    resolved: new Map(),
    asked: null,
  })
  t.equal(d.error, 'unknown waypoint: waypoint default/way.mesh:15008 not found', 'its waypoint has no endpoint')
})
