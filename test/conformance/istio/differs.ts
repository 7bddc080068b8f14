// Where heddle answers otherwise than Envoy did, on purpose. Each entry says for which recorded cases (`folder: name`), why, and
// what heddle answers instead; the fields it does not mention must be as recorded. An entry that no longer differs fails.
import type { HeaderPair } from '../../support/h1-reader.ts'
import type { Field } from './compare.ts'
import type { Counts, Outcome } from './recording.ts'

export interface Difference {
  readonly cases: RegExp
  readonly reason: string
  /** Ours, in place of what was recorded. */
  readonly instead: Partial<Outcome>
  /** The same for a request that is repeated. */
  readonly insteadCounts?: Partial<Counts>
  /** Fields that follow from the difference and are not compared. */
  readonly ignore?: readonly Field[]
  /** The feature is being built: whatever comes in the meantime is accepted, as long as it differs. */
  readonly pending?: true
  /** Of questions of our own: the header fields, from those that were recorded. */
  readonly ownHeaders?: (recorded: readonly HeaderPair[]) => readonly HeaderPair[]
  /** It is the data path that differs: so does heddle that is fed by a control plane. */
  readonly fed?: true
  /** What cannot be said with values. */
  readonly also?: (found: Outcome) => boolean
}

/** The codec turns a message away; nothing of it reaches an upstream. */
const REFUSED: Partial<Outcome> = {
  status: 400,
  flags: 'DPE',
  details: 'http1.codec_error',
  cluster: null,
  route: null,
  upstreamHost: null,
  body: 'Bad Request',
  upstream: [],
}

/** What follows from the answer being another one. */
const FOLLOWS: readonly Field[] = ['headers', 'log', 'clientError']

