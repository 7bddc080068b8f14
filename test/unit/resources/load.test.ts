// Reading again: what changed, what broke, what stays in force.
import { rmSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type LoadResult, ResourceLoader } from '../../../lib/resources/load.ts'
import { bootstrapFor, clusterOf, Folder, statusOf, tableOf } from './kit.ts'

const SERVICE = 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 80}]}\n'
const rule = (body: string) =>
  `apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [a], http: [${body}]}\n`
const GOOD = rule('{redirect: {uri: /one}}')

function redirectOf(result: LoadResult): string {
  const action = tableOf(result, 80).virtualHosts.find((h) => h.name.startsWith('a.'))?.routes[0]?.action
  return action?.kind === 'redirect' ? action.path : `${action?.kind}`
}

t.test('a change is in force, with a version of its own', async (t) => {
  const folder = new Folder(t, { 'a.yaml': SERVICE, 'v.yaml': GOOD })
  const loader = new ResourceLoader(bootstrapFor([folder.path]))
  const first = loader.load()
  t.same([first.snapshot.version, redirectOf(first), first.fatal, first.problems], [1, '/one', null, []])
  folder.write({ 'v.yaml': rule('{redirect: {uri: /two}}') })
  const second = loader.load()
  t.same([second.snapshot.version, redirectOf(second)], [2, '/two'])
  unlinkSync(join(folder.path, 'v.yaml'))
  t.equal(redirectOf(loader.load()), 'forward')
})

t.test('what breaks keeps its last good text in force and says so', async (t) => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    [
      'a rule that is not allowed',
      rule('{redirect: {uri: /two, redirectCode: 200}}'),
      /redirectCode: expected a redirect code.*; the version of .* keeps serving, the last good one/,
    ],
    ['a misspelling', rule('{redirct: {uri: /two}}'), /did you mean `redirect`.*keeps serving/],
    ['no YAML, but the name can be read', `${GOOD}x: "unclosed`, /not valid YAML.*keeps serving/],
  ]
  for (const [name, text, reason] of cases) {
    const folder = new Folder(t, { 'a.yaml': SERVICE, 'v.yaml': GOOD })
    const loader = new ResourceLoader(bootstrapFor([folder.path]))
    loader.load()
    folder.write({ 'v.yaml': text })
    for (const round of [1, 2]) {
      const broken = loader.load()
      t.equal(redirectOf(broken), '/one', `${name}, round ${round}`)
      t.equal(broken.fatal, null)
      const status = statusOf(broken, 'v')
      t.equal(status.state, 'refused', name)
      t.match(status.reason, reason, name)
    }
    folder.write({ 'v.yaml': rule('{redirect: {uri: /three}}') })
    const mended = loader.load()
    t.equal(redirectOf(mended), '/three', name)
    t.equal(statusOf(mended, 'v').state, 'in-force', name)
  }
})

t.test('on the first reading there is nothing to keep', async (t) => {
  const folder = new Folder(t, { 'a.yaml': SERVICE, 'v.yaml': rule('{redirct: {uri: /two}}') })
  const result = new ResourceLoader(bootstrapFor([folder.path])).load()
  t.equal(redirectOf(result), 'forward')
  t.notMatch(statusOf(result, 'v').reason, /keeps serving/)
})

t.test('a document that no longer says what it was keeps the objects of its file', async (t) => {
  const folder = new Folder(t, { 'a.yaml': SERVICE, 'v.yaml': `${GOOD}---\n${SERVICE.replace('name: a', 'name: b')}` })
  const loader = new ResourceLoader(bootstrapFor([folder.path]))
  loader.load()
  folder.write({ 'v.yaml': `{{{{\n---\n${SERVICE.replace('name: a', 'name: b').replace('80', '81')}` })
  const broken = loader.load()
  t.equal(redirectOf(broken), '/one')
  t.match(statusOf(broken, 'v'), { state: 'refused', reason: /its file cannot be read.*keeps serving/ })
  t.ok(clusterOf(broken, 'outbound|81||b.default.svc.cluster.local'), 'the other document of the file changed all the same')
  t.equal(statusOf(broken, 'b').state, 'in-force')
})

t.test('one object twice: the first counts', async (t) => {
  const folder = new Folder(t, { '1.yaml': `${SERVICE}---\n${GOOD}`, '2.yaml': rule('{redirect: {uri: /two}}') })
  const result = new ResourceLoader(bootstrapFor([folder.path])).load()
  t.equal(redirectOf(result), '/one')
  t.same(
    result.statuses.filter((s) => s.name === 'v').map((s) => s.state),
    ['in-force', 'shadowed'],
  )
})

t.test('a root that is not there is fatal, and the last good snapshot is handed out', async (t) => {
  const folder = new Folder(t, { 'a.yaml': SERVICE })
  const missing = new ResourceLoader(bootstrapFor([join(folder.path, 'nothing')])).load()
  t.match(missing.fatal, /no such file or folder/)
  t.match(missing.problems, [{ file: join(folder.path, 'nothing'), line: 0 }])
  const loader = new ResourceLoader(bootstrapFor([folder.path]))
  const { snapshot } = loader.load()
  rmSync(folder.path, { recursive: true })
  const gone = loader.load()
  t.ok(gone.fatal)
  t.equal(gone.snapshot, snapshot)
})

t.test('snapshots are plain data that can cross to a worker', async (t) => {
  const folder = new Folder(t, { 'a.yaml': `${SERVICE}---\n${GOOD}` })
  const { snapshot } = new ResourceLoader(bootstrapFor([folder.path])).load()
  t.same(structuredClone(snapshot), snapshot)
})
