import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseBootstrap } from '../../../lib/bootstrap/load.ts'
import { ResourceLoader } from '../../../lib/resources/load.ts'
import { ConfigStore } from '../../../lib/server/config-store.ts'
import { Logger } from '../../../lib/telemetry/logger.ts'
import type { Teardown } from '../../support/teardown.ts'

const service = (name: string) => `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${name}, namespace: default }
spec:
  hosts: [ ${name}.example ]
  ports: [ { number: 80, name: http, protocol: HTTP } ]
  resolution: STATIC
  endpoints: [ { address: 127.0.0.1 } ]
`

function storeOver(t: Teardown, files: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-store-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const mesh = join(folder, 'mesh')
  mkdirSync(mesh)
  const write = (name: string, text: string) => writeFileSync(join(mesh, name), text)
  for (const [name, text] of Object.entries(files)) write(name, text)
  const bootstrap = parseBootstrap('', '', {}, { resources: [mesh] })
  if (!bootstrap.ok) throw new Error('defaults')
  const log: string[] = []
  const store = new ConfigStore(
    new ResourceLoader(bootstrap.config),
    new Logger({ level: 'info', write: (line) => log.push(line) }),
  )
  const clusters = () => store.snapshot.clusters.map((c) => c.name).filter((name) => name.startsWith('outbound|'))
  return { store, log, write, mesh, clusters }
}

const A = 'outbound|80||a.example'
const B = 'outbound|80||b.example'

t.test('what is good of a reload takes effect, what is refused keeps its last good version', async (t) => {
  const { store, log, write, mesh, clusters } = storeOver(t, { 'a.yaml': service('a') })
  await store.loadFirst()
  t.same([clusters(), store.lastGood, store.problems], [[A], false, []])
  const first = store.snapshot.version

  write('a.yaml', service('a').replace('hosts', 'hots'))
  write('b.yaml', service('b'))
  t.equal(await store.reload('files changed'), true)
  t.same(clusters().sort(), [A, B])
  t.ok(store.snapshot.version > first)
  t.same([store.lastGood, store.refused, store.problems.length], [true, 1, 1])
  t.match(store.problems[0], new RegExp(`^${mesh}/a\\.yaml:5:3: ServiceEntry default/a is refused: .*hots`))
  t.match(log, [/error .*a\.yaml:5:3.*hots/])

  t.equal(await store.reload('SIGHUP'), true)
  t.equal(log.length, 1, 'the same faults are not told again')

  write('a.yaml', service('a'))
  t.equal(await store.reload('files changed'), true)
  t.same([store.lastGood, store.refused, store.problems], [false, 0, []])
})

t.test('a security policy that is not enforced is told in the log; what merely waits is not', async (t) => {
  const policy = 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: deny }\nspec: {}\n'
  const route = 'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r }\nspec: {}\n'
  const { store, log } = storeOver(t, { 'a.yaml': `${policy}---\n${route}` })
  await store.loadFirst()
  t.match(log, [/warning .*a\.yaml:1:1: AuthorizationPolicy default\/deny is waiting: NOT ENFORCED/])
  t.same([log.length, store.lastGood], [1, false])
})

t.test('a folder that is gone changes nothing', async (t) => {
  const { store, log, mesh, clusters } = storeOver(t, { 'a.yaml': service('a') })
  await store.loadFirst()
  const { snapshot } = store
  rmSync(mesh, { recursive: true })
  t.equal(await store.reload('files changed'), false)
  t.equal(store.snapshot, snapshot)
  t.same(clusters(), [A])
  t.equal(store.lastGood, true)
  t.match(store.problems[0], mesh)
  t.match(log[0], /the new configuration \(files changed\) is refused; the last good one stays in force/)
})

t.test('without a last good configuration such a folder is a reason not to start', async (t) => {
  const { store, mesh } = storeOver(t, {})
  rmSync(mesh, { recursive: true })
  await t.rejects(store.loadFirst(), { name: 'StartError', kind: 'config' })
  t.throws(() => store.snapshot, /no configuration has been loaded/)
})
