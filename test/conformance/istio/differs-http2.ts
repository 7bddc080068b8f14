// Where an answer over HTTP/2 is otherwise than the recorded one over HTTP/1.1. Unless the reason is a rule of HTTP/2 that Envoy does not
// apply, this is what Envoy answers over HTTP/2.
import type { Field } from './compare.ts'
import type { Difference } from './differs.ts'
import type { Outcome } from './recording.ts'

/** The stream is reset; nothing of it reaches an upstream. */
const RESET: Partial<Outcome> = {
  status: null,
  flags: 'DPE',
  details: 'http2.invalid.header.field',
  cluster: null,
  route: null,
  upstreamHost: null,
  body: '',
  clientError: 'closed',
  upstream: [],
}

const FOLLOWS: readonly Field[] = ['headers', 'log', 'location']

export const DIFFERS_HTTP2: readonly Difference[] = [
  {
    cases: /^cases\/match: scheme xfp https$/,
    reason: 'the request says its scheme itself, and x-forwarded-proto has no part in it',
    instead: {
      status: 200,
      flags: '-',
      details: 'via_upstream',
      cluster: 'outbound|9080||a.default.svc.cluster.local',
      route: 'scheme-http',
      upstreamHost: '127.64.2.1:9080',
      body: 'ok\n',
    },
    ignore: [...FOLLOWS, 'upstream'],
    also: (found) => (found.upstream?.[0]?.headers ?? []).some(([n, v]) => n === 'x-forwarded-proto' && v === 'https'),
  },
  {
    cases: /^cases\/rewrite: \/r3 xfp https$/,
    reason: 'the request says its scheme itself, and x-forwarded-proto has no part in it',
    instead: { location: 'http://other.host/r3/x' },
    ignore: ['headers'],
  },
  {
    cases: /^cases\/match: hd two cookies$/,
    reason: 'cookie fields are joined with `; ` on the way to HTTP/1.1 (RFC 9113 §8.2.3)',
    instead: {},
    ignore: ['upstream'],
    also: (found) => (found.upstream?.[0]?.headers ?? []).some(([n, v]) => n === 'cookie' && v === 'a=b; user=jason'),
  },
  {
    cases: /^cases\/headers: h4 template$/,
    reason: '%PROTOCOL% is that of the client',
    instead: {},
    ignore: ['upstream'],
    also: (found) => (found.upstream?.[0]?.headers ?? []).some(([n, v]) => n === 'x-proto' && v === 'HTTP/2'),
  },
  {
    cases: /^cases\/match: host user@a$/,
    reason: 'an authority has no user (RFC 9113 §8.3.1)',
    instead: RESET,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/match: host a,b$/,
    reason: 'an authority with a comma is two that somebody joined',
    instead: { ...RESET, status: 400 },
    ignore: [...FOLLOWS, 'clientError'],
  },
  {
    cases:
      /^cases\/match: (query \/q1\?k=v#f|norm \/norm\/b#f)$|^cases\/rewrite: \/r3 normalised$|^cases\/limits-and-paths: path \/rest\/a\?b#c\?d$/,
    reason: 'a path has no fragment (RFC 9113 §8.3.1); Envoy drops it',
    instead: RESET,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/headers: empty header name value spaces$/,
    reason: 'a field value neither begins nor ends with a blank (RFC 9113 §8.2.1); Envoy takes it',
    instead: RESET,
    ignore: FOLLOWS,
  },
]
