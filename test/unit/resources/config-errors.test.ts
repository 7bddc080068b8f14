// What is said of faulty objects: the place of the offending part, what was expected, what to write instead.
import t from 'tap'
import { loadText } from './kit.ts'

const VS = 'apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\nspec:\n  hosts: [a]\n  http:\n'
const DR = 'apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {name: x}\nspec:\n  host: a\n'
const SE = 'apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\nmetadata: {name: x}\nspec:\n'

/** Text, line and column in it, and what the reason says. */
type Case = readonly [text: string, line: number, column: number, reason: RegExp]

const SCHEMA: readonly Case[] = [
  [
    'apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\nspec:\n  hots: [a]\n',
    5,
    3,
    /spec\.hots: unknown field `hots`; did you mean `hosts`\?/,
  ],
  [`${VS}  - route: [{destination: {hst: a}}]\n`, 7, 28, /unknown field `hst`; did you mean `host`\?/],
  [`${VS}  - route: [{destination: {}}]\n`, 7, 27, /the field `host` is required and missing/],
  [
    `${VS}  - match: [{ignoreUriCase: yes}]\n    redirect: {uri: /}\n`,
    7,
    29,
    /expected true or false, found the text "yes"; write true/,
  ],
  [`${VS}  - match: [{ignoreUriCase: off}]\n    redirect: {uri: /}\n`, 7, 29, /write false/],
  [
    `${VS}  - match: [{headers: {x-v: {exact: 1}}}]\n    redirect: {uri: /}\n`,
    7,
    37,
    /expected text, found the number 1; put it in quotes: "1"/,
  ],
  [
    `${VS}  - match: [{port: "80"}]\n    redirect: {uri: /}\n`,
    7,
    20,
    /expected a whole number, found the text "80"; write it without quotes/,
  ],
  [`${VS}  - route: {destination: {host: a}}\n`, 7, 12, /expected a list, found a map/],
  [
    `${VS}  - {timeout: 5, redirect: {uri: /}}\n`,
    7,
    15,
    /expected a duration such as 5s, 250ms or 1m30s, found the number 5; did you mean 5s\?/,
  ],
  [`${VS}  - {timeout: 5 s, redirect: {uri: /}}\n`, 7, 15, /expected a duration .* found the text "5 s"/],
  [`${VS}  - {redirect: {derivePort: FROM_REQUST_PORT}}\n`, 7, 29, /expected one of .*; did you mean `FROM_REQUEST_PORT`\?/],
  [`${VS}  - {route: [{destination: {host: a}}], constructor: 1}\n`, 7, 41, /`constructor` cannot be the name of a field/],
  [
    'apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 80, targtPort: 1}]}\n',
    4,
    27,
    /unknown field `targtPort`; did you mean `targetPort`\?/,
  ],
  ['apiVersion: v1\nkind: Service\nmetadata: {name: x, labels: {v: 1}}\nspec: {}\n', 3, 33, /put it in quotes/],
  ['apiVersion: v1\nkind: Service\nmetadata: {}\nspec: {}\n', 3, 11, /`name` is required/],
]

const KINDS: readonly Case[] = [
  [
    'apiVersion: networking.istio.io/v1\nkind: VirtualServce\nmetadata: {name: x}\nspec: {}\n',
    2,
    7,
    /unknown kind `VirtualServce`; did you mean `VirtualService`\?/,
  ],
  [
    'apiVersion: networking.istio.io/v2\nkind: VirtualService\nmetadata: {name: x}\nspec: {}\n',
    1,
    13,
    /expected networking\.istio\.io\/v1, networking\.istio\.io\/v1beta1/,
  ],
  [
    'apiVersion: v1\nkind: VirtualService\nmetadata: {name: x}\nspec: {}\n',
    1,
    13,
    /VirtualService belongs to apiVersion `networking\.istio\.io\/v1`/,
  ],
  ['kind: Service\nmetadata: {name: x}\nspec: {}\n', 1, 1, /`apiVersion` is required/],
  ['- just\n- a list\n', 1, 1, /expected a Kubernetes object/],
]

