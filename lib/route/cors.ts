// Hot lane: whether a route's CORS policy lets an origin in. Compiled with the route; without a policy there is none of it.
import type { Cors } from '../state/route.ts'
import { CompiledString } from './conditions.ts'

export class CompiledCors {
  readonly config: Cors
  readonly origins: readonly CompiledString[]
  /** One of the matches takes a literal `*`: then any origin is let in (Envoy cors filter). */
  readonly anyOrigin: boolean

  constructor(config: Cors) {
    this.config = config
    this.origins = config.allowOrigins.map((o) => new CompiledString(o))
    this.anyOrigin = this.origins.some((o) => o.holds('*'))
  }

  allows(origin: string): boolean {
    if (this.anyOrigin) return true
    const { origins } = this
    for (let i = 0; i < origins.length; i++) if ((origins[i] as CompiledString).holds(origin)) return true
    return false
  }
}
