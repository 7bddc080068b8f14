// What the documents say about the tree is true.
import { existsSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT } from './support/proxy.ts'
import { filesBelow, readText } from './support/source-text.ts'

const DOCUMENTS = ['README.md', 'lib/README.md', 'CONTRIBUTING.md', 'bench/README.md', 'test/README.md', 'test/support/README.md']
const TOP = ['lib', 'test', 'bench', 'bin', 'config', 'docker', '.ci']

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

t.test('every file of config/ is loaded by a test', async (t) => {
  const tests = filesBelow(ROOT, 'test', ['.test.ts']).filter((f) => f !== 'test/docs.test.ts')
  const text = tests.map((f) => readText(ROOT, f)).join('\n')
  for (const file of filesBelow(ROOT, 'config', ['.yaml', '.yml', '.json'])) {
    const parents = file.split('/').map((_, i, all) => all.slice(0, i + 1).join('/')) // config, config/demo, config/demo/x.yaml
    t.ok(
      parents.slice(1).some((p) => new RegExp(`['"\`/]${p.replaceAll('.', '\\.')}['"\`/]`).test(text)),
      `${file} is named by a test`,
    )
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
  if (TOP.includes(first) || /\.(?:ts|mjs|md|yaml)$/.test(token)) return true
  return folder !== '.' && existsSync(path.join(ROOT, folder, first))
}
