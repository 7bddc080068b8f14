// The command line, in this process and as a shell sees it.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { main } from '../../../lib/cli/main.ts'
import { refusingPort } from '../../support/free-port.ts'
import { ROOT, runHeddle } from '../../support/proxy.ts'

const folder = mkdtempSync(join(tmpdir(), 'heddle-cli-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

process.chdir(folder)

/** A command in this process: a child process takes a third of a second, and there are dozens here. */
async function heddle(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const said = { stdout: '', stderr: '' }
  const code = await main(args, {
    stdout: {
      write: (text) => {
        said.stdout += text
      },
    },
    stderr: {
      write: (text) => {
        said.stderr += text
      },
    },
    env,
  })
  return { code, ...said }
}

t.test('in a process of its own: output, exit codes, nothing left running', async (t) => {
  t.match(await runHeddle(['--help']), { code: 0, stdout: /^heddle: /, stderr: '' })
  t.match(await runHeddle(['chekc']), { code: 2, stdout: '', stderr: /did you mean check/ })
  t.match(await runHeddle(['run', '--config', 'nowhere.yaml']), { code: 3, stderr: /nowhere\.yaml: no such file/ })
})

const COMMANDS = [
  'run',
  'dev',
  'check',
  'explain',
  'ca',
  'iptables',
  'istio-iptables',
  'istio-clean-iptables',
  'xds',
  'top',
  'version',
]

t.test('help', async (t) => {
  for (const args of [['--help'], ['-h'], ['help']]) {
    const { code, stdout, stderr } = await heddle(args)
    t.equal(code, 0, args.join(' '))
    for (const command of COMMANDS) t.match(stdout, new RegExp(`^  ${command} `, 'm'))
    for (const exit of [0, 1, 2, 3, 4, 5]) t.match(stdout, new RegExp(`^  ${exit} `, 'm'), 'exit codes are told')
    t.equal(stderr, '')
  }
  for (const command of COMMANDS) {
    const { code, stdout } = await heddle([command, '--help'])
    t.equal(code, 0, command)
    t.match(stdout, new RegExp(`^heddle ${command}: `))
    t.match(stdout, / --help +this text/)
    t.notMatch(stdout, '\u001b', 'no colour off a terminal')
  }
  t.equal((await heddle(['help', 'check'])).stdout, (await heddle(['check', '--help'])).stdout)
})

t.test('what is wrong with a command line', async (t) => {
  const cases: [args: string[], message: RegExp][] = [
    [[], /Commands:/],
    [['chekc'], /unknown command chekc; did you mean check\?/],
    [['frobnicate'], /unknown command frobnicate\n/],
    [['toString'], /unknown command toString/],
    [['--json'], /a command comes before its flags/],
    [['check', '--jsn', 'x'], /unknown flag --jsn; did you mean --json\?/],
    [['check', '-x', 'y'], /unknown flag -x/],
    [['check', '--config'], /--config needs a value: --config FILE/],
    [['check', '--json=yes', 'x'], /--json takes no value/],
    [['check', '--config', 'a', '--config', 'b', 'x'], /--config is given twice/],
    [['check'], /which resources\? heddle check DIR/],
    [['explain'], /which request\?/],
    [['explain', 'GET', 'reviews'], /reviews is not a URL; expected http:\/\/host\/path/],
    [['explain', 'http://reviews/', '-H', 'x'], /`x` is not a header; expected `name: value`/],
    [['explain', 'http://reviews/', '--draw', '-1'], /--draw/],
    [['explain', 'GET', 'http://a/', 'b'], /too many arguments: b/],
    [['ca'], /expected init or issue/],
    [['ca', 'isue'], /expected init or issue; found isue/],
    [['ca', 'init', 'x'], /unexpected x/],
    [['ca', 'init', '--trust-domain', 'a/b'], /--trust-domain: .*may have only/],
    [['ca', 'init', '--ttl', '1h'], /--ttl belongs to heddle ca issue/],
    [['ca', 'init', '--key', 'dsa'], /--key: expected ecdsa-p256 or rsa-2048; found dsa/],
    [['ca', 'issue', '--force'], /--force belongs to heddle ca init/],
    [['ca', 'issue'], /needs --identity, or --namespace and --service-account/],
    [['ca', 'issue', '--namespace', 'a'], /belong together/],
    [['ca', 'issue', '--identity', 'spiffe://a/b', '--namespace', 'a'], /needs --identity, or/],
    [['ca', 'issue', '--identity', 'spiffe://a/b', '--ttl', '2161h'], /--ttl: expected a duration/],
    [
      ['ca', 'issue', '--identity', 'spiffe://a/b', '--ca', 'nowhere'],
      /nowhere has no root-cert\.pem; heddle ca init makes a CA/,
    ],
    [['iptables'], /what\? heddle iptables apply, clean or print/],
    [['iptables', 'aply'], /aply is none of apply, clean and print/],
    [['iptables', 'print', '-b', 'x', '-u', 'y'], /--proxy-uid: expected numbers.*\n +--inbound-ports: expected ports/],
    [['iptables', 'print', '--backend', 'ipfw'], /--backend: expected auto, iptables,/],
    [['iptables', 'print', '--annotations', 'nowhere'], /--annotations: ENOENT/],
    [['istio-iptables', 'apply'], /too many arguments: apply/],
    [['istio-clean-iptables', 'now'], /too many arguments: now/],
    [['run'], /no configuration: give --config FILE/],
  ]
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await heddle(args)
    t.equal(code, 2, args.join(' '))
    t.match(stderr, message, args.join(' '))
    t.equal(stdout, '')
  }
})

t.test('iptables print', async (t) => {
  // As the injector of Istio writes it into an init container.
  const istio = [
    '-p',
    '15001',
    '-z',
    '15006',
    '-u',
    '1337',
    '-m',
    'REDIRECT',
    '-i',
    '*',
    '-x',
    '',
    '-b',
    '*',
    '-d',
    '15090,15021,15020',
  ]
  const plain = await heddle(['iptables', 'print', '--ipv6', 'off'])
  t.match(plain, { code: 0, stderr: '', stdout: /^\*nat$/m })
  const asIstio = await heddle([
    'istio-iptables',
    ...istio,
    '--log_output_level=default:info',
    '--log_as_json',
    '--ipv6',
    'off',
    '--dry-run',
  ])
  t.match(asIstio, { code: 0, stdout: plain.stdout }, 'the defaults are what Istio says')
  const long = await heddle([
    'iptables',
    'print',
    '--ipv6',
    'off',
    '--envoy-port',
    '1',
    '--istio-service-cidr',
    '10.0.0.0/8',
    '--redirect-dns',
    '--capture-all-dns',
  ])
  t.match(long.stdout, /-j REDIRECT --to-ports 1$/m)
  t.match(long.stdout, '-d 10.0.0.0/8 -j ISTIO_REDIRECT')
  t.match(long.stdout, /--to-ports 15053/)
  t.match((await heddle(['iptables', 'print'], { ISTIO_INBOUND_PORTS: '8080' })).stdout, '--dport 8080 -j ISTIO_IN_REDIRECT')
  t.match((await heddle(['iptables', 'print', '--backend', 'nft', '--ipv6', 'on'])).stdout, 'table inet istio-proxy-nat {')
  t.match((await heddle(['iptables', 'print', '--ambient'])).stdout, 'fwmark 0x111/0xfff')
  writeFileSync(join(folder, 'annotations'), 'traffic.sidecar.istio.io/excludeOutboundPorts="5432"\n')
  const annotated = await heddle(['iptables', 'print', '--annotations', join(folder, 'annotations')])
  t.match(annotated.stdout, '--dport 5432 -j RETURN')
})

t.test('version', async (t) => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  t.match((await heddle(['version'])).stdout, `heddle ${version} (Node.js ${process.versions.node}`)
  t.match((await heddle(['--version'])).stdout, `heddle ${version} `)
  t.same(JSON.parse((await heddle(['version', '--json'])).stdout), {
    version,
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
  })
})

