import fc from 'fast-check'
import t from 'tap'
import { normalizePath, normalizePathAs } from '../../../lib/route/path.ts'

t.test('normal form', async (t) => {
  const rows: [path: string, expected: string | null][] = [
    // Nothing to do.
    ['/', '/'],
    ['/norm//b', '/norm//b'],
    ['/norm/b/', '/norm/b/'],
    ['/norm/b;x=1', '/norm/b;x=1'],
    ['/rest/;/x', '/rest/;/x'],
    ['/rest/...', '/rest/...'],
    ['/rest/...;/x', '/rest/...;/x'],
    ['/rest/x..;/y', '/rest/x..;/y'],
    ['/rest/;../b', '/rest/;../b'],
    ['/rest/.a/..b', '/rest/.a/..b'],
    ["/rest/a'b!$&()*+,:=@[b]", "/rest/a'b!$&()*+,:=@[b]"],
    // Dot segments.
    ['/norm/a/../b', '/norm/b'],
    ['/norm/./b', '/norm/b'],
    ['/norm/a/%2e%2e/b', '/norm/b'],
    ['/rest/%2E%2E/x', '/x'],
    ['/rest/a/.%2E/', '/rest/'],
    ['/norm/..//../x', '/x'],
    ['/NORM/../norm/b', '/norm/b'],
    ['/rest/..', '/'],
    ['/rest/.', '/rest/'],
    ['/rest/%2E', '/rest/'],
    ['/..', '/'],
    ['/rest//../x', '/rest/x'],
    ['//x/..', '//'],
    ['/rest/a;b=c/../d', '/rest/d'],
    ['/rest/a./b../c', '/rest/a./b../c'],
    // Path parameters on dots.
    ['/rest/..;/x', '/x'],
    ['/rest/.;/x', '/rest/x'],
    ['/rest/..;', '/'],
    ['/rest/..;a=b/x', '/x'],
    ['/rest/..;;/x', '/x'],
    ['/rest/a/..;/..;/x', '/x'],
    ['/rest/..;\\x', '/'],
    // Backslashes.
    ['/norm\\b', '/norm/b'],
    ['/norm/a\\..\\b', '/norm/b'],
    // Escapes.
    ['/norm/%62', '/norm/b'],
    ['/rest/%41%7e%2D%5F', '/rest/A~-_'],
    ['/norm/a%2f..%2fb', '/norm/a%2f..%2fb'],
    ['/norm%2fb', '/norm%2fb'],
    ['/rest/%2e%2e%2fx', '/rest/..%2fx'],
    ['/rest/%5c..%5cx', '/rest/%5c..%5cx'],
    ['/rest/A%2fB%2F', '/rest/A%2fB%2F'],
    ['/rest/a%3bb', '/rest/a%3bb'],
    ['/rest/..%3b/y', '/rest/..%3b/y'],
    ['/rest/%c3%a9', '/rest/%c3%a9'],
    ['/rest/a%0ab', '/rest/a%0ab'],
    ['/rest/%21%24', '/rest/%21%24'],
    ['/rest/%7F', '/rest/%7F'],
    ['/norm/%zz', '/norm/%zz'],
    ['/rest/%4', '/rest/%4'],
    ['/rest/%', '/rest/%'],
    ['/norm/%2562', '/norm/%2562'],
    ['/norm/b%3Fx', '/norm/b%3Fx'],
    // What decoding would complete to an escape stays apart.
    ['/rest/%%300', '/rest/%2500'],
    ['/rest/%%3041', '/rest/%25041'],
    ['/rest/%%41', '/rest/%A'],
    ['/rest/%%34%31', '/rest/%2541'],
    ['/rest/%2%35', '/rest/%2525'],
    // Characters that may not stand bare.
    ['/rest/a|b', '/rest/a%7Cb'],
    ['/rest/a"b', '/rest/a%22b'],
    ['/rest/<x>', '/rest/%3Cx%3E'],
    ['/rest/a^b', '/rest/a%5Eb'],
    ['/rest/a`b', '/rest/a%60b'],
    ['/rest/a{b}', '/rest/a%7Bb%7D'],
    ['/rest/\u00e9', '/rest/%E9'],
    // Refused.
    ['/norm/%00', null],
    ['/norm/\0', null],
    ['/norm/\u0100', null],
  ]
  for (const [path, expected] of rows) t.equal(normalizePath(path), expected, JSON.stringify(path))
})

