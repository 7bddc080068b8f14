// Hot lane: the HTTP filters in their order (Istio filter order). A filter that has nothing to do for a route costs one comparison; the
// router is always last.
import { beginCors } from './cors.ts'
import { beginFault } from './fault.ts'
import { beginGrpcWeb } from './grpc-web.ts'
import type { HttpStream } from './http-stream.ts'
import { beginJwt } from './jwt.ts'
import { beginAuthorization } from './rbac.ts'

/** What a filter says of a request. */
export const CONTINUE = 0
/** It has answered, or will call `runFilters` with the index behind its own. */
export const STOP = 1

export interface HttpFilter {
  onRequest(stream: HttpStream): number
}

/** A filter that holds a request, and has to let go of it when it ends. */
export interface Holder {
  letGo(): void
}

/** What finds out who asks has to stand before authorization, and before all others where it has the route chosen. */
const FILTERS: readonly HttpFilter[] = [
  { onRequest: beginJwt },
  { onRequest: beginAuthorization },
  { onRequest: beginGrpcWeb },
  { onRequest: beginFault },
  { onRequest: beginCors },
]

/** Runs the chain from a filter on. */
export function runFilters(stream: HttpStream, from: number): void {
  for (let i = from; i < FILTERS.length; i++) {
    stream.filterIndex = i
    if ((FILTERS[i] as HttpFilter).onRequest(stream) === STOP) return
  }
  stream.route()
}