t.test('a wrong heddle.yaml ends with 3 and its places', async (t) => {
  const file = join(folder, 'wrong.yaml')
  writeFileSync(file, 'listners: []\nadmin: { port: x }\n')
  for (const args of [
    ['run', '--config', file],
    ['check', '--config', file],
    ['explain', '--config', file, 'http://reviews/'],
  ]) {
    const { code, stderr } = await heddle(args)
    t.equal(code, 3, String(args[0]))
    t.match(stderr, `error ${file}:1:1: unknown field \`listners\`; did you mean \`listeners\`?\n`)
    t.match(stderr, `error ${file}:2:16: \`admin.port\`: expected a port`)
  }
  const { code, stderr } = await heddle(['run'], { HEDDLE_CONFIG: 'wrong.yaml' })
  t.equal(code, 3, 'HEDDLE_CONFIG names the file')
  t.match(stderr, /^error wrong\.yaml:1:1/)
})

const MESH = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: reviews, namespace: default }
spec:
  hosts: [ reviews.default.svc.cluster.local ]
  ports: [ { number: 9080, name: http, protocol: HTTP } ]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
    - { address: 127.0.0.1, ports: { http: 9101 }, labels: { version: v1 } }
    - { address: 127.0.0.1, ports: { http: 9102 }, labels: { version: v2 } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews, namespace: default }
