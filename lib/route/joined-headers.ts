// Header fields of which a request has one: where it has more, their values are matched as one text with commas between them (RFC 9110 section 5.3), as Envoy
// does, which joins them when it reads them. Any other field's values are matched each by itself.

/** Lower case. Envoy's inline request headers; those that never reach a match are left out. */
const JOINED: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'access-control-request-headers',
  'access-control-request-method',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-type',
  'expect',
  'grpc-accept-encoding',
  'grpc-timeout',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'origin',
  'pragma',
  'referer',
  'user-agent',
  'via',
  'x-client-trace-id',
  'x-envoy-decorator-operation',
  'x-envoy-original-path',
  'x-forwarded-client-cert',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-request-id',
])

export function isJoined(name: string): boolean {
  return JOINED.has(name)
}
