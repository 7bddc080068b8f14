// Hot lane: the header section of a mirrored copy (Istio mirror).
import { HeaderMap } from '../../http/header-map.ts'
import type { HttpStream } from './http-stream.ts'

/** As the original's after all edits, with the Host's suffix, `x-envoy-internal` and our own address in x-forwarded-for. */
export function shadowHeadersOf(stream: HttpStream, hostSuffix: string): HeaderMap {
  const { headers } = stream
  const copy = new HeaderMap()
  let forwarded = ''
  for (let i = 0; i < headers.size; i++) {
    if (headers.isRemoved(i)) continue
    const name = headers.nameAt(i)
    const lower = name.toLowerCase()
    const value = headers.valueAt(i)
    if (lower === 'x-forwarded-for') forwarded = forwarded === '' ? value : `${forwarded}, ${value}`
    else copy.add(name, lower === 'host' ? withSuffix(value, hostSuffix) : value)
  }
  const own = addressOf(stream.session.connection.localAddress)
  const action = stream.decision.route?.action
  const counts = action?.kind === 'forward' ? action.countsAttempts : null
  if (counts ?? stream.outbound) copy.append('x-envoy-attempt-count', '1')
  copy.append('x-envoy-internal', 'true')
  copy.append('x-forwarded-for', forwarded === '' ? own : `${forwarded},${own}`)
  return copy
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
