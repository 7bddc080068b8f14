// heddle top config: what was used, and the Sidecar that lets a workload know no more.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { service, yaml } from '../support/mesh.ts'
import { runHeddle, startProxy } from '../support/proxy.ts'

t.test('the Sidecar of what was used', async (t) => {
  const upstream = await EchoUpstream.start(t)
  const host = (name: string) => `${name}.default.svc.cluster.local`
  const services = yaml(...['a', 'b', 'c'].map((name) => service({ host: host(name), endpoints: [upstream] })))
  const proxy = await startProxy(t, { resources: { 'services.yaml': services } })
  const client = await connectAny(t, proxy.port())
  const status = async (name: string): Promise<number> => {
    await client.send({ host: host(name) })
    return (await client.response()).status
  }
  const top = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await runHeddle(['top', 'config', '--config', proxy.configFile, ...args])
    t.equal(code, 0, stderr)
    return stdout
  }

  t.match(JSON.parse(await top('--json')), { hosts: { configured: 3, used: [] } }, 'nothing yet')
  t.match(await top('--sidecar'), /- "~\/\*"\n/, 'so nothing is known')
  t.equal(await status('a'), 200)
  t.equal(await status('c'), 200)
  const text = await top('--admin', `127.0.0.1:${proxy.adminPort}`)
  t.match(text, /^hosts that were used: 2 of 3\n {2}default\/a\.default\S+\n {2}default\/c\.default\S+\n/m)
  t.match(text, /^clusters, packed +\d+ +2 +[\d.]+ \S+/m)

  const sidecar = await top('--sidecar')
  const file = path.join(proxy.dir, 'sidecar.yaml')
  writeFileSync(file, sidecar)
  const checked = await runHeddle(['check', file, path.join(proxy.dir, 'mesh')])
  t.equal(checked.code, 0, checked.stdout + checked.stderr)
  await proxy.reload({ 'sidecar.yaml': sidecar })
  t.strictSame([await status('a'), await status('c')], [200, 200], 'what was used is there')
  t.match(await top('--json'), /"configured": 2\b/, 'and b is not')
  t.match(JSON.parse(await top('--json')), { hosts: { configured: 2 } })
})

t.test('nobody answers', async (t) => {
  const { code, stderr } = await runHeddle(['top', 'config', '--admin', '127.0.0.1:1'])
  t.equal(code, 4)
  t.match(stderr, /^heddle top config: no proxy answered on 127\.0\.0\.1:1/)
  t.equal((await runHeddle(['top', 'config', '--admin', 'x'])).code, 2)
})