t.test('every character of Latin-1: copied, escaped, or with a meaning of its own', async (t) => {
  const copied = new Set("!$&'()*+,-./:;=@[]_~")
  for (let c = 1; c < 256; c++) {
    const ch = String.fromCharCode(c)
    const escaped = `%${c.toString(16).toUpperCase().padStart(2, '0')}`
    const plain = copied.has(ch) || /[A-Za-z0-9]/.test(ch)
    const expected = ch === '\\' ? '/a/b' : plain || ch === '%' ? `/a${ch}b` : `/a${escaped}b`
    t.equal(normalizePath(`/a${ch}b`), expected, escaped)
  }
})

t.test(
  'differs from Envoy: an escaped dot with parameters is a dot segment too, or normalising twice would go further',
  async (t) => {
    t.equal(normalizePath('/rest/%2e;/y'), '/rest/y')
    t.equal(normalizePath('/rest/%2e%2e;/y'), '/y')
  },
)

/** Paths of what matters: dots, slashes, escapes whole and broken, parameters. */
const pieces = fc.array(
  fc.oneof(
    fc.constantFrom(
      '/',
      '/',
      '.',
      '..',
      '%2e',
      '%2E',
      '\\',
      ';',
      '%',
      '%2',
      '%25',
      '%2f',
      '%41',
      '%34',
      '%35',
      '%c3',
      'a',
      'B',
      '4',
      '|',
    ),
    fc.string({ unit: fc.integer({ min: 1, max: 255 }).map((c) => String.fromCharCode(c)), maxLength: 3 }),
  ),
  { maxLength: 14 },
)

t.test('normalising twice changes nothing', async () => {
  fc.assert(
    fc.property(pieces, (parts) => {
      const once = normalizePath(`/${parts.join('')}`)
      if (once === null) return true
      return normalizePath(once) === once
    }),
    { numRuns: 20_000 },
  )
})

t.test('the normal form begins with a slash, has no dot segment and nothing that may not stand bare', async () => {
  fc.assert(
    fc.property(pieces, (parts) => {
      const path = normalizePath(`/${parts.join('')}`)
      if (path === null) return true
      const segments = path.split('/').map((s) => s.replace(/;.*$/, ''))
      return /^\/[!-~]*$/.test(path) && !/[\\"<>^`{|}#?]/.test(path) && !segments.some((s) => s === '.' || s === '..')
    }),
    { numRuns: 20_000 },
  )
})

t.test('a path in normal form comes back as the same string', async () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-zA-Z0-9_~;=!$-]{0,8}$/), { maxLength: 6 }), (segments) => {
      const path = `/${segments.join('/')}`
      return normalizePath(path) === path
    }),
  )
})

// Istio pathNormalization; Envoy decodes escaped slashes first, then resolves dots, then merges slashes.
t.test('what else a mesh may want', async (t) => {
  const rows: [path: string, none: string | null, merge: string | null, decode: string | null][] = [
    ['/a//b', '/a//b', '/a/b', '/a/b'],
    ['/a%2fb', '/a%2fb', '/a%2fb', '/a/b'],
    ['/a%5Cb', '/a%5Cb', '/a%5Cb', '/a/b'],
    ['/a%2F%2f//b', '/a%2F%2f//b', '/a%2F%2f/b', '/a/b'],
    ['/a%2f..%2fb', '/a%2f..%2fb', '/a%2f..%2fb', '/b'],
    ['/a/../b', '/a/../b', '/b', '/b'],
    ['/a\\\\b', '/a\\\\b', '/a/b', '/a/b'],
    ['', '/', '/', '/'],
    ['/%00', '/%00', null, null],
  ]
  for (const [path, none, merge, decode] of rows) {
    t.equal(normalizePathAs('NONE', path), none, `NONE ${path}`)
    t.equal(normalizePathAs('BASE', path), normalizePath(path), `BASE ${path}`)
    t.equal(normalizePathAs('MERGE_SLASHES', path), merge, `MERGE_SLASHES ${path}`)
    t.equal(normalizePathAs('DECODE_AND_MERGE_SLASHES', path), decode, `DECODE_AND_MERGE_SLASHES ${path}`)
  }
})