spec:
  host: reviews
  subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: default }
spec:
  hosts: [ reviews ]
  http:
    - name: canary
      match: [ { headers: { x-canary: { exact: "true" } } } ]
      route: [ { destination: { host: reviews, subset: v2 } } ]
    - name: main
      route:
        - { destination: { host: reviews, subset: v1 }, weight: 90 }
        - { destination: { host: reviews, subset: v2 }, weight: 10 }
`

const MISSPELT = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ratings, namespace: default }
spec:
  hosts: [ ratings ]
  http:
    - rout: [ { destination: { host: ratings } } ]
`

t.test('check', async (t) => {
  const good = join(folder, 'good')
  const bad = join(folder, 'bad')
  for (const [dir, files] of [
    [good, { 'reviews.yaml': MESH }],
    [bad, { 'reviews.yaml': MESH, 'ratings.yaml': MISSPELT }],
  ] as const) {
    mkdirs(dir)
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text)
  }

  const fine = await heddle(['check', 'good', '--json'])
  t.equal(fine.code, 0, fine.stderr)
  const { resources } = JSON.parse(fine.stdout) as { resources: Record<string, unknown>[] }
  t.same(resources.map((r) => [r['kind'], r['namespace'], r['name'], r['state'], r['reason'], r['file'], r['line']]).sort(), [
    ['DestinationRule', 'default', 'reviews', 'in-force', '', 'good/reviews.yaml', 13],
    ['ServiceEntry', 'default', 'reviews', 'in-force', '', 'good/reviews.yaml', 1],
    ['VirtualService', 'default', 'reviews', 'in-force', '', 'good/reviews.yaml', 20],
  ])

  const refused = await heddle(['check', 'bad', '--json'])
  t.equal(refused.code, 1)
  const ratings = (JSON.parse(refused.stdout) as { resources: Record<string, unknown>[] }).resources.find(
    (r) => r['name'] === 'ratings',
  )
  t.match(ratings, { kind: 'VirtualService', state: 'refused', reason: /rout/, file: 'bad/ratings.yaml' })

  const text = await heddle(['check', 'bad'])
  t.equal(text.code, 1)
  t.match(text.stdout, /^STATE +KIND +NAME +WHERE +REASON\n/)
  t.match(text.stdout, /^refused +VirtualService +default\/ratings +bad\/ratings\.yaml:\d+:\d+ +\S/m)
  t.match(text.stdout, /^in-force +DestinationRule +default\/reviews +bad\/reviews\.yaml:13:1$/m)

  // Notes say what differs from Istio, and change neither states nor the exit code.
  mkdirSync(join(folder, 'notes'), { recursive: true })
  const retried = MESH.replace('    - name: main\n', '    - name: main\n      retries: { attempts: 2, retryOn: 5xx }\n')
  writeFileSync(join(folder, 'notes', 'mesh.yaml'), retried)
  const line = retried.split('\n').findIndex((l) => l.includes('retryOn')) + 1
  const noted = await heddle(['check', 'notes', '--json'])
  t.equal(noted.code, 0)
  const { resources: judged, notes } = JSON.parse(noted.stdout) as { resources: { state: string }[]; notes: unknown[] }
  t.ok(judged.every((r) => r.state === 'in-force'))
  t.match(notes, [
    { kind: 'VirtualService', namespace: 'default', name: 'reviews', route: 'main', file: 'notes/mesh.yaml', line, column: 16 },
  ])
  t.equal(notes.length, 1)
  const said = await heddle(['check', 'notes'])
  t.equal(said.code, 0)
  t.match(
    said.stdout,
    `note: notes/mesh.yaml:${line}:16: VirtualService default/reviews, route main: retries on 5xx are held back`,
  )
  const exact = await heddle(['check', 'notes', '--json'], { HEDDLE_RETRIES: 'exact' })
  t.same((JSON.parse(exact.stdout) as { notes: unknown[] }).notes, [])

  const missing = await heddle(['check', 'nowhere'])
  t.equal(missing.code, 3)
  t.equal(missing.stderr, 'heddle check: no such file or folder: nowhere\n')
})

