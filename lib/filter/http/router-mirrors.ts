// Hot lane: runs for routes that mirror: each policy draws by itself and sends its copy before the first attempt (Envoy shadowing).
import type { LiveHost } from '../../cluster/live-cluster.ts'
import { RequestHead } from '../../http/request-head.ts'
import type { CompiledRoute } from '../../route/compiled-route.ts'
import { Shadow } from '../../upstream/shadow.ts'
import type { HttpStream } from './http-stream.ts'
import { shadowHeadersOf } from './shadow-headers.ts'

/** The copies that are under way; null for none. Their headers are those of the request after all edits. */
export function startMirrors(stream: HttpStream, route: CompiledRoute, target: string, timeoutMs: number): Shadow[] | null {
  if (stream.method === 'CONNECT' || stream.upgrade !== '') return null
  const { manager, session } = stream
  const { hasBody, bodyLength } = session
  let shadows: Shadow[] | null = null
  for (const { cluster, config } of route.mirrors) {
    if (cluster === null || !manager.rng.percent(config.percent)) continue
    // First the context: making it may publish another picker.
    const context = manager.pickContext(null)
    const host = cluster.picker.pick(context) as LiveHost | null
    if (host === null) continue
    const head = new RequestHead(stream.method, target, shadowHeadersOf(stream, manager.hostSuffix), bodyLength < 0)
    const live = manager.clusters.liveOf(cluster)
    const shadow = new Shadow(manager.io, live, host, head, timeoutMs)
    shadow.start(hasBody, manager.limits.bufferBytes)
    shadows ??= []
    shadows.push(shadow)
  }
  return shadows
}
