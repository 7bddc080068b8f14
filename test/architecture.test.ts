// Who may import whom, and what each kind of file must not contain. The table is the architecture; a failure names the line.
import { existsSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT } from './support/proxy.ts'
import type { Import } from './support/source-text.ts'
import { codeOnly, filesBelow, firstComment, importsOf, readText } from './support/source-text.ts'

/**
 * Rooms by rank. A file may import its own room and rooms of a smaller rank. The part behind the point orders rooms that share a
 * row of the table (`decide → route → cluster/lb`, `hbone → http`, `upstream → cluster → pool`).
 */
const RANKS: Readonly<Record<string, number>> = {
  base: 0,
  sys: 0.1,
  state: 1,
  telemetry: 1,
  identity: 1.1,
  'cluster/lb': 1.1,
  route: 1.2,
  policy: 1.25,
  decide: 1.3,
  transport: 2,
  http: 2.1,
  hbone: 2.2,
  pool: 3,
  cluster: 3.1,
  upstream: 3.2,
  filter: 4,
  listener: 5,
  tunnel: 5.05,
  dns: 5.1,
  grpc: 5.1,
  admin: 6,
  bootstrap: 6,
  'identity/source': 6,
  interception: 6,
  resources: 6,
  xds: 6,
  server: 7,
  cli: 7.1,
}

/** Exceptions, each with its reason: importing file → imported file. */
const ALLOWED: Readonly<Record<string, string>> = {
  'lib/filter/http/connect-tunnel.ts → lib/pool/tcp-connector.ts': 'the tunnel of a CONNECT is a tcp-proxy behind a request',
  'lib/filter/http/connect-tunnel.ts → lib/upstream/reset-reply.ts': 'a connect that fails is answered as the router answers it',
}

/** Rooms without I/O, clock and chance. */
const PURE = ['decide', 'route', 'policy', 'cluster/lb', 'state']
const IMPURE =
  /\basync\b|\bawait\b|\bPromise\b|\bMath\.random\b|\bDate\.now\b|\bnew Date\(\)|\bperformance\.|\bprocess\.|\bset(?:Timeout|Interval|Immediate)\b/g
const PURE_NODE_MODULES: readonly string[] = []

/** What a worker must never load: configuration and control-plane libraries, and what the main thread does for all. */
const NOT_IN_A_WORKER_FILES = ['lib/cluster/health-checks/', 'lib/cluster/dns']
const NOT_IN_A_WORKER = ['yaml', 'valibot', 'node:http', 'node:http2', 'node:https', 'prom-client', 'undici', 'node-forge', 'pbf']

interface Source {
  readonly file: string
  readonly room: string
  readonly text: string
  readonly code: string
  readonly imports: readonly Import[]
}

const sources: Source[] = filesBelow(ROOT, 'lib', ['.ts']).map((file) => {
  const text = readText(ROOT, file)
  return { file, room: roomOf(file), text, code: codeOnly(text), imports: importsOf(text) }
})

t.test('each room has a rank', async (t) => {
  for (const s of sources) t.ok(s.room in RANKS, `${s.file} is in a room of the table`)
})

t.test('imports go downwards', async (t) => {
  t.same(sources.flatMap(wrongImports), [])
})

t.test('only bin, tests and benchmarks import server and cli', async (t) => {
  const wrong = sources.flatMap((s) =>
    eachImport(s)
      .filter(({ target }) => ['server', 'cli'].includes(roomOf(target)) && !['server', 'cli'].includes(s.room))
      .map(({ line, target }) => `${s.file}:${line} imports ${target}`),
  )
  t.same(wrong, [])
})

t.test('of the filters only router and tcp-proxy reach upstream, cluster and pool; none opens a socket', async (t) => {
  const filters = sources.filter((s) => s.room === 'filter')
  const wrong = filters.flatMap((s) =>
    s.imports
      .filter((i) => {
        if (i.typeOnly) return false
        if (['node:net', 'node:tls', 'node:dgram'].includes(i.specifier)) return true
        const rank = i.specifier.startsWith('.') ? (RANKS[roomOf(resolved(s.file, i))] ?? 0) : 0
        const excused = `${s.file} → ${i.specifier.startsWith('.') ? resolved(s.file, i) : i.specifier}` in ALLOWED
        return !excused && rank >= 3 && rank < 4 && !/\/(router|tcp-proxy)[\w-]*\.ts$/.test(s.file)
      })
      .map((i) => `${s.file}:${i.line} imports ${i.specifier}`),
  )
  t.same(wrong, [])
})

