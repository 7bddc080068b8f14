// Hot lane: which version of HTTP a request goes out as (Istio protocol selection; the cluster says what its endpoints speak).
import type { LiveCluster } from '../../cluster/live-cluster.ts'
import type { HttpStream } from './http-stream.ts'

/** An Upgrade exists in HTTP/1.1 only. */
export function goesAsHttp2(stream: HttpStream, cluster: LiveCluster): boolean {
  const { protocol } = cluster.balanced.config
  if (stream.upgrade !== '') return false
  return protocol === 'http2' || (protocol === 'client' && stream.session.protocol === 'HTTP/2')
}