t.test('explain a request that has not happened', async (t) => {
  mkdirs(join(folder, 'mesh'))
  writeFileSync(join(folder, 'mesh', 'reviews.yaml'), MESH)
  writeFileSync(
    join(folder, 'heddle.yaml'),
    'resources: [ mesh ]\nlisteners: [ { name: out, direction: outbound, port: 8080 } ]\n',
  )
  const explain = async (...args: string[]) => {
    const { code, stdout, stderr } = await heddle(['explain', '--config', 'heddle.yaml', '--json', ...args])
    t.equal(code, 0, stderr)
    return JSON.parse(stdout) as Record<string, unknown>
  }
  const V1 = 'outbound|9080|v1|reviews.default.svc.cluster.local'
  const V2 = 'outbound|9080|v2|reviews.default.svc.cluster.local'
  t.match(await explain('POST', 'http://reviews/x', '-H', 'x-canary: true', '-H', 'x-request-id: abc'), {
    id: 'abc',
    verdict: 'forward',
    route: { kind: 'VirtualService', namespace: 'default', name: 'reviews', file: 'mesh/reviews.yaml', line: 27 },
    cluster: V2,
    endpoint: '127.0.0.1:9102',
  })
  const main = await explain('http://reviews:9080/x', '-H', 'x-canary: false')
  t.match(main, { verdict: 'forward', cluster: V1, endpoint: '127.0.0.1:9101' })
  t.type(main['virtualHost'], 'string')
  t.ok(Array.isArray(main['steps']))
  t.match(await explain('http://reviews/', '--draw', '89'), { cluster: V1 })
  t.match(await explain('http://reviews/', '--draw', '90'), { cluster: V2 })
  t.match(await explain('http://other/', '-H', 'host: reviews'), { cluster: V1 }, 'a Host header wins over the URL')

  const text = await heddle(['explain', '--config', 'heddle.yaml', 'http://reviews/', '-H', 'x-canary: no'])
  t.match(text.stdout, /headers\[x-canary\]: seen "no", wanted exact "true"/)
  t.match(text.stdout, /mesh\/reviews\.yaml:/)

  const withoutFlag = await heddle(['explain', '--json', 'http://reviews/', '-H', 'x-canary: true'])
  t.match(JSON.parse(withoutFlag.stdout), { cluster: V2 }, 'heddle.yaml in the working directory needs no flag')

  const policy =
    'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: open }\nspec: { rules: [ { to: [ { operation: { paths: [ /open ] } } ] } ] }\n'
  writeFileSync(join(folder, 'policy.yaml'), policy)
  const listener = '{ name: in, direction: inbound, port: 8081, forwardTo: "127.0.0.1:9000" }'
  writeFileSync(join(folder, 'inbound.yaml'), `resources: [ policy.yaml ]\nlisteners: [ ${listener} ]\n`)
  const asked = async (path: string) => {
    const args = ['explain', '--config', 'inbound.yaml', '--listener', 'in', '--json', `http://x${path}`]
    return JSON.parse((await heddle(args)).stdout) as { verdict: string; steps: { step: string; text: string }[] }
  }
  t.equal((await asked('/open')).verdict, 'forward')
  const denied = await asked('/shut')
  t.equal(denied.verdict, 'denied')
  t.match(
    denied.steps.filter((s) => s.step === 'authorization').at(-1)?.text,
    /lacks 1 of 1 condition: path: seen "\/shut", wanted exact "\/open"/,
  )

  const unknown = await heddle(['explain', '--config', 'heddle.yaml', '--listener', 'in', 'http://reviews/'])
  t.equal(unknown.code, 3)
  t.match(unknown.stderr, /there is no HTTP listener in; there are: out/)
})

t.test('explain a request that has happened', async (t) => {
  const asked: string[] = []
  const explanation = { id: 'a b', verdict: 'forward', request: { method: 'GET', authority: 'reviews', path: '/' } }
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    const known = request.url === '/explain?id=a%20b'
    response.writeHead(known ? 200 : 404).end(known ? JSON.stringify(explanation) : '{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const port = String((server.address() as AddressInfo).port)
  const answer = await heddle(['explain', 'a b', '--admin-port', port, '--json'])
  t.same(JSON.parse(answer.stdout), explanation)
  t.same(asked, ['/explain?id=a%20b'])
  const unknown = await heddle(['explain', 'other', '--admin-port', port])
  t.equal(unknown.code, 1)
  t.match(unknown.stderr, /remembers no request with x-request-id other/)
  server.close()
  const nobody = await heddle(['explain', 'other', '--admin-port', String(await refusingPort())])
  t.equal(nobody.code, 4)
  t.match(nobody.stderr, /no proxy answered on 127\.0\.0\.1:\d+.*ECONNREFUSED.*is it running\?/)
})

function mkdirs(path: string): void {
  mkdirSync(path, { recursive: true })
}