t.test('decide, route, policy, cluster/lb and state are pure', async (t) => {
  for (const s of sources.filter((s) => PURE.includes(s.room))) {
    t.same(found(s, IMPURE), [], s.file)
    const modules = s.imports.filter(
      (i) => i.specifier.startsWith('node:') && !i.typeOnly && !PURE_NODE_MODULES.includes(i.specifier),
    )
    t.same(
      modules.map((i) => `${s.file}:${i.line} imports ${i.specifier}`),
      [],
    )
  }
})

t.test('files of the hot lane neither await nor promise', async (t) => {
  const hot = sources.filter((s) => /Hot lane/.test(s.text.split('\n', 1)[0] as string))
  t.same(
    hot.flatMap((s) => found(s, /\b(?:async|await|Promise)\b/g)),
    [],
  )
  t.ok(hot.length > 0, 'there are files of the hot lane')
})

t.test('the clients of health checks are loaded with the first check that needs them', async (t) => {
  const late = ['lib/cluster/health-checks/http-probe.ts', 'lib/cluster/health-checks/grpc-probe.ts']
  const wrong = sources
    .filter((s) => !late.includes(s.file))
    .flatMap((s) =>
      s.imports.map((i) => ({ ...i, file: s.file, target: i.specifier.startsWith('.') ? resolved(s.file, i) : '' })),
    )
    .filter((i) => !i.typeOnly && !i.dynamic && (late.includes(i.target) || i.specifier === 'undici'))
  t.same(
    wrong.map((i) => `${i.file}:${i.line} imports ${i.specifier}`),
    [],
  )
})

t.test('a worker loads no configuration library and no HTTP of Node', async (t) => {
  const entry = 'lib/server/worker.ts'
  t.ok(
    sources.some((s) => s.file === entry),
    `${entry} is there`,
  )
  t.same(forbiddenFrom(entry), [])
})

t.test('what reads protobuf is loaded with the first control plane, certificate authority or check that needs it', async (t) => {
  for (const entry of ['lib/cli/main.ts', 'lib/cli/serve.ts', 'lib/server/agent.ts', 'lib/server/config-reader.ts'])
    t.same(forbiddenFrom(entry, ['pbf'], ['lib/xds/proto/', 'lib/grpc/']), [], entry)
})

