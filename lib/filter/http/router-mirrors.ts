// Hot lane: runs for routes that mirror: each policy draws by itself and sends its copy before the first attempt (Envoy shadowing).
import type { LiveHost } from '../../cluster/live-host.ts'
import * as S from '../../decide/steps.ts'
import { REQUESTS } from '../../pool/limiter.ts'
import type { CompiledMirror, CompiledRoute } from '../../route/compiled-route.ts'
import { Shadow } from '../../upstream/shadow.ts'
import type { HttpStream } from './http-stream.ts'
import { requestHead } from './request-headers.ts'
import { shadowHeadersOf } from './shadow-headers.ts'
import { toldClient } from './told-client.ts'
import { goesAsHttp2 } from './upstream-version.ts'

/** The copies that are under way; null for none. Their headers are those of the request after all edits. */
export function startMirrors(stream: HttpStream, route: CompiledRoute, target: string, timeoutMs: number): Shadow[] | null {
  if (stream.method === 'CONNECT' || stream.upgrade !== '') return null
  const { manager } = stream
  let shadows: Shadow[] | null = null
  for (const [i, mirror] of route.mirrors.entries()) {
    const shadow = manager.rng.percent(mirror.config.percent)
      ? startMirror(stream, mirror, target, timeoutMs)
      : S.MIRROR_NOT_DRAWN
    const sent = typeof shadow !== 'number'
    manager.steps.addTo(stream.decision.steps, S.MIRROR, i, sent ? S.MIRROR_SENT : shadow)
    if (!sent) continue
    shadows ??= []
    shadows.push(shadow)
  }
  return shadows
}

/** The copy, or why there is none: MIRROR_… of decide/steps.ts. */
function startMirror(stream: HttpStream, mirror: CompiledMirror, target: string, timeoutMs: number): Shadow | number {
  const { manager, session } = stream
  const { mirrors, worker } = manager.parts
  const cluster = mirror.target.live()
  if (cluster === null) {
    worker.mirrorDropped('no_cluster')
    return S.MIRROR_NO_CLUSTER
  }
  // First the context: making it may publish another picker.
  const context = manager.pickContext(stream, null)
  const host = cluster.picker.pick(context) as LiveHost | null
  if (host === null) {
    worker.mirrorDropped('no_endpoint')
    return S.MIRROR_NO_ENDPOINT
  }
  if (!mirrors.take(REQUESTS)) {
    worker.mirrorDropped('max_requests')
    return S.MIRROR_LIMIT
  }
  const head = requestHead(stream, target, shadowHeadersOf(stream, manager.hostSuffix))
  const live = manager.clusters.liveOf(cluster)
  const shadow = new Shadow(manager.parts, live, host, head, goesAsHttp2(stream, live), timeoutMs, toldClient(live, stream))
  shadow.start(session.hasBody, manager.limits.bufferBytes)
  return shadow
}
