// Hot lane: the header section of a mirrored copy (Istio mirror).
import type { HttpStream } from './http-stream.ts'

/** As the original's after all edits, with the Host's suffix, `x-envoy-internal` and our own address in x-forwarded-for. */
export function shadowFieldsOf(stream: HttpStream, hostSuffix: string): string {
  const { headers } = stream
  let out = ''
  let forwarded = ''
  let host = ''
  for (let i = 0; i < headers.size; i++) {
    if (headers.isRemoved(i)) continue
    const name = headers.nameAt(i)
    const lower = name.toLowerCase()
    if (lower === 'x-forwarded-for') forwarded = forwarded === '' ? headers.valueAt(i) : `${forwarded}, ${headers.valueAt(i)}`
    else if (lower === 'host') host = headers.valueAt(i)
    else out += `${name}: ${headers.valueAt(i)}\r\n`
  }
  const own = addressOf(stream.session.connection.localAddress)
  const attempt = stream.outbound ? 'x-envoy-attempt-count: 1\r\n' : ''
  return (
    `host: ${withSuffix(host, hostSuffix)}\r\n${out}${attempt}x-envoy-internal: true\r\n` +
    `x-forwarded-for: ${forwarded === '' ? own : `${forwarded},${own}`}\r\n`
  )
}

/** `host:port` becomes `host-shadow:port`. */
function withSuffix(host: string, suffix: string): string {
  if (suffix === '') return host
  const colon = host.lastIndexOf(':')
  return colon > host.lastIndexOf(']') ? `${host.slice(0, colon)}${suffix}${host.slice(colon)}` : `${host}${suffix}`
}

function addressOf(addressAndPort: string): string {
  return addressAndPort.slice(0, addressAndPort.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}
