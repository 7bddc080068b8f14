// Hot lane: of whom the endpoints of a cluster are told, where they are.
import type { LiveCluster } from '../../cluster/live-cluster.ts'
import type { ToldClient } from '../../pool/proxy-header.ts'
import type { HttpStream } from './http-stream.ts'

/** null: they are not. As Envoy has it: the other end of the connection, whatever x-forwarded-for says. */
export function toldClient({ balanced }: LiveCluster, stream: HttpStream): ToldClient | null {
  if (balanced.config.proxyProtocol === 'none') return null
  return { source: stream.session.connection.peerAddress, destination: stream.downstreamLocalAddress }
}
