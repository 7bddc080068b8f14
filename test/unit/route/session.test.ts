// Sessions that stay with their endpoints: what a client brings, and what it is told. The bytes are those of Envoy's message in a cookie: field 1 a text, field 2 a number.
import t from 'tap'
import { CompiledSession } from '../../../lib/route/session.ts'
import type { SessionState } from '../../../lib/state/route.ts'
import { HeaderList, view } from './world.ts'

const COOKIE: SessionState = { kind: 'cookie', name: 's', path: '/a', ttlSeconds: 0, strict: false }
const session = (over: Partial<SessionState> = {}) => new CompiledSession({ ...COOKIE, ...over })
const inCookie = (...bytes: readonly number[]): readonly [string, string] => [
  'cookie',
  `s="${Buffer.from(bytes).toString('base64')}"`,
]
/** `a:1` */
const A1 = [0x61, 0x3a, 0x31]
/** 300 as a varint. */
const AT_300 = [0x10, 0xac, 0x02]

t.test('what a request says', async (t) => {
  const header = { kind: 'header', name: 'X-S' } as const
  const rows: readonly (readonly [
    what: string,
    header: readonly [string, string],
    address: string,
    over?: Partial<SessionState>,
  ])[] = [
    ['an address', inCookie(0x0a, 3, ...A1), 'a:1'],
    ['an address alone', inCookie(...A1), 'a:1'],
    ['another cookie', ['cookie', 'x=YToxMg=='], ''],
    ['the time is not over', inCookie(0x0a, 3, ...A1, ...AT_300), 'a:1'],
    ['longer than it is', inCookie(0x0a, 9, ...A1), ''],
    ['cut off', inCookie(0x0a), ''],
    ['nothing', ['cookie', 's='], ''],
    ['no base64', ['cookie', 's=%%%%'], ''],
    ['base64 without its end', ['cookie', 's=YTox0'], ''],
    ['too long', ['cookie', `s=${'YTox'.repeat(200)}`], ''],
    ['a header', ['x-s', 'YTox'], 'a:1', header],
    ['two in a header', ['x-s', 'YTox,YTox'], '', header],
  ]
  for (const [what, field, address, over] of rows)
    t.equal(session(over).addressOf(view('/a', { headers: [field] }), 300), address, what)
  t.equal(session().addressOf(view('/a', { headers: [inCookie(0x0a, 3, ...A1, ...AT_300)] }), 301), '', 'the time is over')
})

t.test('what a client is told', async (t) => {
  const told = (over: Partial<SessionState>): readonly (readonly [string, string])[] => {
    const headers = new HeaderList([['x-s', 'old']])
    session(over).say('a:1', headers, 200)
    return headers.entries
  }
  const bytes = (...b: readonly number[]) => Buffer.from(b).toString('base64')
  t.same(told({})[1], ['set-cookie', `s="${bytes(0x0a, 3, ...A1)}"; Path=/a; HttpOnly`])
  t.same(told({ ttlSeconds: 100, path: '' })[1], ['set-cookie', `s="${bytes(0x0a, 3, ...A1, ...AT_300)}"; Max-Age=100; HttpOnly`])
  t.same(told({ kind: 'header', name: 'X-S' }), [['X-S', 'YTox']])
})

t.test('a cookie is for its path', async (t) => {
  const rows: readonly (readonly [string, string, boolean])[] = [
    ['/a', '/a', true],
    ['/a', '/a/b', true],
    ['/a', '/a?x=1', true],
    ['/a', '/ab', false],
    ['/a/', '/a/b', true],
    ['/a', '/', false],
    ['/', '/x', true],
    ['', '/x', true],
  ]
  for (const [path, target, concerned] of rows) t.equal(session({ path }).concerns(view(target)), concerned, `${path} ${target}`)
})