const LB = `${DR}  trafficPolicy:\n    loadBalancer:\n      `
const ANNOTATED = (annotations: string) => DR.replace('{name: x}', `{name: x, annotations: {${annotations}}}`)
const BALANCING: readonly Case[] = [
  [`${LB}localityLbSetting: {distribute: [{from: us, to: {us: 60, eu: 30}}]}\n`, 8, 55, /add up to 90, expected 100/],
  [`${LB}localityLbSetting: {distribute: [{from: us, to: {us: 0, eu: 100}}]}\n`, 8, 60, /from 1 to 100, found 0/],
  [`${LB}localityLbSetting: {distribute: [{from: us, to: {us/a: 50, "us/*": 50}}]}\n`, 8, 74, /`us\/\*` overlaps with `us\/a`/],
  [`${LB}localityLbSetting: {distribute: [{from: "us/*/r", to: {us: 100}}]}\n`, 8, 47, /as the last part only/],
  [`${LB}localityLbSetting: {distribute: [{from: us/, to: {us: 100}}]}\n`, 8, 47, /expected region\/zone\/subzone/],
  [
    `${LB}localityLbSetting: {distribute: [{from: us, to: {us: 100}}, {from: us/a, to: {us: 100}}]}\n`,
    8,
    74,
    /overlaps with `us`/,
  ],
  [`${LB}localityLbSetting: {failover: [{from: us, to: us}]}\n`, 8, 53, /another region than `from`/],
  [`${LB}localityLbSetting: {failover: [{from: us/a, to: eu}]}\n`, 8, 45, /without `\/` and `\*`, found "us\/a"/],
  [
    `${LB}localityLbSetting: {failoverPriority: [topology.kubernetes.io/zone], failover: [{from: us, to: eu}]}\n`,
    8,
    46,
    /cannot be used together with `failover`/,
  ],
  [`${LB}zoneAwareLbSetting: {failoverPriority: [topology.istio.io/subzone]}\n`, 8, 47, /cannot be used in `zoneAwareLbSetting`/],
  [`${LB}warmup: {minimumPercent: 5}\n`, 8, 15, /needs a `duration`/],
  [`${LB}warmup: {duration: 1s, minimumPercent: 101}\n`, 8, 46, /from 0 to 100, found 101/],
  [`${LB}warmup: {duration: 1s, aggression: 0}\n`, 8, 42, /above 0, found 0/],
  [`${LB}warmupDurationSecs: 0s\n`, 8, 27, /at least 1ms/],
  [ANNOTATED('heddle.io/load-balancer: PEAK_EWAM'), 3, 60, /found "PEAK_EWAM"; did you mean `PEAK_EWMA`\?/],
  [ANNOTATED('heddle.io/load-balancer-decay: 1s'), 3, 66, /only together with `heddle\.io\/load-balancer: PEAK_EWMA`/],
  [ANNOTATED('heddle.io/load-balancer: PEAK_EWMA, heddle.io/load-balancer-decay: soon'), 3, 102, /a duration .* found "soon"/],
  [
    'apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {trafficDistribution: PreferClosed}\n',
    4,
    29,
    /found "PreferClosed"; did you mean `PreferClose`\?/,
  ],
]

const SEMANTICS: readonly Case[] = [
  ['apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {clusterIP: nobody}\n', 4, 19, /expected an IP address, or None/],
  ['apiVersion: v1\nkind: Service\nmetadata: {name: x.y}\nspec: {}\n', 3, 18, /metadata\.name: expected letters, digits and `-`/],
  ['apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: "*"}\nspec: {}\n', 3, 32, /metadata\.namespace: expected/],
  [`${DR}  trafficPolicy:\n    connectionPool: {tcp: {maxConnections: -1}}\n`, 7, 44, /expected 0 or more, found -1/],
  [`${DR}  trafficPolicy: {tls: {mode: MUTUAL, privateKey: /k}}\n`, 6, 24, /mode MUTUAL needs a `clientCertificate`/],
  ...BALANCING,
  [`${DR}  exportTo: ["~"]\n`, 6, 14, /only for ServiceEntry/],
  [`${DR}  exportTo: [".", "*"]\n`, 6, 19, /must stand alone/],
  [`${DR}  workloadSelector: {matchLabels: {a: b}}\n  exportTo: ["*"]\n`, 7, 13, /own namespace only/],
  [`${SE}  hosts: ["*"]\n  ports: [{number: 80, name: http}]\n`, 5, 11, /cannot be `\*`/],
  [
    `${SE}  hosts: [a.b]\n  ports: [{number: 80, name: http}, {number: 80, name: http}]\n`,
    6,
    46,
    /port 80 is listed twice; .*name `http` is used twice/,
  ],
  [
    `${SE}  hosts: [a.b]\n  resolution: STATIC\n  ports: [{number: 80, name: http, protocol: HTPT}]\n`,
    7,
    46,
    /did you mean `HTTP`\?/,
  ],
  [
    `${SE}  hosts: [a.b]\n  resolution: STATIC\n  ports: [{number: 80, name: http}]\n  endpoints: [{address: db.local}]\n`,
    8,
    25,
    /write resolution DNS/,
  ],
  [
    `${SE}  hosts: [a.b]\n  ports: [{number: 80, name: http}]\n  endpoints: [{address: 10.0.0.1}]\n`,
    7,
    3,
    /write resolution STATIC or DNS/,
  ],
  [
    `${SE}  hosts: [a.b]\n  resolution: STATIC\n  ports: [{number: 80, name: http}]\n  endpoints: [{address: 10.0.0.1, ports: {htp: 1}}]\n`,
    8,
    43,
    /no port named `htp`; did you mean `http`\?/,
  ],
  [`${SE}  hosts: ["*.b"]\n  resolution: DNS\n  ports: [{number: 80, name: http}]\n`, 5, 11, /cannot be looked up in DNS/],
  [
    `${VS}  - {rewrite: {uriRegexRewrite: {match: "a(b)", rewrite: '\\2'}}, route: [{destination: {host: a}}]}\n`,
    7,
    58,
    /group \\2/,
  ],
]

