import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ConfigThread } from '../../../lib/server/config-thread.ts'

const service = (name: string, field = 'hosts') => `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${name}, namespace: default }
spec:
  ${field}: [ ${name}.example ]
  ports: [ { number: 80, name: http, protocol: HTTP } ]
  resolution: STATIC
  endpoints: [ { address: 127.0.0.1 } ]
`

t.test('the last good text of an object survives the thread that read it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-config-thread-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'mesh'))
  const write = (text: string) => writeFileSync(join(folder, 'mesh/mesh.yaml'), text)
  writeFileSync(join(folder, 'heddle.yaml'), 'resources: [ ./mesh ]\n')
  const thread = new ConfigThread()
  t.teardown(() => thread.close())

  const bootstrap = await thread.loadBootstrap(join(folder, 'heddle.yaml'), { HEDDLE_CONCURRENCY: '3' }, { 'admin-port': '7' })
  if (!bootstrap.ok) throw new Error('not ok')
  t.same([bootstrap.config.concurrency, bootstrap.config.admin.port], [3, 7])

  const load = async () => {
    const { snapshot, statuses, fatal } = await thread.loadResources(bootstrap.config)
    const clusters = snapshot.clusters.map((c) => c.name).filter((name) => name.startsWith('outbound|'))
    return { version: snapshot.version, clusters, fatal, states: statuses.map((s) => s.state), reason: statuses[0]?.reason ?? '' }
  }
  const [A, B] = ['outbound|80||a.example', 'outbound|80||b.example']
  write(service('a'))
  const first = await load() // the thread ends with this answer
  const readBy = Date.now()
  t.same(first.clusters, [A])

  write(`${service('a', 'hots')}---\n${service('b')}`)
  const second = await load()
  t.same(second.clusters.sort(), [A, B])
  t.same(second.states, ['refused', 'in-force'])
  const since = /the version of (\S+) keeps serving/.exec(second.reason)?.[1]
  t.ok(Date.parse(since ?? '') <= readBy, `since ${since}`)
  t.ok(second.version > first.version)

  // The same thread goes on with what it was given.
  write(`${service('a', 'hots')}---\n${service('b')}---\n${service('c')}`)
  const third = await load()
  t.match(third.reason, `the version of ${since} keeps serving`)
  rmSync(join(folder, 'mesh'), { recursive: true })
  t.match((await load()).fatal, 'no such file or folder')
  mkdirSync(join(folder, 'mesh'))
  write(service('b'))
  const last = await load()
  t.same(last.clusters, [B], 'what is gone from the files is gone')
  t.ok(last.version > third.version)
})

t.test('a thread that is closed answers nothing', async (t) => {
  const thread = new ConfigThread()
  const pending = t.rejects(thread.loadBootstrap(null, {}, {}), /heddle ends/)
  await thread.close()
  await pending
  await t.rejects(thread.loadBootstrap(null, {}, {}), /heddle ends/)
})
