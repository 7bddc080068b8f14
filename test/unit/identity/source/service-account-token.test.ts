import t from 'tap'
import { tokenFault } from '../../../../lib/identity/source/service-account-token.ts'

const NOW = Date.UTC(2026, 10, 21, 12)
const jwt = (claims: unknown): string =>
  ['{"alg":"RS256"}', typeof claims === 'string' ? claims : JSON.stringify(claims), 'signature']
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.')
const seconds = NOW / 1000

const ROWS: readonly (readonly [string, string, string | null])[] = [
  ['good', jwt({ aud: ['istio-ca'], exp: seconds + 1 }), null],
  ['an audience as text', jwt({ aud: 'istio-ca' }), null],
  ['one of several', jwt({ aud: ['x', 'istio-ca'] }), null],
  ['no claims that we read', jwt({ iss: 'x' }), null],
  ['expired', jwt({ exp: seconds - 60 }), 'expired at 2026-11-21T11:59:00.000Z'],
  ['not yet', jwt({ nbf: seconds + 60 }), 'is not valid until 2026-11-21T12:01:00.000Z'],
  [
    'of another audience',
    jwt({ aud: ['https://kubernetes.default.svc'] }),
    'is for the audience "https://kubernetes.default.svc", not "istio-ca"',
  ],
  ['an odd time', jwt({ nbf: 1e300 }), 'is not valid until 1e+300'],
  ['opaque', 'abcdef', 'is no JWT'],
  ['dots only', '..', 'is no JWT'],
  ['not JSON', jwt('{'), 'is no JWT'],
  ['JSON, but no claims', jwt('null'), 'is no JWT'],
]

t.test('what is visibly wrong with a token', async (t) => {
  for (const [name, token, fault] of ROWS) t.equal(tokenFault(token, 'istio-ca', NOW), fault, name)
})