for (const [name, cases] of Object.entries({ SCHEMA, KINDS, SEMANTICS })) {
  t.test(name.toLowerCase(), async (t) => {
    for (const [text, line, column, reason] of cases) {
      const { statuses } = loadText(t, text)
      t.equal(statuses.length, 1, text)
      const [status] = statuses
      t.equal(status?.state, 'refused', text)
      t.match(status?.reason, reason)
      t.same([status?.line, status?.column], [line, column], `${text}\n${status?.reason}`)
    }
  })
}

t.test('all findings of an object are told at once, in one status', async (t) => {
  const { statuses } = loadText(t, `${VS}  - {timout: 5s, route: [{destinaton: {host: a}}]}\n`)
  t.equal(statuses.length, 1)
  t.match(statuses[0]?.reason, /`timout`; did you mean `timeout`\?/)
  t.match(statuses[0]?.reason, /`destinaton`; did you mean `destination`\?/)
})

t.test('a bad object or document is refused alone', async (t) => {
  const good = 'apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec: {ports: [{port: 80}]}\n'
  const { statuses, snapshot, fatal } = loadText(
    t,
    `${good}---\nkind: "unclosed\n---\n${VS}  - {nothing: 1}\n---\n${good.replace('good', 'better')}`,
  )
  t.equal(fatal, null)
  t.same(
    statuses.map((s) => [s.name, s.state, s.line]),
    [
      ['good', 'in-force', 1],
      ['', 'refused', 6],
      ['x', 'refused', 14],
      ['better', 'in-force', 16],
    ],
  )
  t.ok(snapshot.clusters.some((c) => c.host === 'better.default.svc.cluster.local'))
})

t.test('kinds that are not carried out wait, and a security policy says loudly that it is not enforced', async (t) => {
  const object = (apiVersion: string, kind: string) =>
    `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: x}\nspec: {any: thing}\n`
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['policy.linkerd.io/v1beta3', 'Server', /^NOT ENFORCED/],
    ['networking.istio.io/v1alpha1', 'ProxyConfig', /does not carry it out yet/],
    ['gateway.networking.k8s.io/v1alpha2', 'UDPRoute', /does not carry it out yet/],
    ['apps/v1', 'Deployment', /not used by this role: heddle reads VirtualService/],
    ['serving.knative.dev/v1', 'Service', /not used by this role/],
  ]
  for (const [apiVersion, kind, reason] of cases) {
    const [status] = loadText(t, object(apiVersion, kind)).statuses
    t.equal(status?.state, 'waiting', kind)
    t.match(status?.reason, reason, kind)
  }
})

t.test('a List is its items', async (t) => {
  const text =
    'apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n- apiVersion: v1\n  kind: Service\n  metadata: {name: b}\n  spec: {prts: []}\n'
  const { statuses } = loadText(t, text)
  t.same(
    statuses.map((s) => [s.kind, s.name, s.state, s.line, s.column]),
    [
      ['Namespace', 'a', 'in-force', 4, 3],
      ['Service', 'b', 'refused', 8, 10],
    ],
  )
})
