// Headers, trailers and codes of grpc/grpc doc/PROTOCOL-HTTP2.md, doc/statuscodes.md and doc/http-grpc-status-mapping.md.
import t from 'tap'
import { codeOfHttpStatus, codeOfReset, GRPC, GrpcError, http2CodeName } from '../../../lib/grpc/grpc-error.ts'
import type { Metadata } from '../../../lib/grpc/metadata.ts'
import { addMetadata, decodeMessage, statusOf, timeoutText } from '../../../lib/grpc/metadata.ts'

t.test('metadata becomes headers in lower case, bytes in base64 without padding', async (t) => {
  const headers: Record<string, string> = { te: 'trailers' }
  t.equal(addMetadata(headers, { ClusterID: 'Kubernetes', 'x-bin': Buffer.from([1]), authorization: 'Bearer a.b' }), null)
  t.same(headers, { te: 'trailers', clusterid: 'Kubernetes', 'x-bin': 'AQ', authorization: 'Bearer a.b' })
})

const UNFIT: readonly (readonly [string, Metadata])[] = [
  ['a name with a blank', { 'a b': 'x' }],
  ['a pseudo-header', { ':path': 'x' }],
  ['a name of gRPC itself', { 'grpc-timeout': '1S' }],
  ['a value with a newline', { authorization: 'Bearer secret\n' }],
  ['a value outside of ASCII', { authorization: 'secret \u00e9' }],
  ['bytes under a plain name', { authorization: Buffer.from('secret') }],
]

t.test('metadata that cannot be sent is refused, and its value not told', async (t) => {
  for (const [name, metadata] of UNFIT) {
    const error = addMetadata({}, metadata)
    t.ok(error instanceof GrpcError, name)
    t.notMatch(error?.message, /secret/, name)
  }
})

t.test('grpc-timeout has at most eight digits', async (t) => {
  const rows: readonly (readonly [number, string])[] = [
    [5000, '5000m'],
    [0.2, '1m'],
    [-3, '1m'],
    [99_999_999, '99999999m'],
    [100_000_000, '100000S'],
    [Number.MAX_SAFE_INTEGER, '99999999S'],
  ]
  for (const [ms, text] of rows) t.equal(timeoutText(ms), text)
})

t.test('grpc-message is percent-decoded, and never makes a second line', async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ['plain text', 'plain text'],
    ['caf%C3%A9', 'café'],
    ['100%', '100%'],
    ['%zz %4', '%zz %4'],
    ['%25', '%'],
    ['a%0Ab%00%1B[31m', 'a b [31m'],
    ['%E2%80%A8x', 'x'],
  ]
  for (const [text, decoded] of rows) t.equal(decodeMessage(text), decoded)
  t.equal(decodeMessage('x'.repeat(5000)).length, 1025)
})

t.test('a status of headers', async (t) => {
  t.equal(statusOf({ ':status': '200' }), undefined)
  t.same(statusOf({ 'grpc-status': '0' }), { code: 0, message: '' })
  t.same(statusOf({ 'grpc-status': '16', 'grpc-message': 'no%20token' }), { code: 16, message: 'no token' })
  t.match(statusOf({ 'grpc-status': '17' }), { code: GRPC.UNKNOWN, message: '(grpc-status 17)' })
  for (const bad of ['', '-1', 'OK', '1.5', ['0', '0']]) t.match(statusOf({ 'grpc-status': bad }), { code: GRPC.UNKNOWN })
})

t.test('resets and HTTP statuses have their codes', async (t) => {
  const resets: Readonly<Record<string, number>> = {
    NO_ERROR: GRPC.INTERNAL,
    PROTOCOL_ERROR: GRPC.INTERNAL,
    INTERNAL_ERROR: GRPC.INTERNAL,
    FLOW_CONTROL_ERROR: GRPC.INTERNAL,
    SETTINGS_TIMEOUT: GRPC.INTERNAL,
    STREAM_CLOSED: GRPC.UNKNOWN,
    FRAME_SIZE_ERROR: GRPC.INTERNAL,
    REFUSED_STREAM: GRPC.UNAVAILABLE,
    CANCEL: GRPC.CANCELLED,
    COMPRESSION_ERROR: GRPC.INTERNAL,
    CONNECT_ERROR: GRPC.INTERNAL,
    ENHANCE_YOUR_CALM: GRPC.RESOURCE_EXHAUSTED,
    INADEQUATE_SECURITY: GRPC.PERMISSION_DENIED,
    HTTP_1_1_REQUIRED: GRPC.UNKNOWN,
  }
  for (const [code, name] of Object.keys(resets).entries()) {
    t.equal(http2CodeName(code), name)
    t.equal(codeOfReset(code), resets[name], name)
  }
  t.equal(codeOfReset(0xabcd), GRPC.UNKNOWN)
  t.same([400, 401, 403, 404, 429, 500, 502, 503, 504, 302].map(codeOfHttpStatus), [13, 16, 7, 12, 14, 2, 14, 14, 14, 2])
})

t.test('an error says code and name', async (t) => {
  const error = new GrpcError(14, 'nobody there')
  t.match(error, { code: 14, name: 'UNAVAILABLE', message: 'nobody there', fromServer: false, refused: false })
  t.equal(String(error), 'UNAVAILABLE: nobody there')
})
