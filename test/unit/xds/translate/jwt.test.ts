// The jwt_authn filter of a control plane, as istiod writes it, and that whatever of it is not understood makes the listener refused.
import t from 'tap'
import { fromJson, type JsonObject } from '../../../../lib/xds/proto/json.ts'
import { JwtAuthentication } from '../../../../lib/xds/proto/jwt.ts'
import { REGISTRY } from '../../../../lib/xds/proto/registry.ts'
import { Findings, findingsText } from '../../../../lib/xds/translate/findings.ts'
import { translateJwt } from '../../../../lib/xds/translate/http-filters/jwt-authn.ts'

function translated(json: JsonObject) {
  const findings = new Findings()
  const jwt = translateJwt(fromJson(JwtAuthentication, json, REGISTRY), findings)
  return { jwt, faults: findingsText(findings.faults) }
}

const PROVIDER: JsonObject = { issuer: 'me', local_jwks: { inline_string: '{"keys":[]}' }, payload_in_metadata: 'payload' }
const rules = (requires: JsonObject = { provider_name: 'p' }, match: JsonObject = { prefix: '/' }): JsonObject => ({
  rules: [{ match, requires }],
})
const filter = (provider: JsonObject = {}, more: JsonObject = rules()): JsonObject => ({
  providers: { p: { ...PROVIDER, ...provider } },
  ...more,
})

t.test('as istiod writes it', async (t) => {
  const { jwt, faults } = translated({
    providers: {
      'origins-0': {
        issuer: 'https://a.example',
        audiences: ['b'],
        forward: true,
        forward_payload_header: 'X-Payload',
        from_headers: [{ name: 'X-Token', value_prefix: 'P ' }],
        from_params: ['q'],
        from_cookies: ['c'],
        claim_to_headers: [{ header_name: 'X-Sub', claim_name: 'sub' }],
        payload_in_metadata: 'payload',
        normalize_payload_in_metadata: { space_delimited_claims: ['permission', 'scope'] },
        clear_route_cache: true,
        remote_jwks: {
          http_uri: { uri: 'https://a.example/keys', cluster: 'outbound|443||a.example', timeout: '3s' },
          cache_duration: '300s',
        },
      },
    },
    ...rules({ requires_any: { requirements: [{ provider_name: 'origins-0' }, { allow_missing: {} }] } }),
    bypass_cors_preflight: true,
  })
  t.equal(faults, '')
  t.match(jwt, {
    bypassCorsPreflight: true,
    choosesRoute: true,
    requires: { kind: 'any', of: [{ kind: 'provider', provider: 'origins-0', audiences: [] }, { kind: 'missing' }] },
    providers: [
      {
        name: 'origins-0',
        issuer: 'https://a.example',
        audiences: ['b'],
        keys: {
          jwks: '',
          uri: 'https://a.example/keys',
          discovery: false,
          timeoutMs: 3000,
          refreshMs: 300_000,
          through: { cluster: 'outbound|443||a.example', retries: 0 },
        },
        headers: [{ name: 'x-token', prefix: 'P ' }],
        params: ['q'],
        cookies: ['c'],
        forward: true,
        payloadHeader: 'x-payload',
        claimHeaders: [{ header: 'x-sub', claim: 'sub' }],
        payloadMetadata: 'payload',
        spaceDelimitedClaims: ['permission', 'scope'],
        clockSkewS: 60,
      },
    ],
  })
})

