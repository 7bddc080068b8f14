// Hot lane: which version of HTTP a request goes out as (Istio protocol selection; the cluster says what its endpoints speak).
import type { LiveCluster } from '../../cluster/live-cluster.ts'
import type { HttpStream } from './http-stream.ts'

export function goesAsHttp2(stream: HttpStream, cluster: LiveCluster): boolean {
  const { protocol } = cluster.balanced.config
  return protocol === 'http2' || (protocol === 'client' && stream.session.protocol === 'HTTP/2')
}

/**
 * HTTP/2 can ask for another protocol in the place of a GET only (RFC 8441 §5), and what follows is not a body. Any other request is carried as if it
 * had not asked: an Upgrade may always be ignored (RFC 9110 §7.8).
 */
export function upgradesOverHttp2(stream: HttpStream): boolean {
  return stream.method === 'GET' && !stream.session.hasBody
}
