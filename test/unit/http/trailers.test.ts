import t from 'tap'
import { forwardedTrailers } from '../../../lib/http/trailers.ts'
import { mapOf } from './kit.ts'

t.test('what a trailer may not say (RFC 9110 §6.5.1)', async (t) => {
  const names =
    'Content-Length Transfer-Encoding Trailer TE Connection Keep-Alive Proxy-Connection Upgrade Host Authorization Proxy-Authorization ' +
    'WWW-Authenticate Proxy-Authenticate Cookie Set-Cookie Expect Max-Forwards Range If-Match If-None-Match If-Modified-Since ' +
    'If-Unmodified-Since If-Range Cache-Control Pragma Age Expires Location Retry-After Vary Content-Encoding Content-Type Content-Range ' +
    'X-Forwarded-For X-Forwarded-Client-Cert X-Envoy-Retry-On X-Request-Id Forwarded'
  for (const name of names.split(' ')) {
    t.equal(forwardedTrailers(mapOf(`${name}: 1\r\nkept: 2\r\n${name.toLowerCase()}: 3\r\n`)), 'kept: 2\r\n', name)
  }
})

t.test('what it may', async (t) => {
  for (const name of [
    'grpc-status',
    'grpc-message',
    'Grpc-Status-Details-Bin',
    'ETag',
    'Digest',
    'Server-Timing',
    'X-Checksum',
  ]) {
    t.equal(forwardedTrailers(mapOf(`${name}: 0\r\n`)), `${name}: 0\r\n`, name)
  }
})
