import { execFileSync } from 'node:child_process'
import t from 'tap'
import { checkRegexRewrite, compileRegex, compileTemplate, type Regex } from '../../../lib/base/regex.ts'

function regex(source: string): Regex {
  const compiled = compileRegex(source)
  if (!compiled.ok) throw new Error(compiled.message)
  return compiled.regex
}

t.test('matches the whole text, around the whole alternation', async (t) => {
  const rows: [source: string, text: string, expected: boolean][] = [
    ['/re[0-9]+', '/re12', true],
    ['/re[0-9]+', '/re12/x', false],
    ['/re[0-9]+', '/x/re12', false],
    ['/ra|/rb', '/ra', true],
    ['/ra|/rb', '/rb', true],
    ['/ra|/rb', '/rax', false],
    ['a|ab', 'ab', true],
    ['^/rc$', '/rc', true],
    ['^/rc$', '/rcx', false],
    ['(?i)abc', 'ABC', true],
    ['.*', '', true],
    ['^(.*?;)?\\s*(user=jason)(;.*)?$', 'a=b; user=jason; c=d', true],
  ]
  for (const [source, text, expected] of rows) t.equal(regex(source).matchesWhole(text), expected, `${source} on ${text}`)
})

t.test('messages read as those of RE2', async (t) => {
  const rows: [source: string, message: string][] = [
    ['(', 'missing closing ): `(`'],
    ['(?=a)', 'invalid or unsupported Perl syntax: `(?=`'],
    ['(?<=a)b', 'invalid or unsupported Perl syntax: `(?<=`'],
    ['(?<!a)b', 'invalid or unsupported Perl syntax: `(?<!`'],
    ['*', 'missing argument to repetition operator: `*`'],
    ['a**', 'invalid nested repetition operator: `**`'],
    ['[a', 'missing closing ]: `[a`'],
    [')', 'unexpected ): `)`'],
    ['\\8', 'invalid escape sequence: `\\8`'],
    ['a\\', 'trailing backslash at end of expression'],
    ['x'.repeat(1025), 'regex is too large, max length allowed is 1024'],
  ]
  for (const [source, message] of rows) {
    t.strictSame(compileRegex(source), { ok: false, message }, source.slice(0, 20))
  }
  t.ok(compileRegex('x'.repeat(1024)).ok)
})

t.test('the same source is compiled once', async (t) => {
  t.equal(regex('/once/[a-z]+'), regex('/once/[a-z]+'))
})

t.test('replaces every match by a template', async (t) => {
  const rows: [source: string, rewrite: string, text: string, expected: string][] = [
    ['/([a-z0-9]+)/([0-9]+)', '/\\2/\\1', '/p6/12', '/12/p6'],
    ['/([a-z0-9]+)/([0-9]+)', '/\\2/\\1', '/p6/12/34', '/12/p6/34'],
    ['x', 'y', '/pfxx', '/pfyy'],
    ['nothing', 'y', '/pfxx', '/pfxx'],
    ['b+', '[\\0]', 'abbc', 'a[bb]c'],
    ['(a)|b', '<\\1>', 'ab', '<a><>'],
    ['a', '$1 $& \\\\', 'a', '$1 $& \\'],
    ['(a)', '\\10', 'a', 'a0'],
    ['x*', '-', 'abxc', '-a-b-c-'],
    ['.*', '/all', '/some/path', '/all'],
    ['a', '', 'a', ''],
  ]
  for (const [source, rewrite, text, expected] of rows) {
    const pattern = regex(source)
    const template = compileTemplate(rewrite, pattern.groupCount())
    if (!template.ok) throw new Error(template.message)
    t.equal(pattern.replaceAll(text, template.template), expected, `${source} → ${rewrite} on ${text}`)
  }
})

t.test('a rewrite is checked against its pattern', async (t) => {
  t.equal(checkRegexRewrite('/(a)', '/\\1'), null)
  t.equal(checkRegexRewrite('/(a)', '/\\2'), 'rewrite refers to group \\2, but the pattern has 1')
  t.equal(checkRegexRewrite('/a', '/\\x'), "invalid rewrite: '\\' before 'x'")
  t.equal(checkRegexRewrite('/a', '/\\'), "rewrite ends with '\\'")
  t.equal(checkRegexRewrite('(', 'x'), 'missing closing ): `(`')
})

t.test('re2js takes 2 MB a thread and is loaded with the first pattern, not before', async (t) => {
  const program = `
    import { createRequire } from 'node:module'
    import { compileRegex } from ${JSON.stringify(new URL('../../../lib/base/regex.js', import.meta.url).href)}
    const { cache } = createRequire(${JSON.stringify(import.meta.url)})
    const loaded = () => Object.keys(cache).some((file) => file.includes('re2js'))
    const before = loaded()
    compileRegex('a')
    console.log(before, loaded())`
  t.equal(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }), 'false true\n')
})
