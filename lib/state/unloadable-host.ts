// A virtual host of which the main thread mostly needs no more than that it is there: once its routes are kept serialised somewhere it lets go of them, and reads
// them there for whoever asks. It is the same object all the time, and says the same.
import type { Origin } from './origin.ts'
import type { Route, VirtualHost } from './route.ts'

/** Where the routes of a virtual host are kept. */
export interface KeptRoutes {
  /** Made anew by each call. */
  readRoutes(): readonly Route[]
}

export class UnloadableHost implements VirtualHost {
  readonly name: string
  readonly domains: readonly string[]
  readonly origin: Origin
  private kept: readonly Route[] | KeptRoutes

  constructor({ name, domains, routes, origin }: VirtualHost) {
    this.name = name
    this.domains = domains
    this.origin = origin
    this.kept = routes
  }

  /** Those that are elsewhere are others for each who asks. */
  get routes(): readonly Route[] {
    return this.loadedRoutes ?? (this.kept as KeptRoutes).readRoutes()
  }

  /** null: they are elsewhere. */
  get loadedRoutes(): readonly Route[] | null {
    return Array.isArray(this.kept) ? (this.kept as readonly Route[]) : null
  }

  /** They are there from now on, or are moved there. */
  unload(to: KeptRoutes): void {
    this.kept = to
  }

  toJSON(): VirtualHost {
    return plainHost(this)
  }
}

/** null: they are kept elsewhere. */
export function loadedRoutes(host: VirtualHost): readonly Route[] | null {
  return host instanceof UnloadableHost ? host.loadedRoutes : host.routes
}

/** Plain data. */
export function plainHost({ name, domains, routes, origin }: VirtualHost): VirtualHost {
  return { name, domains, routes, origin }
}