export const DIFFERS: readonly Difference[] = [
  {
    cases: /^cases\/gateway-api-mesh: (?:\/rd[1345](?:\/|\?|$)|rd[13] with port)/,
    reason:
      'a redirect of an HTTPRoute that names no status has 302, as an API server writes it; the recording was made without one, and istiod takes nothing for 301',
    instead: { status: 302 },
    ignore: ['log'],
  },
  {
    cases: /^cases\/gateway: headers plain$/,
    fed: true,
    reason:
      'what a client of the outside says of a workload is taken away; the recorded Envoy lacks the filter of Istio that overwrites it (istio.metadata_exchange)',
    instead: {},
    ignore: ['upstream'],
    also: (found) => {
      const names = found.upstream?.[0]?.headers?.map(([name]) => name) ?? []
      return names.includes('x-envoy-external-address') && !names.some((name) => name.startsWith('x-envoy-peer-metadata'))
    },
  },
  {
    cases: /^cases\/gateway: http10$/,
    reason: 'HTTP/1.0 is served, as on all listeners',
    instead: {
      status: 200,
      flags: '-',
      details: 'via_upstream',
      cluster: 'outbound|9080||a.default.svc.cluster.local',
      route: 'wild',
      upstreamHost: '127.0.2.1:9080',
      body: 'ok\n',
    },
    ignore: [...FOLLOWS, 'upstream'],
  },
  {
    cases: /^cases\/headers: (obs-fold|bare LF)$/,
    fed: true,
    reason: 'RFC 9112 §2.2 and §5.2 read strictly: what peers understand in two ways is refused',
    instead: REFUSED,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/match: host (user@a|a,b)$/,
    fed: true,
    reason: 'RFC 9112 §3.2: a Host with a user is invalid and answered with 400; one with a comma is two that somebody joined',
    instead: REFUSED,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/match: two hosts$/,
    fed: true,
    reason: 'RFC 9112 §3.2: more than one Host is answered with 400',
    instead: REFUSED,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/match: path no slash$|^cases\/limits-and-paths: path \/rest\/é$/,
    reason: 'what begins as a request of HTTP is one, and a malformed one is answered with 400; Envoy passes it on as TCP',
    instead: REFUSED,
    ignore: FOLLOWS,
    fed: true,
  },
  {
    cases: /^cases\/match: lower case version$|^cases\/limits-and-paths: path \/rest\/ x$|^cases\/registry-only: not http$/,
    reason: 'an explicit HTTP listener answers bytes that are not HTTP/1 with 400; it does not pass them on as TCP',
    instead: REFUSED,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/match: upgrade h2c$/,
    fed: true,
    reason:
      'an offer of h2c is taken on `protocol: http` (RFC 7540 §3.2); the recording has a client that does not speak it, and leaves',
    instead: { status: 101, body: '' },
    ignore: [...FOLLOWS, 'flags', 'details', 'upstreamHost', 'upstream'],
  },
  {
    cases: /^cases\/match: host (h|h-1\.h|x\.h\.default\.svc\.cluster\.local)$/,
    reason: 'the pods of a headless service are known and are balanced over; what the client dialled is the explicit listener',
    instead: {},
    ignore: ['upstreamHost', 'upstream'],
    also: (found) =>
      /^127\.(0|64)\.8\.[12]:9080$/.test(found.upstreamHost ?? '') && found.upstream?.[0]?.at === found.upstreamHost,
  },
  {
    cases: /^cases\/match: http10$/,
    reason: 'HTTP/1.0 is carried, not passed on as TCP',
    instead: {
      details: 'via_upstream',
      cluster: 'outbound|9080||a.default.svc.cluster.local',
      upstreamHost: '127.0.2.1:9080',
      route: 'prefix-foo',
    },
    ignore: [...FOLLOWS, 'upstream'],
    also: (found) => found.upstream?.[0]?.protocol === 'HTTP/1.1' && found.upstream[0].authority === 'a',
  },
  {
    cases: /^cases\/match: http10 nohost$/,
    reason:
      'HTTP/1.0 is carried; a request without Host is one for an unknown host, and goes on with an empty one (RFC 9112 §3.2)',
    instead: { details: 'via_upstream', route: 'allow_any' },
    ignore: [...FOLLOWS, 'upstream'],
    also: (found) => found.upstream?.[0]?.protocol === 'HTTP/1.1' && found.upstream[0].authority === '',
  },
  {
    cases: /^cases\/match: h2 empty authority$/,
    fed: true,
    reason: 'a malformed request is a stream error of type PROTOCOL_ERROR (RFC 9113 §8.1.1)',
    instead: { clientError: 'RST_STREAM 1' },
  },
  {
    cases: /^cases\/inbound: http2 in$/,
    reason:
      'an explicit inbound listener speaks the version of the client to the application; what a Service says of the port is for captured traffic',
    instead: {},
    ignore: ['upstream'],
    also: (found) => found.upstream?.[0]?.protocol === 'HTTP/2' && found.upstream[0].path === '/ok',
  },
  {
    cases: /^cases\/inbound: http10 in$/,
    reason: 'HTTP/1.0 is served, as on all listeners',
    instead: {
      status: 200,
      flags: '-',
      details: 'via_upstream',
      cluster: 'inbound|9080||',
      route: 'default',
      upstreamHost: '127.0.1.1:9080',
      body: 'ok\n',
    },
    ignore: [...FOLLOWS, 'upstream'],
  },
  {
    cases: /^cases\/inbound: two hosts in$/,
    fed: true,
    reason: 'RFC 9112 §3.2: more than one Host is answered with 400',
    instead: REFUSED,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/inbound: bad path in$/,
    fed: true,
    reason: 'the access log has the Host that the refused request had',
    instead: {},
    ignore: ['log'],
    also: (found) => found.log?.authority === 'a' && found.log.logged === 400,
  },
  {
    cases: /^cases\/inbound: connect in$/,
    fed: true,
    reason: 'a CONNECT is routed before it is turned down, and the access log has where it would have gone',
    instead: { cluster: 'inbound|9080||', route: 'default' },
  },
  {
    cases: /^cases\/headers: chunked trailer$/,
    fed: true,
    reason: 'trailers are forwarded (RFC 9110 §6.5); Envoy drops them unless told otherwise',
    instead: {},
    ignore: ['upstream'],
    also: (found) => found.upstream?.[0]?.trailers?.['x-t'] === '1' && found.upstream[0].body === 'abc',
  },
  {
    cases: /^own\/faults-cors-mirrors: star preflight (without request headers|for DELETE)$/,
    reason: 'a list of allowed headers that would be empty is left out, which means the same (Fetch, CORS-preflight fetch)',
    instead: {},
    ownHeaders: (headers) => headers.filter(([name]) => name !== 'access-control-allow-headers'),
  },
  {
    cases: /^cases\/registry-only: unknown host HEAD$/,
    fed: true,
    reason: 'HEAD is answered with the header fields of GET (RFC 9110 §9.3.2), content-length among them',
    instead: {
      headers: [
        ['date', ''],
        ['server', 'envoy'],
        ['content-length', '0'],
      ],
    },
  },
  {
    cases: /^cases\/registry-only: http\/1\.0$/,
    reason: 'HTTP/1.0 is carried, not passed on as TCP',
    instead: {
      status: 200,
      flags: '-',
      details: 'via_upstream',
      cluster: 'outbound|9080||a.default.svc.cluster.local',
      route: 'default',
      upstreamHost: '127.0.2.1:9080',
      body: 'ok\n',
    },
    ignore: [...FOLLOWS, 'upstream'],
    also: (found) => found.upstream?.[0]?.protocol === 'HTTP/1.1' && found.upstream[0].authority === 'a',
  },
]

/** Objects that `check` judges otherwise than Istio's validator, as `Kind/name`. */
export const REFUSED_OTHERWISE: readonly { readonly object: string; readonly state: string; readonly reason: string }[] = [
  {
    object: 'VirtualService/unknown-field',
    state: 'refused',
    reason: 'a field that nobody knows is a slip of the pen; an API server would have dropped it without a word',
  },
  {
    object: 'DestinationRule/dr-two-hash',
    state: 'refused',
    reason: 'of two hash keys one would count; the schema of the API server refuses them, which Istio does not apply',
  },
]
