// The resources of the examples do what their comments say.
import t from 'tap'
import { main } from '../../../lib/cli/main.ts'

async function heddle(args: readonly string[]) {
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
    env: {},
  })
  return { code, ...said }
}

t.test('each resource of the examples is in force', async (t) => {
  for (const config of ['sidecar', 'tcp', 'egress', 'health-checks', 'resilience', 'grpc', 'claim-routes', 'demo/heddle']) {
    const { code, stdout, stderr } = await heddle(['check', '--config', `config/${config}.yaml`, '--json'])
    t.equal(code, 0, `${config}: ${stderr}`)
    const { resources, notes } = JSON.parse(stdout) as { resources: { state: string }[]; notes: { message: string }[] }
    t.ok(resources.length > 0, config)
    t.same(
      resources.filter((r) => r.state !== 'in-force'),
      [],
      config,
    )
    // The demo's /flaky is for GET, and what is said of others belongs to what it shows.
    if (config !== 'demo/heddle') t.same(notes, [], config)
  }
})

t.test('what the example of a gateway says of itself', async (t) => {
  const { stdout } = await heddle(['check', '--config', 'config/gateway.yaml', '--json'])
  const { resources } = JSON.parse(stdout) as { resources: { kind: string; state: string; reason: string }[] }
  const rest = resources.filter((r) => r.state !== 'in-force')
  t.match(rest, [{ kind: 'Gateway', state: 'partly', reason: /waiting for the Secret default\/shop/ }])
  const asked = ['http://shop.example/cart', '--listener', '0.0.0.0_80']
  const explained = await heddle(['explain', '--config', 'config/gateway.yaml', ...asked])
  t.match(explained.stdout, /cluster +outbound\|9001\|\|cart\.default\.svc\.cluster\.local/)
})

t.test('what the example of routes by claims says of clients', async (t) => {
  const asked = ['explain', '--config', 'config/claim-routes.yaml', 'http://shop.example/', '--listener', '0.0.0.0_80']
  const explained = async (...args: string[]) => {
    const { code, stdout, stderr } = await heddle([...asked, ...args])
    t.equal(code, 0, stderr)
    return stdout
  }
  t.match(await explained(), /route everybody fits/)
  const beta = await explained('--claims', '{"plan": ["trial", "beta"]}')
  t.match(beta, 'route beta fits: headers[@request.auth.claims.plan]: seen ["trial","beta"], wanted exact "beta"')
  const staff = await explained('--claims', '{"realm_access": {"roles": ["staff-web"]}}')
  t.match(staff, /route beta does not fit: .*seen nothing/)
  t.match(staff, /route staff fits/)
  for (const bad of ['', '[]', 'null', '{'])
    t.match(await heddle([...asked, '--claims', bad]), { code: 2, stderr: /--claims takes a JSON object/ }, bad)
  const mesh = ['explain', '--config', 'config/demo/heddle.yaml', 'http://reviews/', '--claims', '{}']
  t.match((await heddle(mesh)).stderr, /no RequestAuthentication holds where the request comes in/)
})

t.test('what the example of resilience says of itself', async (t) => {
  const explained = async (...args: string[]) => {
    const { code, stdout, stderr } = await heddle(['explain', '--config', 'config/resilience.yaml', ...args])
    t.equal(code, 0, stderr)
    return stdout
  }
  const quote = await explained('POST', 'http://orders/quote')
  t.match(quote, /retries +2 on 5xx/)
  t.match(quote, /unsafe retries +allowed/)
  t.match(await explained('POST', 'http://orders/'), /unsafe retries +held back/)
  t.match(await explained('http://catalog/'), /priority 0.*all of its 2 endpoints are healthy\n.*locality region1\/zone1/)
  t.match(
    await explained('http://carts/', '-H', 'cookie: cart-session=x'),
    /the hash of cookie cart-session chooses the endpoint/,
  )
})

t.test('what the example of gRPC says of itself', async (t) => {
  const explained = async (path: string) => {
    const target = ['POST', `http://inventory/shop.Inventory/${path}`, '-H', 'content-type: application/grpc']
    const { code, stdout, stderr } = await heddle(['explain', '--config', 'config/grpc.yaml', ...target])
    t.equal(code, 0, stderr)
    return stdout
  }
  t.match(await explained('Get'), /unsafe retries +allowed/)
  t.match(await explained('Reserve'), /unsafe retries +held back/)
})

t.test('the routes of the demo', async (t) => {
  const reviews = (subset: string) => `outbound|9080|${subset}|reviews.demo.svc.cluster.local`
  const cases: [args: string[], route: string, cluster: string][] = [
    [['http://reviews/'], 'main', reviews('v1')],
    [['http://reviews/', '--draw', '89'], 'main', reviews('v1')],
    [['http://reviews/', '--draw', '90'], 'main', reviews('v2')],
    [['http://reviews/', '-H', 'x-canary: true'], 'canary', reviews('v2')],
    [['http://reviews/flaky'], 'flaky', reviews('v1')],
    [['http://reviews/slow'], 'slow', reviews('v1')],
    [['http://reviews/fault'], 'fault', reviews('v1')],
  ]
  for (const [args, route, cluster] of cases) {
    const { code, stdout } = await heddle(['explain', '--config', 'config/demo/heddle.yaml', '--json', ...args])
    t.equal(code, 0)
    t.match(JSON.parse(stdout), { verdict: 'forward', route: { route }, cluster }, args.join(' '))
  }
})
