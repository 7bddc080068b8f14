// Hot lane: names the proxy reads have numeric ids, found from a few of their bytes, so that nothing is looked up by text.

export const H_OTHER = 0
export const H_HOST = 1
export const H_CONTENT_LENGTH = 2
export const H_TRANSFER_ENCODING = 3
export const H_CONNECTION = 4
export const H_KEEP_ALIVE = 5
export const H_PROXY_CONNECTION = 6
export const H_UPGRADE = 7
export const H_EXPECT = 8
export const H_TE = 9
export const H_X_REQUEST_ID = 10
export const H_X_FORWARDED_FOR = 11
export const H_X_FORWARDED_PROTO = 12
export const H_X_FORWARDED_CLIENT_CERT = 13
export const H_USER_AGENT = 14
export const H_CONTENT_TYPE = 15
export const H_DATE = 16
export const H_SERVER = 17
export const H_REFERER = 18
export const H_HTTP2_SETTINGS = 19
export const H_GRPC_TIMEOUT = 20
export const H_X_ENVOY_INTERNAL = 21
export const H_X_ENVOY_ATTEMPT_COUNT = 22
export const H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS = 23
export const H_X_ENVOY_UPSTREAM_SERVICE_TIME = 24
/** Removed from requests of untrusted clients (Envoy header sanitising), whichever it is. */
export const H_X_ENVOY_STRIPPED = 25
export const H_X_ENVOY_ORIGINAL_PATH = 26
export const H_X_ENVOY_ORIGINAL_HOST = 27
export const H_X_ENVOY_RATELIMITED = 28
export const H_GRPC_STATUS = 29
export const H_X_ENVOY_PEER_METADATA = 30
export const H_X_ENVOY_PEER_METADATA_ID = 31
export const H_COUNT = 32

const NAMES: readonly (readonly [string, number])[] = [
  ['host', H_HOST],
  ['content-length', H_CONTENT_LENGTH],
  ['transfer-encoding', H_TRANSFER_ENCODING],
  ['connection', H_CONNECTION],
  ['keep-alive', H_KEEP_ALIVE],
  ['proxy-connection', H_PROXY_CONNECTION],
  ['upgrade', H_UPGRADE],
  ['expect', H_EXPECT],
  ['te', H_TE],
  ['x-request-id', H_X_REQUEST_ID],
  ['x-forwarded-for', H_X_FORWARDED_FOR],
  ['x-forwarded-proto', H_X_FORWARDED_PROTO],
  ['x-forwarded-client-cert', H_X_FORWARDED_CLIENT_CERT],
  ['user-agent', H_USER_AGENT],
  ['content-type', H_CONTENT_TYPE],
  ['date', H_DATE],
  ['server', H_SERVER],
  ['referer', H_REFERER],
  ['http2-settings', H_HTTP2_SETTINGS],
  ['grpc-timeout', H_GRPC_TIMEOUT],
  ['x-envoy-internal', H_X_ENVOY_INTERNAL],
  ['x-envoy-attempt-count', H_X_ENVOY_ATTEMPT_COUNT],
  ['x-envoy-expected-rq-timeout-ms', H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS],
  ['x-envoy-upstream-service-time', H_X_ENVOY_UPSTREAM_SERVICE_TIME],
  ['x-envoy-retriable-status-codes', H_X_ENVOY_STRIPPED],
  ['x-envoy-retriable-header-names', H_X_ENVOY_STRIPPED],
  ['x-envoy-retry-on', H_X_ENVOY_STRIPPED],
  ['x-envoy-retry-grpc-on', H_X_ENVOY_STRIPPED],
  ['x-envoy-max-retries', H_X_ENVOY_STRIPPED],
  ['x-envoy-upstream-alt-stat-name', H_X_ENVOY_STRIPPED],
  ['x-envoy-upstream-rq-timeout-ms', H_X_ENVOY_STRIPPED],
  ['x-envoy-upstream-rq-per-try-timeout-ms', H_X_ENVOY_STRIPPED],
  ['x-envoy-upstream-rq-timeout-alt-response', H_X_ENVOY_STRIPPED],
  ['x-envoy-force-trace', H_X_ENVOY_STRIPPED],
  ['x-envoy-ip-tags', H_X_ENVOY_STRIPPED],
  ['x-envoy-original-url', H_X_ENVOY_STRIPPED],
  ['x-envoy-hedge-on-per-try-timeout', H_X_ENVOY_STRIPPED],
  ['x-envoy-original-path', H_X_ENVOY_ORIGINAL_PATH],
  ['x-envoy-original-host', H_X_ENVOY_ORIGINAL_HOST],
  ['x-envoy-ratelimited', H_X_ENVOY_RATELIMITED],
  ['grpc-status', H_GRPC_STATUS],
  ['x-envoy-peer-metadata', H_X_ENVOY_PEER_METADATA],
  ['x-envoy-peer-metadata-id', H_X_ENVOY_PEER_METADATA_ID],
]

/** Id by lower-case name, for code that has a text. */
const byName = new Map<string, number>(NAMES)

/** 0 when the name has no id. Headers of the group H_X_ENVOY_STRIPPED share one and must be told apart by text. */
export function knownId(lowerCaseName: string): number {
  const id = byName.get(lowerCaseName)
  return id === undefined || id === H_X_ENVOY_STRIPPED ? H_OTHER : id
}

const BUCKETS = 512

/** Where a name is looked for first. Length and two letters tell ours apart nearly always, and cost nothing for each byte of a name. */
function bucketOf(length: number, first: number, last: number): number {
  return (length * 67 + (first | 0x20) * 31 + (last | 0x20)) & (BUCKETS - 1)
}

const bucketName: string[] = new Array<string>(BUCKETS).fill('')
const bucketId = new Uint8Array(BUCKETS)
for (const [name, id] of NAMES) {
  let at = bucketOf(name.length, name.charCodeAt(0), name.charCodeAt(name.length - 1))
  while (bucketId[at] !== 0) at = (at + 1) & (BUCKETS - 1)
  bucketName[at] = name
  bucketId[at] = id
}

/** Id of the name in `bytes[start, end)`, which is not empty. */
export function idOfBytes(bytes: Uint8Array, start: number, end: number): number {
  let at = bucketOf(end - start, bytes[start] as number, bytes[end - 1] as number)
  for (;;) {
    const id = bucketId[at] as number
    if (id === 0) return H_OTHER
    const name = bucketName[at] as string
    if (name.length === end - start && sameName(bytes, start, name)) return id
    at = (at + 1) & (BUCKETS - 1)
  }
}

function sameName(bytes: Uint8Array, start: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const b = bytes[start + i] as number
    // Folding by |0x20 is right for letters; a token byte that it would confuse (`^` `~`, `@` …) never equals one of our names' bytes.
    if ((b >= 0x41 && b <= 0x5a ? b | 0x20 : b) !== name.charCodeAt(i)) return false
  }
  return true
}
