// Hot lane: CORS (Istio CorsPolicy, Fetch §3.2): preflights are answered here, and responses to requests of origins that are allowed get
// the headers that browsers ask for. Nothing is ever refused: what an origin may read is the browser's to enforce.
import * as S from '../../decide/steps.ts'
import { HeaderMap } from '../../http/header-map.ts'
import type { CompiledCors } from '../../route/cors.ts'
import { CONTINUE, STOP } from './chain.ts'
import type { HttpStream } from './http-stream.ts'
import { sendFilterReply } from './local-reply.ts'

export function beginCors(stream: HttpStream): number {
  const cors = stream.decision.weighted?.cors ?? null
  if (cors === null || !stream.manager.config.settings.cors) return CONTINUE
  const origin = joined(stream.headers, 'origin')
  if (origin === '') return CONTINUE
  const { manager } = stream
  const allowed = cors.allows(origin)
  if (allowed) stream.corsOrigin = origin
  manager.values[allowed ? manager.stats.corsOriginValid : manager.stats.corsOriginInvalid]!++
  const asked = stream.method === 'OPTIONS' ? joined(stream.headers, 'access-control-request-method') : ''
  const answered = asked !== '' && (allowed || !cors.config.forwardNotMatchingPreflights)
  manager.steps.addTo(
    stream.decision.steps,
    S.CORS,
    allowed ? 1 : 0,
    asked === '' ? 0 : answered ? S.CORS_ANSWERED : S.CORS_FORWARDED,
  )
  if (!answered) return CONTINUE
  answerPreflight(stream, cors, asked)
  return STOP
}

function answerPreflight(stream: HttpStream, cors: CompiledCors, method: string): void {
  const { config } = cors
  const headers = new HeaderMap()
  // A list is never enforced, it is what the browser is told (Fetch §3.2.5).
  const methods = config.allowMethods === '*' ? method : config.allowMethods
  if (methods !== '') headers.append('access-control-allow-methods', methods)
  const names = config.allowHeaders === '*' ? joined(stream.headers, 'access-control-request-headers') : config.allowHeaders
  if (names !== '') headers.append('access-control-allow-headers', names)
  if (config.maxAge !== '') headers.append('access-control-max-age', config.maxAge)
  // Also for an origin that is not allowed; one that is gets it from `addCorsHeaders`.
  if (config.allowCredentials && stream.corsOrigin === '') headers.append('access-control-allow-credentials', 'true')
  stream.responseCodeDetails = 'cors_response'
  sendFilterReply(stream, 200, headers)
}

/** To a response whose request's origin is allowed; what the upstream or an edit said of it is replaced. */
export function addCorsHeaders(stream: HttpStream, headers: HeaderMap): void {
  const cors = stream.decision.weighted?.cors ?? null
  if (cors === null) return
  headers.set('access-control-allow-origin', stream.corsOrigin)
  if (cors.config.allowCredentials) headers.set('access-control-allow-credentials', 'true')
  if (cors.config.exposeHeaders !== '') headers.set('access-control-expose-headers', cors.config.exposeHeaders)
}

/** RFC 9110 §5.2: values of one name, in their order. Two origins are none that a policy knows. */
function joined(headers: HeaderMap, name: string): string {
  let i = headers.indexOf(name, 0)
  if (i < 0) return ''
  let value = headers.valueAt(i)
  for (i = headers.indexOf(name, i + 1); i >= 0; i = headers.indexOf(name, i + 1)) value += `,${headers.valueAt(i)}`
  return value
}
