// Where heddle answers otherwise than Envoy did, on purpose. Each entry says for which recorded cases (`folder: name`), why, and
// what heddle answers instead; the fields it does not mention must be as recorded. An entry that no longer differs fails.
import type { Field } from './compare.ts'
import type { Outcome } from './recording.ts'

export interface Difference {
  readonly cases: RegExp
  readonly reason: string
  /** Ours, in place of what was recorded. */
  readonly instead: Partial<Outcome>
  /** Fields that follow from the difference and are not compared. */
  readonly ignore?: readonly Field[]
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
const FOLLOWS_BODY: readonly Field[] = [...FOLLOWS, 'body']

export const DIFFERS: readonly Difference[] = [
  {
    cases: /^cases\/headers: (obs-fold|bare LF)$/,
    reason: 'RFC 9112 §2.2 and §5.2 read strictly: what peers understand in two ways is refused',
    instead: REFUSED,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/match: two hosts$/,
    reason: 'RFC 9112 §3.2: more than one Host is answered with 400',
    instead: REFUSED,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/match: (path no slash|lower case version)$|^cases\/limits-and-paths: path \/rest\/(é| x)$/,
    reason: 'an explicit HTTP listener answers bytes that are not HTTP/1 with 400; it does not pass them on as TCP',
    instead: REFUSED,
    ignore: FOLLOWS,
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
  },
  {
    cases: /: (scheme h2 https|hd two cookies h2|h2 empty authority|two values v3 h2|over HTTP\/2)$/,
    reason: 'HTTP/2 is not carried yet; its preface is answered as what it is to an HTTP/1 server, a bad request',
    instead: REFUSED,
    ignore: FOLLOWS,
  },
  {
    cases: /^cases\/limits-and-paths: h2 upgrade upstream$/,
    reason: 'HTTP/2 to upstreams is not carried yet: h2UpgradePolicy has no effect, requests go as HTTP/1.1',
    instead: {},
    ignore: ['upstream'],
  },
  {
    cases: /^examples\/resilience: (v2 fails: ejected after three|only v1 is left)$/,
    reason: 'outlier detection is not there yet',
    instead: {},
    ignore: FOLLOWS_BODY,
  },
]

/** Objects that `check` judges otherwise than Istio's validator, as `Kind/name`. */
export const REFUSED_OTHERWISE: readonly { readonly object: string; readonly state: string; readonly reason: string }[] = [
  {
    object: 'VirtualService/unknown-field',
    state: 'refused',
    reason: 'a field that nobody knows is a slip of the pen; an API server would have dropped it without a word',
  },
]