t.test('requirements', async (t) => {
  const rows: readonly (readonly [JsonObject, object])[] = [
    [{}, { kind: 'none' }],
    [{ allow_missing_or_failed: {} }, { kind: 'missingOrFailed' }],
    [{ provider_and_audiences: { provider_name: 'p', audiences: ['a'] } }, { kind: 'provider', provider: 'p', audiences: ['a'] }],
    [{ requires_all: { requirements: [{ allow_missing: {} }] } }, { kind: 'all', of: [{ kind: 'missing' }] }],
  ]
  for (const [json, noun] of rows) t.same(translated(filter({}, rules(json))).jwt?.requires, noun, JSON.stringify(json))
  const named = { requirement_map: { n: { allow_missing: {} } }, rules: [{ match: { prefix: '/' }, requirement_name: 'n' }] }
  t.same(translated(filter({}, named)).jwt?.requires, { kind: 'missing' })
  t.equal(translated(filter({}, {})).jwt, null, 'without rules nobody is asked')
})

t.test('what is not understood is refused', async (t) => {
  const rows: readonly (readonly [JsonObject, RegExp])[] = [
    [filter({ subjects: { exact: 'a' } }), /providers\[p\]\.subjects: subjects are not compared/],
    [filter({ require_expiration: true }), /require_expiration: tokens without exp are valid/],
    [filter({ max_lifetime: '5s' }), /max_lifetime/],
    [filter({ pad_forward_payload_header: true }), /pad_forward_payload_header/],
    [filter({ header_in_metadata: 'h' }), /header_in_metadata/],
    [filter({ failed_status_in_metadata: 'f' }), /failed_status_in_metadata/],
    [filter({ local_jwks: { filename: '/keys' } }), /local_jwks: keys are understood where they are written out/],
    [{ providers: { p: { issuer: 'me' } }, ...rules() }, /a provider has local_jwks or remote_jwks/],
    [filter({ local_jwks: null, remote_jwks: { http_uri: { uri: 'file:///k' } } }), /keys are fetched from http or https/],
    [filter({}, rules({ provider_name: 'q' })), /rules\[0\]\.requires: there is no provider `q`/],
    [filter({}, rules({}, { prefix: '/a' })), /rules\[0\]\.match: a rule for all requests/],
    [filter({}, rules({}, { prefix: '/', headers: [{ name: 'a', present_match: true }] })), /rules\[0\]\.match/],
    [filter({}, { rules: [{ match: { prefix: '/' } }, { match: { prefix: '/' } }] }), /rules\[1\]: one rule for all/],
    [filter({}, { rules: [{ match: { prefix: '/' }, requirement_name: 'n' }] }), /there is no requirement `n`/],
    [{ providers: { p: PROVIDER, q: { ...PROVIDER, clear_route_cache: true } }, ...rules() }, /clear_route_cache/],
    [filter({}, { ...rules(), strip_failure_response: true }), /strip_failure_response/],
    [filter({}, { ...rules(), filter_state_rules: { name: 'x' } }), /filter_state_rules/],
  ]
  for (const [json, reason] of rows) t.match(translated(json).faults, reason, String(reason))
})

t.test('keys through a cluster', async (t) => {
  const through = (more: JsonObject, cluster = 'keys') => {
    const http_uri = { uri: 'http://a/k', cluster, timeout: '5s' }
    const { jwt, faults } = translated(filter({ local_jwks: null, remote_jwks: { http_uri, ...more } }))
    t.equal(faults, '')
    return jwt?.providers[0]?.keys.through
  }
  const cluster = { cluster: 'keys', retries: 0, retryBaseMs: 1000, retryMaxMs: 10_000, againMs: 0 }
  t.same(through({}), cluster)
  t.same(through({ retry_policy: {} }), { ...cluster, retries: 1 })
  const retry_back_off = { base_interval: '0.2s', max_interval: '3s' }
  t.same(through({ retry_policy: { num_retries: 4, retry_back_off } }), {
    ...cluster,
    retries: 4,
    retryBaseMs: 200,
    retryMaxMs: 3000,
  })
  t.same(through({ async_fetch: {} }), { ...cluster, againMs: 1000 })
  t.same(through({ async_fetch: { fast_listener: true, failed_refetch_duration: '7s' } }), { ...cluster, againMs: 7000 })
  t.equal(through({}, ''), null)
})
