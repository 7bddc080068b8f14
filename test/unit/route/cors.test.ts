// Which origins a CORS policy lets in (Istio CorsPolicy allowOrigins; `*` as Envoy's filter reads it).
import t from 'tap'
import { CompiledCors } from '../../../lib/route/cors.ts'
import type { StringMatch } from '../../../lib/state/route.ts'

const match = (kind: StringMatch['kind'], value: string): StringMatch => ({ kind, value, ignoreCase: false })

const allows = (origins: readonly StringMatch[], origin: string) =>
  new CompiledCors({
    allowOrigins: origins,
    allowMethods: '',
    allowHeaders: '',
    exposeHeaders: '',
    maxAge: '',
    allowCredentials: false,
    forwardNotMatchingPreflights: true,
  }).allows(origin)

const LIST = [match('exact', 'http://ok.test'), match('prefix', 'http://pre'), match('regex', 'https://.*\\.re\\.test')]

const ROWS: readonly [origins: readonly StringMatch[], origin: string, allowed: boolean][] = [
  [LIST, 'http://ok.test', true],
  [LIST, 'HTTP://OK.test', false],
  [LIST, 'http://ok.test,http://ok.test', false],
  [LIST, 'http://prefix.test', true],
  [LIST, 'https://a.re.test', true],
  [LIST, 'https://a.re.test.evil', false],
  [LIST, 'null', false],
  [[], 'http://ok.test', false],
  [[match('exact', '*')], 'http://any.test', true],
  [[match('regex', '.*')], 'http://any.test', true],
  [[match('prefix', '*')], 'http://any.test', true],
  [[match('exact', 'http://*')], 'http://any.test', false],
]

t.test('origins', async (t) => {
  for (const [origins, origin, allowed] of ROWS)
    t.equal(allows(origins, origin), allowed, `${origins.map((o) => `${o.kind} ${o.value}`).join(' | ')}: ${origin}`)
})
