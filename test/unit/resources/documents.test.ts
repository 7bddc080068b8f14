import { join } from 'node:path'
import t from 'tap'
import { Document } from '../../../lib/resources/document.ts'
import { DocumentReader, splitDocuments } from '../../../lib/resources/documents.ts'
import { Folder } from './kit.ts'

t.test('splitting: each document with the number of lines before it', async (t) => {
  const cases: readonly (readonly [string, string, readonly (readonly [string, number])[]])[] = [
    ['one document', 'a: 1\n', [['a: 1\n', 0]]],
    [
      'two',
      'a: 1\n---\nb: 2',
      [
        ['a: 1', 0],
        ['---\nb: 2', 1],
      ],
    ],
    [
      'content behind the marker',
      '--- {a: 1}\n--- {b: 2}',
      [
        ['--- {a: 1}', 0],
        ['--- {b: 2}', 1],
      ],
    ],
    ['nothing but comments', '# hello\n---\n# there\n---\na: 1', [['---\na: 1', 3]]],
    [
      'end marker',
      'a: 1\n...\n# rest\n---\nb: 2',
      [
        ['a: 1', 0],
        ['---\nb: 2', 3],
      ],
    ],
    ['directive', '%YAML 1.2\n---\na: 1', [['---\na: 1', 1]]],
    ['marker inside a word is none', 'a: |\n  ---\n  x\n----\n', [['a: |\n  ---\n  x\n----\n', 0]]],
    [
      'CRLF',
      'a: 1\r\n---\r\nb: 2',
      [
        ['a: 1', 0],
        ['---\nb: 2', 1],
      ],
    ],
    ['byte order mark', '\uFEFFa: 1', [['a: 1', 0]]],
    ['empty', '\n\n', []],
  ]
  for (const [name, text, expected] of cases) {
    t.same(
      splitDocuments(text).map((c) => [c.text, c.linesBefore]),
      expected,
      name,
    )
  }
})

t.test('places of values and keys', async (t) => {
  const text = [
    'top:',
    '  list:',
    '    - {name: one, "80": x}',
    '    - name: two',
    '  more: &a [1, 2]',
    'again: *a',
    'merged:',
    '  <<: {k: 1}',
    '  own: 2',
  ].join('\n')
  const document = new Document(text)
  t.equal(document.problem, null)
  const cases: readonly (readonly [(string | number)[], boolean, number, number])[] = [
    [[], false, 1, 1],
    [['top'], true, 1, 1],
    [['top', 'list'], false, 3, 5],
    [['top', 'list', 0, 'name'], true, 3, 8],
    [['top', 'list', 0, 'name'], false, 3, 14],
    [['top', 'list', 0, '80'], false, 3, 25],
    [['top', 'list', 1, 'name'], false, 4, 13],
    [['top', 'more', 1], false, 5, 16],
    [['again', 1], false, 5, 16],
    [['merged', 'own'], false, 9, 8],
    // What is not there is shown where the last part that is there stands.
    [['top', 'list', 0, 'nothing', 'below'], false, 3, 7],
  ]
  for (const [path, onKey, line, column] of cases)
    t.same(document.placeOf(path, onKey), { line, column }, `${path.join('.')} ${onKey}`)
})

t.test('documents that cannot be used', async (t) => {
  const bomb = [
    'a: &a [x, x, x, x, x, x, x, x, x, x]',
    ...'bcdefgh'.split('').map((c, i) => `${c}: &${c} [${Array(10).fill(`*${'abcdefgh'[i]}`).join(', ')}]`),
  ].join('\n')
  const cases: readonly (readonly [string, string, number, RegExp])[] = [
    ['unclosed quote', 'a: 1\nb: "x', 2, /not valid YAML/],
    ['bad indentation', 'a:\n  - b\n c: 1', 3, /not valid YAML/],
    ['duplicate key', 'a: 1\nb: 2\na: 3', 3, /written twice/],
    ['tag of one’s own', 'a: !secret x', 1, /tags of your own/],
    ['unresolved alias', 'a: *nobody', 1, /nobody/],
    ['alias bomb', bomb, 1, /alias/i],
    ['deep nesting', '['.repeat(20_000), 1, /./],
    ['nesting that parses', `${'['.repeat(150)}${']'.repeat(150)}`, 1, /levels deep/],
  ]
  for (const [name, text, line, message] of cases) {
    const { problem, value } = new Document(text)
    t.equal(value, null, name)
    t.equal(problem?.line, line, name)
    t.match(problem?.message, message, name)
  }
})

t.test('a key named __proto__ is only a key', async (t) => {
  const { value } = new Document('__proto__: {polluted: 1}')
  t.same(Object.keys(value as object), ['__proto__'])
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

t.test('files and folders', async (t) => {
  const folder = new Folder(t, {
    'b.yaml': 'b: 1',
    'a.yml': 'a: 1\n---\na: 2',
    'c.json': '{"c": 1}',
    'deep/er/d.yaml': 'd: 1',
    'readme.md': 'no',
    '.hidden.yaml': 'no: 1',
    '..data/x.yaml': 'no: 1',
    'named.conf': 'named: 1',
  })
  const roots = [folder.path, join(folder.path, 'named.conf'), join(folder.path, 'a.yml'), join(folder.path, 'nothing')]
  const reader = new DocumentReader(roots)
  const { documents, unreadable } = reader.read()
  const names = documents.map((d) => [d.file.slice(folder.path.length + 1), d.linesBefore, d.document.value])
  t.same(names, [
    ['a.yml', 0, { a: 1 }],
    ['a.yml', 1, { a: 2 }],
    ['b.yaml', 0, { b: 1 }],
    ['c.json', 0, { c: 1 }],
    ['deep/er/d.yaml', 0, { d: 1 }],
    ['named.conf', 0, { named: 1 }],
  ])
  t.same(unreadable, [{ file: join(folder.path, 'nothing'), root: true, message: 'no such file or folder' }])
  t.test('unchanged text is not parsed again, wherever it went', async (t) => {
    folder.write({ 'a.yml': '# a line more\n---\na: 1\n---\na: 2', 'b.yaml': 'b: 2' })
    const again = reader.read().documents
    const before = new Map(documents.map((d) => [d.document.text, d.document]))
    const moved = again.find((d) => d.document.text === '---\na: 2')
    t.equal(moved?.document, before.get('---\na: 2'))
    t.equal(moved?.linesBefore, 3)
    t.not(again.find((d) => d.file.endsWith('b.yaml'))?.document, before.get('b: 1'))
  })
})