t.test('koffi has one owner', async (t) => {
  const owner = 'lib/sys/libc.ts'
  t.same(
    sources.filter((s) => /['"]koffi['"]/.test(s.text)).map((s) => s.file),
    [owner],
  )
})

t.test('files are short, or say why not', async (t) => {
  const long = sources.filter(
    (s) => s.text.split('\n').length > 401 && !/\b(?:long|lines|whole|one flat)\b/i.test(firstComment(s.text)),
  )
  t.same(
    long.map((s) => `${s.file} has ${s.text.split('\n').length - 1} lines`),
    [],
  )
})

t.test('words that are not used here', async (t) => {
  const wrong = sources.flatMap((s) => [
    ...found(s, /^\s*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s+\w/gm),
    ...found(s, /(?::|\bas|[<,|&(]|=>)\s*any\b(?!\s*[:(.])/g),
    ...found(s, /^export default\b/gm),
    ...found(s, /^\s*(?:export\s+)?namespace\s+\w/gm),
  ])
  t.same(wrong, [])
  const drawers = sources.filter((s) => /\/(index|types|utils?|common|helpers?)(\.ts|\/)/.test(s.file))
  t.same(
    drawers.map((s) => s.file),
    [],
    'no barrels and no drawers',
  )
})

t.test('the reader of imports', async (t) => {
  const text = [
    "import a, { b } from './a.ts'",
    "import type { C } from '../c.ts'",
    "// import x from 'comment'",
    "import {\n  d,\n} from 'd'",
    "export { e } from './e.ts'",
    "import 'side'",
    'const s = "import z from \'z\'"',
    "const f = () => import('late')",
    "import { type G, h } from './g.ts'",
  ].join('\n')
  t.same(
    importsOf(text).map((i) => [i.specifier, i.typeOnly, i.dynamic, i.line]),
    [
      ['./a.ts', false, false, 1],
      ['../c.ts', true, false, 2],
      ['d', false, false, 4],
      ['./e.ts', false, false, 7],
      ['side', false, false, 8],
      ['./g.ts', false, false, 11],
      ['late', false, true, 10],
    ],
  )
  t.equal(codeOnly("a // await\n'await' /await/ `await`").includes('/await/'), true, 'a division stays')
  t.notMatch(codeOnly('const x = /await/\nf(\'async\', "async", `async`)'), /await|async/)
  t.match(codeOnly('`a $' + '{await b} c`'), /await b/)
  const up = { file: 'lib/base/x.ts', room: 'base', text: '', code: '', imports: importsOf("import { s } from '../route/y.ts'") }
  t.same(wrongImports(up), ['lib/base/x.ts:1 imports lib/route/y.ts: base (rank 0) may not import route (rank 1.2)'])
})

function roomOf(file: string): string {
  const [, first = '', second = ''] = file.split('/')
  return `${first}/${second}` in RANKS ? `${first}/${second}` : first
}

function resolved(file: string, i: Import): string {
  return path.posix.join(path.posix.dirname(file), i.specifier)
}

function eachImport(s: Source): { readonly line: number; readonly target: string; readonly typeOnly: boolean }[] {
  return s.imports
    .filter((i) => i.specifier.startsWith('.'))
    .map((i) => ({ line: i.line, target: resolved(s.file, i), typeOnly: i.typeOnly }))
}

function wrongImports(s: Source): string[] {
  return eachImport(s).flatMap(({ line, target, typeOnly }) => {
    if (!target.startsWith('lib/')) return [`${s.file}:${line} imports ${target}, which is outside of lib/`]
    const to = roomOf(target)
    if (to === s.room || (typeOnly && to === 'state') || `${s.file} → ${target}` in ALLOWED) return []
    const [from, rank] = [RANKS[s.room] ?? -1, RANKS[to] ?? Number.POSITIVE_INFINITY]
    if (rank < from) return []
    return [`${s.file}:${line} imports ${target}: ${s.room} (rank ${from}) may not import ${to} (rank ${rank})`]
  })
}

function found(s: Source, pattern: RegExp): string[] {
  return [...s.code.matchAll(pattern)].map(
    (m) => `${s.file}:${s.code.slice(0, m.index).split('\n').length} has ${JSON.stringify(m[0].trim())}`,
  )
}

/** Follows static value imports, and shows the way to what must not be there. */
function forbiddenFrom(entry: string, modules = NOT_IN_A_WORKER, files = NOT_IN_A_WORKER_FILES): string[] {
  const wrong: string[] = []
  const seen = new Set([entry])
  const queue: { readonly file: string; readonly way: string }[] = [{ file: entry, way: entry }]
  for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
    const { file, way } = at
    const source = sources.find((s) => s.file === file)
    if (source === undefined) {
      if (!existsSync(path.join(ROOT, file))) wrong.push(`${way}: no such file`)
      continue
    }
    for (const i of source.imports) {
      if (i.typeOnly || i.dynamic) continue
      if (modules.some((m) => i.specifier === m || i.specifier.startsWith(`${m}/`)))
        wrong.push(`${way}:${i.line} imports ${i.specifier}`)
      if (!i.specifier.startsWith('.')) continue
      const target = resolved(file, i)
      if (files.some((f) => target.startsWith(f))) wrong.push(`${way}:${i.line} imports ${target}`)
      if (seen.has(target)) continue
      seen.add(target)
      queue.push({ file: target, way: `${way} → ${target}` })
    }
  }
  return wrong
}
