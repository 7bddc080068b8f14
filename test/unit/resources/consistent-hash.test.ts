// DestinationRule consistentHash: the balancer of a cluster, what of a request is hashed, and what is refused.
import t from 'tap'
import { clusterOf, loadText, statusOf, tableOf } from './kit.ts'

const service = (name: string, ports: string) =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: default}\nspec: {clusterIP: 10.0.0.1, ports: ${ports}}\n`
const istio = (kind: string, name: string, spec: string) =>
  `---\napiVersion: networking.istio.io/v1\nkind: ${kind}\nmetadata: {name: ${name}, namespace: default}\nspec: ${spec}\n`
const HTTP = '[{name: http, port: 8080}, {name: http-b, port: 8081}]'

const lb = (hash: string) => `{loadBalancer: {consistentHash: ${hash}}}`
const rule = (policy: string, subsets = '[]') =>
  istio('DestinationRule', 'r', `{host: a, trafficPolicy: ${policy}, subsets: ${subsets}}`)

t.test('balancers and their sizes', async (t) => {
  const ring = (minimumRingSize: number) => ({ kind: 'RING_HASH', minimumRingSize, maximumRingSize: 8_388_608 })
  const rows: [hash: string, expected: object][] = [
    ['{useSourceIp: true}', ring(1024)],
    ['{useSourceIp: true, ringHash: {}}', ring(1024)],
    ['{useSourceIp: true, ringHash: {minimumRingSize: 0}}', ring(1024)],
    ['{useSourceIp: true, ringHash: {minimumRingSize: 64}}', ring(64)],
    ['{useSourceIp: true, minimumRingSize: 99}', ring(99)],
    ['{useSourceIp: true, maglev: {tableSize: 251}}', { kind: 'MAGLEV', tableSize: 251 }],
  ]
  for (const [hash, expected] of rows) {
    const result = loadText(t, service('a', HTTP) + rule(lb(hash)))
    t.same(clusterOf(result, 'outbound|8080||a.default.svc.cluster.local').loadBalancer, expected, hash)
    t.equal(statusOf(result, 'r').reason, '')
  }
})

t.test('what is hashed', async (t) => {
  const rows: [hash: string, expected: object[]][] = [
    ['{httpHeaderName: X-User}', [{ kind: 'header', name: 'X-User' }]],
    ['{httpQueryParameterName: k}', [{ kind: 'query', name: 'k' }]],
    ['{useSourceIp: true}', [{ kind: 'sourceIp' }]],
    ['{useSourceIp: false}', []],
    ['{}', []],
    ['{httpCookie: {name: c}}', [{ kind: 'cookie', name: 'c', path: '', ttlSeconds: -1, attributes: [] }]],
    ['{httpCookie: {name: c, ttl: 0s}}', [{ kind: 'cookie', name: 'c', path: '', ttlSeconds: 0, attributes: [] }]],
    [
      '{httpCookie: {name: c, path: /p, ttl: 90.5s, attributes: [{name: Secure}, {name: SameSite, value: Lax}]}}',
      [
        {
          kind: 'cookie',
          name: 'c',
          path: '/p',
          ttlSeconds: 90,
          attributes: [
            { name: 'Secure', value: '' },
            { name: 'SameSite', value: 'Lax' },
          ],
        },
      ],
    ],
  ]
  for (const [hash, expected] of rows) {
    const result = loadText(t, service('a', HTTP) + rule(lb(hash)))
    const action = tableOf(result, 8080).virtualHosts.find((h) => h.name.startsWith('a.'))?.routes[0]?.action
    t.same(action?.kind === 'forward' && action.hashPolicies, expected, hash)
    const note = expected.length === 0 ? /consistentHash: names nothing to hash: endpoints are drawn$/ : /^$/
    t.match(statusOf(result, 'r').reason, note)
  }
})

t.test(
  'levels: subset and port, subset, port, destination; a destination without a port has no part in the settings of ports',
  async (t) => {
    const of = (name: string) => `consistentHash: {httpHeaderName: ${name}}`
    const ports = (name: string) => `portLevelSettings: [{port: {number: 8080}, loadBalancer: {${of(name)}}}]`
    const policy = `{loadBalancer: {${of('all')}}, ${ports('port')}}`
    const subsets = `[{name: both, trafficPolicy: {loadBalancer: {${of('subset')}}, ${ports('subset-port')}}}, {name: own, trafficPolicy: {loadBalancer: {${of('own')}}}}, {name: none}]`
    const to = (more: string) => `{destination: {host: a${more}}}`
    const rows: [name: string, route: string, expected: string[]][] = [
      ['plain', `[${to('')}]`, ['all']],
      ['port', `[${to(', port: {number: 8080}')}]`, ['port']],
      ['other-port', `[${to(', port: {number: 8081}')}]`, ['all']],
      ['subset', `[${to(', subset: both')}]`, ['subset']],
      ['subset-port', `[${to(', subset: both, port: {number: 8080}')}]`, ['subset-port']],
      ['subset-before-port', `[${to(', subset: own, port: {number: 8080}')}]`, ['own']],
      ['none', `[${to(', subset: none, port: {number: 8080}')}]`, ['port']],
      ['elsewhere', '[{destination: {host: b}}]', []],
    ]
    const http = rows.map(([name, route]) => `{name: ${name}, match: [{uri: {exact: /${name}}}], route: ${route}}`)
    const split =
      '{name: split, route: [{destination: {host: a, subset: own}, weight: 1}, {destination: {host: b}, weight: 1}, {destination: {host: a}, weight: 1}, {destination: {host: a, subset: both}, weight: 0}]}'
    const text = service('a', HTTP) + service('b', HTTP) + rule(policy, subsets)
    const result = loadText(t, text + istio('VirtualService', 'v', `{hosts: [v.test], http: [${[...http, split].join()}]}`))
    const routes = tableOf(result, 80).virtualHosts.find((h) => h.name === 'v.test:80')?.routes ?? []
    const names = (name: string) => {
      const action = routes.find((r) => r.name === name)?.action
      return action?.kind === 'forward' ? action.hashPolicies.map((p) => (p.kind === 'header' ? p.name : p.kind)) : null
    }
    for (const [name, , expected] of rows) t.same(names(name), expected, name)
    t.same(names('split'), ['own', 'all'], 'of all destinations that have a weight, in their order')
    const plain = loadText(t, text)
    const own = (port: number) => {
      const action = tableOf(plain, port).virtualHosts.find((h) => h.name === `a.default.svc.cluster.local:${port}`)?.routes[0]
        ?.action
      return action?.kind === 'forward' ? action.hashPolicies : null
    }
    t.same(
      [own(8080), own(8081)],
      [[{ kind: 'header', name: 'port' }], [{ kind: 'header', name: 'all' }]],
      'without a VirtualService',
    )
  },
)

t.test('a destination that does not learn of the hash of its port is told', async (t) => {
  const ports = '{portLevelSettings: [{port: {number: 8080}, loadBalancer: {consistentHash: {httpHeaderName: x}}}]}'
  const to = (destination: string) =>
    loadText(
      t,
      service('a', HTTP) +
        rule(ports) +
        istio('VirtualService', 'v', `{hosts: [a], http: [{route: [{destination: ${destination}}]}]}`),
    )
  t.match(statusOf(to('{host: a}'), 'v'), {
    state: 'partly',
    reason:
      /http\[0\]\.route\[0\]\.destination: without a `port` .* port 8080 of DestinationRule default\/r: endpoints are drawn$/,
  })
  t.equal(statusOf(to('{host: a, port: {number: 8080}}'), 'v').reason, '')
  t.equal(statusOf(to('{host: a, port: {number: 8081}}'), 'v').reason, '')
})

t.test('retries stay with the endpoint, unless the rule says otherwise', async (t) => {
  const to = '{destination: {host: a}}'
  const rows: [name: string, rest: string, avoids: boolean][] = [
    ['default', `route: [${to}]`, false],
    ['written', `route: [${to}], retries: {attempts: 1}`, false],
    ['asked', `route: [${to}], retries: {attempts: 1, retryIgnorePreviousHosts: true}`, true],
    ['other', 'route: [{destination: {host: b}}]', true],
    ['two', `route: [{destination: {host: a}, weight: 1}, {destination: {host: a}, weight: 1}]`, true],
  ]
  const http = rows.map(([name, rest]) => `{name: ${name}, match: [{uri: {exact: /${name}}}], ${rest}}`)
  const result = loadText(
    t,
    service('a', HTTP) +
      service('b', HTTP) +
      rule(lb('{httpHeaderName: x}')) +
      istio('VirtualService', 'v', `{hosts: [v.test], http: [${http.join()}]}`),
  )
  const routes = tableOf(result, 80).virtualHosts.find((h) => h.name === 'v.test:80')?.routes ?? []
  for (const [name, , avoids] of rows) {
    const action = routes.find((r) => r.name === name)?.action
    t.equal(action?.kind === 'forward' && action.retry?.avoidPreviousHosts, avoids, name)
  }
  const own = tableOf(result, 8080).virtualHosts.find((h) => h.name.startsWith('a.'))?.routes[0]?.action
  t.equal(own?.kind === 'forward' && own.retry?.avoidPreviousHosts, true, 'without a VirtualService istiod leaves the default')
})

t.test("TCP: the client's address, where the rule of the first destination says so", async (t) => {
  const tcp = (name: string) => service(name, '[{name: tcp, port: 5432}]')
  const hashed = (host: string, subsets = '[]', policy = lb('{useSourceIp: true}')) =>
    istio('DestinationRule', host, `{host: ${host}, trafficPolicy: ${policy}, subsets: ${subsets}}`)
  const virtual = (host: string, route: string) => istio('VirtualService', host, `{hosts: [${host}], tcp: [{route: ${route}}]}`)
  const to = (host: string, more = '') => `{destination: {host: ${host}${more}}, weight: 1}`
  const subsets = '[{name: own, trafficPolicy: {loadBalancer: {simple: RANDOM}}}, {name: bare}]'
  const rows: [host: string, text: string, expected: boolean][] = [
    ['plain', '', false],
    ['hashed', hashed('hashed'), true],
    ['by-header', hashed('by-header', '[]', lb('{httpHeaderName: x}')), false],
    ['routed', virtual('routed', `[${to('target')}]`), true],
    ['own', virtual('own', `[${to('target', ', subset: own')}]`), false],
    ['bare', virtual('bare', `[${to('target', ', subset: bare')}]`), true],
    ['first', virtual('first', `[${to('target', ', subset: own')}, ${to('plain')}]`), true],
    ['second', virtual('second', `[${to('plain')}, ${to('target')}]`), false],
  ]
  const text = tcp('target') + hashed('target', subsets) + rows.map(([host, more]) => tcp(host) + more).join('')
  const listeners = rows.map(([host]) => ({ name: host, protocol: 'tcp' as const, destination: `${host}.default:5432` }))
  const result = loadText(t, text, { listeners })
  for (const [host, , expected] of rows) {
    const network = result.snapshot.listeners.find((l) => l.name === host)?.filterChains[0]?.network
    t.equal(network?.kind === 'tcp' && network.hashSourceIp, expected, host)
  }
})

t.test('what is refused, and where', async (t) => {
  const head =
    'apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: x}\nspec:\n  host: a\n  trafficPolicy:\n    loadBalancer:\n'
  const rows: [text: string, line: number, column: number, reason: RegExp][] = [
    [
      '      simple: RANDOM\n      consistentHash: {useSourceIp: true}\n',
      9,
      7,
      /`simple` and `consistentHash` cannot both be set/,
    ],
    [
      '      consistentHash: {httpHeaderName: x, useSourceIp: true}\n',
      8,
      43,
      /only one of .* found httpHeaderName and useSourceIp/,
    ],
    ['      consistentHash: {useSourceIp: true, ringHash: {}, maglev: {tableSize: 5}}\n', 8, 57, /found ringHash and maglev/],
    ['      consistentHash: {ringHash: {}, minimumRingSize: 5}\n', 8, 38, /found ringHash and minimumRingSize/],
    ['      consistentHash: {httpHeaderName: "x y"}\n', 8, 40, /`x y` is no header name/],
    ['      consistentHash: {httpQueryParameterName: ""}\n', 8, 48, /the name of the parameter is empty/],
    ['      consistentHash: {httpCookie: {ttl: 5s}}\n', 8, 36, /the cookie needs a `name`/],
    ['      consistentHash: {httpCookie: {name: "a;b"}}\n', 8, 43, /cannot hold a semicolon/],
    ['      consistentHash: {httpCookie: {name: a, path: "/\\n"}}\n', 8, 52, /cannot hold a semicolon or a control character/],
    ['      consistentHash: {httpCookie: {name: a, attributes: [{value: b}]}}\n', 8, 59, /the attribute needs a `name`/],
    ['      consistentHash: {httpCookie: {name: a, attributes: [{name: b}, {name: b}]}}\n', 8, 77, /`b` is listed twice/],
    ['      consistentHash: {ringHash: {minimumRingSize: 9000000}}\n', 8, 52, /from 0 to 8388608, found 9000000/],
    ['      consistentHash: {ringHash: {minimumRingSize: -1}}\n', 8, 52, /from 0 to 8388608, found -1/],
    ['      consistentHash: {maglev: {}}\n', 8, 32, /a `tableSize` that is a prime number, such as 65537, found none/],
    ['      consistentHash: {maglev: {tableSize: 65536}}\n', 8, 32, /prime number, .* found 65536/],
    ['      consistentHash: {maglev: {tableSize: 5000077}}\n', 8, 44, /expected at most 5000011, found 5000077/],
    ['      consistentHash: {httpHeaderNam: x}\n', 8, 24, /unknown field `httpHeaderNam`; did you mean `httpHeaderName`\?/],
  ]
  for (const [text, line, column, reason] of rows) {
    const status = statusOf(loadText(t, head + text), 'x')
    t.match(status, { state: 'refused', reason }, text)
    t.same([status.line, status.column], [line, column], `${text}${status.reason}`)
  }
})
