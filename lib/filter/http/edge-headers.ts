// Hot lane: once for each request that comes from outside of the mesh: what it says of itself is replaced by what its connection says (Envoy
// use_remote_address, edge requests).
import { canonicalIp } from '../../base/ip-address.ts'
import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'
import type { EdgeSettings } from '../../state/listener.ts'
import type { HttpStream } from './http-stream.ts'

/** The peer is appended to x-forwarded-for, and what only the mesh may say is taken away. */
export function takeFromOutside(stream: HttpStream, headers: HeaderMap, { trustedProxies, keepsRequestIds }: EdgeSettings): void {
  const peer = addressOf(stream.session.connection.peerAddress)
  const said = joined(headers)
  const client = trustedProxies === 0 ? peer : believed(said, trustedProxies, peer)
  headers.removeKnown(H.H_X_FORWARDED_FOR)
  headers.append('x-forwarded-for', said === '' ? peer : `${said},${peer}`)
  // A proxy that is believed has said by which scheme it was asked.
  if (trustedProxies === 0) headers.removeKnown(H.H_X_FORWARDED_PROTO)
  else stream.clientAddress = client === peer ? '' : client
  headers.remove('x-envoy-external-address')
  headers.append('x-envoy-external-address', client)
  headers.remove('x-envoy-decorator-operation')
  headers.remove('x-envoy-downstream-service-cluster')
  headers.remove('x-envoy-downstream-service-node')
  headers.removeKnown(H.H_X_ENVOY_PEER_METADATA)
  headers.removeKnown(H.H_X_ENVOY_PEER_METADATA_ID)
  if (!keepsRequestIds) headers.removeKnown(H.H_X_REQUEST_ID)
}

/** All lines as one list. */
function joined(headers: HeaderMap): string {
  const first = headers.firstKnown(H.H_X_FORWARDED_FOR)
  if (first < 0) return ''
  let all = headers.valueAt(first)
  for (let i = headers.nextKnown(H.H_X_FORWARDED_FOR, first); i >= 0; i = headers.nextKnown(H.H_X_FORWARDED_FOR, i))
    all += `,${headers.valueAt(i)}`
  return all
}

/** The entry that the outermost of the believed proxies has written: the nth from the right. What is no address, or not there, leaves the peer. */
function believed(list: string, nth: number, peer: string): string {
  let end = list.length
  for (let left = nth; left > 1; left--) {
    end = list.lastIndexOf(',', end - 1)
    if (end < 0) return peer
  }
  const entry = list.slice(list.lastIndexOf(',', end - 1) + 1, end).trim()
  return canonicalIp(entry) ?? peer
}

/** Without the port and brackets; an IPv4 client of an IPv6 socket has an IPv4 address. */
function addressOf(peer: string): string {
  const host = peer.slice(0, peer.lastIndexOf(':'))
  const bare = host.charCodeAt(0) === 0x5b ? host.slice(1, -1) : host
  return bare.startsWith('::ffff:') && bare.includes('.') ? bare.slice(7) : bare
}
