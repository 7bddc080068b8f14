// Hot lane: proxies of the mesh tell each other by headers who they are, for the labels of metrics (Istio peer metadata exchange, istio.metadata_exchange of HTTP).
// An application neither sees these headers nor is believed them: only who has proved its identity is.
import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'
import type { PeerSettings } from '../../state/listener.ts'
import type { TlsFacts } from '../../transport/tls-facts.ts'
import type { HttpStream } from './http-stream.ts'

const METADATA = 'x-envoy-peer-metadata'
const ID = 'x-envoy-peer-metadata-id'

/** What the client says of itself is taken out of its request. */
export function takeClient(stream: HttpStream, headers: HeaderMap): void {
  const metadata = headers.known(H.H_X_ENVOY_PEER_METADATA, METADATA)
  const id = headers.known(H.H_X_ENVOY_PEER_METADATA_ID, ID)
  if (metadata === null && id === null) return
  stream.clientAsks = true
  take(stream, headers, stream.session.connection.tls, id ?? '', metadata ?? '')
}

/** Who we are, for the proxy in front of the endpoint. */
export function tellUpstream(stream: HttpStream, headers: HeaderMap, { upstreams }: PeerSettings): void {
  const { cluster } = stream.decision
  const { self } = stream.manager.parts
  if (cluster === null || self.peerId === '' || upstreams === 'never') return
  const { peers } = cluster.config
  if (peers === 'never' || (upstreams === 'mesh' && peers === 'outside')) return
  headers.set(ID, self.peerId)
  headers.set(METADATA, self.peerMetadata)
}

/** What the endpoint's proxy says of itself is taken out of its answer. */
export function takeUpstream(stream: HttpStream, headers: HeaderMap): void {
  const metadata = headers.known(H.H_X_ENVOY_PEER_METADATA, METADATA)
  const id = headers.known(H.H_X_ENVOY_PEER_METADATA_ID, ID)
  if (metadata !== null || id !== null) take(stream, headers, stream.upstreamTls, id ?? '', metadata ?? '')
}

/** Who has said who it is is told who we are. */
export function answerClient(stream: HttpStream, headers: HeaderMap): void {
  const { self } = stream.manager.parts
  if (!stream.clientAsks || self.peerId === '') return
  headers.set(ID, self.peerId)
  headers.set(METADATA, self.peerMetadata)
}

function take(stream: HttpStream, headers: HeaderMap, tls: TlsFacts | null, id: string, metadata: string): void {
  headers.remove(METADATA)
  headers.remove(ID)
  if (metadata !== '' && tls !== null && tls.peerIdentity !== '')
    stream.peer = stream.manager.parts.metrics.peers.read(id, metadata)
}
