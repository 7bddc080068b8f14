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
  for (const config of ['sidecar', 'tcp', 'egress', 'demo/heddle']) {
    const { code, stdout, stderr } = await heddle(['check', '--config', `config/${config}.yaml`, '--json'])
    t.equal(code, 0, `${config}: ${stderr}`)
    const { resources } = JSON.parse(stdout) as { resources: { state: string }[] }
    t.ok(resources.length > 0, config)
    t.same(
      resources.filter((r) => r.state !== 'in-force'),
      [],
      config,
    )
  }
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
