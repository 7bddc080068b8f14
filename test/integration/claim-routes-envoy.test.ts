// Routes that are chosen by claims of a verified token, from a control plane: the same filter, the same routes and the same requests to Envoy and to heddle.
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { connectAny } from '../support/any-client.ts'
import { Envoy, findEnvoy } from '../support/envoy.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { jwksText, rsaKey, token } from '../support/tokens.ts'
import { httpFilter, putResource, xdsListener } from '../support/xds-json.ts'

const ISSUER = 'https://issuer.example'
const rsa = rsaKey({ kid: 'rsa' })
const stranger = rsaKey({ kid: 'rsa' })
const claims = { iss: ISSUER, sub: 'ada' }
const signed = (more: object, key = rsa) => token(key, 'RS256', { ...claims, ...more }, { kid: 'rsa' })

/** Of one RequestAuthentication. */
function jwtFilter(clearRouteCache: boolean): object {
  return httpFilter('http.jwt_authn.v3.JwtAuthentication', {
    providers: {
      'origins-0': {
        issuer: ISSUER,
        local_jwks: { inline_string: jwksText(rsa) },
        claim_to_headers: [{ header_name: 'x-sub', claim_name: 'sub' }],
        payload_in_metadata: 'payload',
        normalize_payload_in_metadata: { space_delimited_claims: ['permission', 'scope'] },
        clear_route_cache: clearRouteCache,
      },
    },
    rules: [
      {
        match: { prefix: '/' },
        requires: { requires_any: { requirements: [{ provider_name: 'origins-0' }, { allow_missing: {} }] } },
      },
    ],
    bypass_cors_preflight: true,
  })
}

/** translateMetadataMatch of istiod. */
function claim(path: readonly string[], string_match: object, invert = false): object {
  const value_matchers = [{ list_match: { one_of: { string_match } } }, { string_match }]
  return {
    filter: 'envoy.filters.http.jwt_authn',
    path: ['payload', ...path].map((key) => ({ key })),
    value: { or_match: { value_matchers } },
    invert,
  }
}

const answer = (match: object, text: string) => ({ match, direct_response: { status: 200, body: { inline_string: text } } })

/** What is asked of a request, by name: the path that asks for it. */
const CONDITIONS: Readonly<Record<string, object>> = {
  exact: { dynamic_metadata: [claim(['group'], { exact: 'admin' })] },
  prefix: { dynamic_metadata: [claim(['group'], { prefix: 'adm' })] },
  regex: { dynamic_metadata: [claim(['group'], { safe_regex: { regex: 'a.*n' } })] },
  number: { dynamic_metadata: [claim(['group'], { exact: '1' })] },
  yes: { dynamic_metadata: [claim(['group'], { exact: 'true' })] },
  nothing: { dynamic_metadata: [claim(['group'], { exact: '' })] },
  without: { dynamic_metadata: [claim(['group'], { exact: 'admin' }, true)] },
  nested: { dynamic_metadata: [claim(['realm', 'role'], { exact: 'admin' })] },
  dotted: { dynamic_metadata: [claim(['https://a.example/role'], { exact: 'admin' })] },
  scope: { dynamic_metadata: [claim(['scope'], { exact: 'write' })] },
  scopes: { dynamic_metadata: [claim(['scope'], { exact: 'read write' })] },
  both: { dynamic_metadata: [claim(['group'], { exact: 'admin' }), claim(['sub'], { exact: 'ada' })] },
  neither: { dynamic_metadata: [claim(['group'], { exact: 'admin' }, true), claim(['sub'], { exact: 'ada' })] },
  header: { headers: [{ name: 'x-sub', string_match: { exact: 'ada' } }] },
  token: { headers: [{ name: 'authorization', present_match: true }] },
}

const ROUTES = Object.entries(CONDITIONS).flatMap(([name, condition]) => [
  answer({ prefix: `/${name}/`, ...condition }, `${name} fits`),
  answer({ prefix: `/${name}/` }, `${name} does not fit`),
])

const bearer = (text: string): Readonly<Record<string, string>> => ({ authorization: `Bearer ${text}` })

