// Which versions of HTTP a run of a behaviour test speaks. Such a test is HTTP/1.1 on both sides by itself; a file in integration/over-http2/ sets the
// variables and runs it anew.

export type Version = 'http1' | 'http2'

const version = (name: string): Version => (process.env[name] === 'http2' ? 'http2' : 'http1')

/** What clients of `connectAny` and `Load` speak. */
export const DOWNSTREAM = version('HEDDLE_TEST_DOWNSTREAM')

/** What `service` declares, and so what is spoken to `Upstream` and `EchoUpstream`, which understand both. */
export const UPSTREAM = version('HEDDLE_TEST_UPSTREAM')

/** `skip` of tests that are about bytes or connections of an HTTP/1 client. */
export const HTTP1_ONLY = DOWNSTREAM === 'http2' ? 'about clients of HTTP/1' : false

/** `skip` of tests that are about bytes or connections of an HTTP/1 upstream. */
export const HTTP1_UPSTREAM_ONLY = UPSTREAM === 'http2' ? 'about upstreams of HTTP/1' : false

/** `skip` of tests that are about HTTP/1 on both sides. */
export const HTTP1_BOTH = DOWNSTREAM === 'http2' || UPSTREAM === 'http2' ? 'about HTTP/1 from end to end' : false

/** `skip` of tests for which once is enough. */
export const ONCE = DOWNSTREAM === 'http2' || UPSTREAM === 'http2' ? 'has nothing to do with the version' : false

/** Of an answer of ours without a body: HTTP/2 says with the head that nothing follows. */
export const EMPTY_LENGTH = DOWNSTREAM === 'http2' ? undefined : '0'

/** As the access log says it. */
export const PROTOCOL = DOWNSTREAM === 'http2' ? 'HTTP/2' : 'HTTP/1.1'

/** Names of fields as they arrive on the other side: HTTP/2 has no upper case (RFC 9113 §8.2). */
export function spelt<T>(pairs: readonly (readonly [name: string, value: T])[]): (readonly [string, T])[] {
  return pairs.map(([name, value]) => [HTTP1_BOTH === false ? name : name.toLowerCase(), value])
}
