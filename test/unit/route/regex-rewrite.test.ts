// Patterns that istiod writes for rewrites of the Gateway API are known for what they do; all others stay patterns.
import t from 'tap'
import { regexRewrite } from '../../../lib/route/regex-rewrite.ts'
import { ANY_REQUEST, type PathMatch, type PathRewrite } from '../../../lib/state/route.ts'

const segments = (value: string): PathMatch => ({ kind: 'pathPrefix', value, ignoreCase: false })
const stays = (pattern: string, value: string): PathRewrite => ({ kind: 'regex', pattern, value })

t.test('rewrites', async (t) => {
  const cases: [title: string, pattern: string, value: string, path: PathMatch | null, expected: PathRewrite][] = [
    ['the whole path', '/.*', '/new', segments('/a'), { kind: 'full', pattern: '', value: '/new' }],
    ['with a group', '/.*', '/new\\0', segments('/a'), stays('/.*', '/new\\0')],
    ['a prefix that goes', '^/a(/?)(.*)', '/\\2', segments('/a'), { kind: 'prefix', pattern: '', value: '' }],
    ['quoted', '^/a\\.b(/?)(.*)', '/\\2', segments('/a.b'), { kind: 'prefix', pattern: '', value: '' }],
    ['another prefix', '^/b(/?)(.*)', '/\\2', segments('/a'), stays('^/b(/?)(.*)', '/\\2')],
    ['a plain prefix', '^/a(/?)(.*)', '/\\2', { ...segments('/a'), kind: 'prefix' }, stays('^/a(/?)(.*)', '/\\2')],
    ['no path', 'a', 'b', null, stays('a', 'b')],
  ]
  for (const [title, pattern, value, path, expected] of cases)
    t.same(regexRewrite(pattern, value, { ...ANY_REQUEST, path }), expected, title)
})