/** Headers of requests, by what they claim. */
const CLIENTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'no token': {},
  'a token without the claim': bearer(signed({})),
  'a text': bearer(signed({ group: 'admin' })),
  'another text': bearer(signed({ group: 'user' })),
  'a longer text': bearer(signed({ group: 'administration' })),
  'a text in other case': bearer(signed({ group: 'Admin' })),
  'a text with a space': bearer(signed({ group: 'admin user' })),
  'an empty text': bearer(signed({ group: '' })),
  'a list': bearer(signed({ group: ['user', 'admin'] })),
  'a list of one': bearer(signed({ group: ['admin'] })),
  'an empty list': bearer(signed({ group: [] })),
  'a list of lists': bearer(signed({ group: [['admin']] })),
  'a list with numbers': bearer(signed({ group: [1, true, 'admin'] })),
  'a number': bearer(signed({ group: 1 })),
  'a yes': bearer(signed({ group: true })),
  null: bearer(signed({ group: null })),
  'an object': bearer(signed({ group: { admin: 'admin' } })),
  nested: bearer(signed({ realm: { role: 'admin' } })),
  'a nested list': bearer(signed({ realm: { role: ['admin'] } })),
  'a list of objects': bearer(signed({ realm: [{ role: 'admin' }] })),
  'a dot in the name': bearer(signed({ 'https://a.example/role': 'admin', 'realm.role': 'admin' })),
  'a scope': bearer(signed({ scope: 'read write' })),
  'scopes in a list': bearer(signed({ scope: ['read', 'write'] })),
  'another key': bearer(signed({ group: 'admin' }, stranger)),
  'an expired token': bearer(signed({ group: 'admin', exp: 1 })),
  'the claim in a preflight': {
    ...bearer(signed({ group: 'admin' })),
    origin: 'http://a',
    'access-control-request-method': 'PUT',
  },
}

interface Fed {
  readonly proxy: HeddleProcess
  readonly port: number
}

async function fed(t: Teardown, filter: object): Promise<Fed> {
  const plane = await FakeControlPlane.start(t)
  const port = await freePort()
  putResource(plane, XDS.listener, xdsListener({ name: 'in', host: '127.0.0.1', port, routes: 'r', filters: [filter] }))
  putResource(plane, XDS.route, { name: 'r', virtual_hosts: [{ name: 'all', domains: ['*'], routes: ROUTES }] })
  const xds = { address: plane.hostAndPort, transport: 'plaintext' }
  const proxy = await startProxy(t, { bootstrap: { role: 'gateway', resources: [], listeners: [], xds } })
  await plane.answered(XDS.route)
  return { proxy, port }
}

const skip = findEnvoy() === null ? 'no Envoy: set ENVOY to one (bench/README.md says whence)' : ''

/** Statuses and bodies for each of `CLIENTS`, one after the other on a connection. */
async function answersOf(t: Teardown, port: number, condition: string): Promise<Record<string, string>> {
  const client = await connectAny(t, port)
  const answers: Record<string, string> = {}
  for (const [who, headers] of Object.entries(CLIENTS)) {
    const method = headers['origin'] === undefined ? 'GET' : 'OPTIONS'
    const { status, body } = await client.ask({ method, host: 'web', target: `/${condition}/x`, headers })
    answers[who] = `${status} ${body.toString()}`
  }
  client.destroy()
  return answers
}

/** Conditions that some of `CLIENTS` fulfil. Numbers and booleans are no texts, and a list of words is not the text that it was. */
const BY_TOKENS = new Set(Object.keys(CONDITIONS).filter((name) => !['number', 'yes', 'scopes'].includes(name)))
const BEFORE_TOKENS = new Set(['without', 'token'])

t.test('Envoy and heddle choose the same routes', { skip }, async (t) => {
  for (const clear of [true, false]) {
    const envoy = await Envoy.filters(t, [jwtFilter(clear)], 1, ROUTES)
    const { port } = await fed(t, jwtFilter(clear))
    const of = (to: number) => Promise.all(Object.keys(CONDITIONS).map((name) => answersOf(t, to, name)))
    const [allTheirs, allOurs] = await Promise.all([of(envoy.port), of(port)])
    for (const [i, name] of Object.keys(CONDITIONS).entries()) {
      const [theirs = {}, ours = {}] = [allTheirs[i], allOurs[i]]
      t.same(ours, theirs, `${clear ? '' : 'before tokens: '}${name}`)
      const fits = Object.values(ours).includes(`200 ${name} fits`)
      t.equal(fits, (clear ? BY_TOKENS : BEFORE_TOKENS).has(name), `${name} can${fits ? '' : 'not'} fit`)
    }
  }
})
