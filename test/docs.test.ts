// What the documents say about the tree is true.
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT, runHeddle } from './support/proxy.ts'
import { filesBelow, readText } from './support/source-text.ts'

const DOCUMENTS = [
  'README.md',
  'lib/README.md',
  'CONTRIBUTING.md',
  'bench/README.md',
  'docker/README.md',
  'docs/control-plane.md',
  'docs/interception.md',
  'docs/istio-pods.md',
  'test/README.md',
  'test/support/README.md',
]
const TOP = ['lib', 'test', 'bench', 'config', 'docker', 'docs', '.ci']

t.test('every path that a document names exists', async (t) => {
  for (const document of DOCUMENTS) {
    if (!existsSync(path.join(ROOT, document))) {
      t.fail(`${document} is not there`)
      continue
    }
    const missing = pathsIn(readText(ROOT, document), path.dirname(document)).filter(({ candidates }) =>
      candidates.every((c) => !existsSync(path.join(ROOT, c))),
    )
    t.same(
      missing.map(({ line, token }) => `${document}:${line} names ${token}`),
      [],
      document,
    )
  }
})

t.test('lib/README.md knows every room', async (t) => {
  const text = existsSync(path.join(ROOT, 'lib/README.md')) ? readText(ROOT, 'lib/README.md') : ''
  const rooms = new Set(filesBelow(ROOT, 'lib', ['.ts']).map((f) => f.split('/')[1] as string))
  for (const room of rooms) t.ok(new RegExp(`\\b${room}/`).test(text), `${room}/ is mentioned`)
})

t.test('every file of config/ is an example that works', { timeout: 120_000 }, async (t) => {
  const files = filesBelow(ROOT, 'config', ['.yaml'])
  // Resources have a kind, ztunnel's local file has workloads.
  const bootstraps = files.filter((f) => !/^(?:kind|workloads):/m.test(readText(ROOT, f)))
  const loaded = new Set(bootstraps)
  for (const file of bootstraps) {
    const { code, stdout, stderr } = await runHeddle(['check', '--config', file, '--json'])
    t.equal(code, 0, `heddle check --config ${file}`, { stderr })
    const { resources } = JSON.parse(stdout || '{"resources":[]}') as {
      resources: { kind: string; name: string; state: string; file: string }[]
    }
    const bad = resources.filter((r) => r.state === 'refused' || r.state === 'waiting')
    t.same(
      bad.map((r) => `${r.kind} ${r.name} is ${r.state}`),
      [],
      file,
    )
    for (const r of resources) loaded.add(path.relative(ROOT, path.resolve(ROOT, r.file)))
  }
  t.same(
    files.filter((f) => !loaded.has(f)),
    [],
    'each file is a bootstrap file or a resource of one',
  )
})

/** What a table in a document must list, no more and no less: its first column, by the heading of that column. */
const CODE_TABLES: readonly { readonly heading: string; readonly codes: () => Promise<readonly string[]> }[] = [
  { heading: 'reason code', codes: async () => Object.values(await import('../lib/filter/http/reasons.ts')).flatMap(codeOf) },
  {
    heading: 'flag',
    codes: async () => [...new Set((await import('../lib/telemetry/response-flags.ts')).FLAG_NAMES.map(([short]) => short))],
  },
  {
    heading: 'flag of heddle iptables',
    codes: async () =>
      Object.values((await import('../lib/interception/setting-table.ts')).SETTINGS).map(({ flag }) => `--${flag}`),
  },
]

t.test('tables of codes and flags equal the source, in both directions', async (t) => {
  const documents = ['', 'lib', 'docs'].flatMap((d) => (existsSync(path.join(ROOT, d)) ? markdownIn(d) : []))
  for (const { heading, codes } of CODE_TABLES) {
    const tables = documents.flatMap((d) => tablesIn(readText(ROOT, d), heading).map((rows) => ({ d, rows })))
    t.ok(tables.length > 0, `a document has a table whose first column is headed "${heading}"`)
    const inSource = [...(await codes())].sort()
    for (const { d, rows } of tables) t.same([...rows].sort(), inSource, `${d}: ${heading}`)
  }
})

t.test('the reader of paths', async (t) => {
  const text =
    'see `lib/a.ts`, `foo/bar`, [x](docs/x.md), `lib/*/b.ts` and https://a.b/lib/c.ts\n```\nnode test/run.mjs\n```\n`http/h1/`'
  t.same(
    pathsIn(text, 'lib').map(({ token }) => token),
    ['lib/a.ts', 'docs/x.md', 'lib/*/b.ts', 'test/run.mjs', 'http/h1/'].filter(
      (p) => p !== 'http/h1/' || existsSync(path.join(ROOT, 'lib/http')),
    ),
  )
})

function codeOf(value: unknown): string[] {
  return typeof value === 'object' && value !== null && 'code' in value && typeof value.code === 'string' ? [value.code] : []
}

function markdownIn(folder: string): string[] {
  if (folder !== '') return filesBelow(ROOT, folder, ['.md'])
  return readdirSync(ROOT).filter((f) => f.endsWith('.md'))
}

/** First cells of the rows below each table head that begins with `| heading |`, without backticks. */
function tablesIn(text: string, heading: string): string[][] {
  const lines = text.split('\n')
  return lines.flatMap((line, i) => {
    if (!new RegExp(`^\\| *${heading} *\\|`, 'i').test(line)) return []
    const end = lines.findIndex((l, j) => j > i && !l.startsWith('|'))
    const rows = lines.slice(i + 2, end < 0 ? undefined : end)
    return [rows.flatMap((r) => [...(r.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map((m) => m[1] as string))]
  })
}

interface Named {
  readonly token: string
  readonly line: number
  /** Where it may be: from the top, or beside the document. */
  readonly candidates: readonly string[]
}

/** Paths in code spans, code blocks and links. A glob stands for the folder before its first `*`. */
function pathsIn(text: string, folder: string): Named[] {
  const out: Named[] = []
  let fenced = false
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*```/.test(line)) {
      fenced = !fenced
      continue
    }
    const pieces = fenced ? [line] : [...line.matchAll(/`([^`]+)`|\]\(([^)#]+)/g)].map((m) => m[1] ?? m[2] ?? '')
    for (const piece of pieces) {
      for (const raw of piece.split(/[\s,;()[\]"'=]+/)) {
        const token = raw
          .replace(/^\.\//, '')
          .replace(/(?::\d+)+$/, '')
          .replace(/[.:]+$/, '')
        if (!isPath(token, folder)) continue
        const solid = token.replace(/\/?[^/]*\*.*$/, '')
        out.push({ token, line: index + 1, candidates: [solid, path.posix.join(folder, solid)] })
      }
    }
  }
  return out
}

function isPath(token: string, folder: string): boolean {
  if (!/^[\w.@*-]+(?:\/[\w.@*-]+)*\/?$/.test(token) || !token.includes('/')) return false
  const first = token.split('/')[0] as string
  if (first === '..') return false // outside of the repository
  if (TOP.includes(first) || /\.(?:ts|mjs|md|yaml)$/.test(token)) return true
  return folder !== '.' && existsSync(path.join(ROOT, folder, first))
}
