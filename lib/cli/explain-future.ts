// Decides a request that nobody sends, on tables built as a worker builds them.

import type { JsonObject } from '../base/json-value.ts'
import { dialledEndpoint } from '../cluster/dialled-endpoint.ts'
import { BalancedCluster } from '../cluster/lb/balanced-cluster.ts'
import { Host } from '../cluster/lb/host.ts'
import { PickContext } from '../cluster/lb/picker.ts'
import { explainRequest } from '../decide/explain.ts'
import { authorizationOfFuture } from '../decide/explain-rbac-future.ts'
import type { Explanation } from '../decide/explanation.ts'
import { ResourceLoader } from '../resources/load.ts'
import { compileTables } from '../route/compile.ts'
import { normalizePathAs } from '../route/path.ts'
import type { HeaderView } from '../route/request-view.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { Cluster } from '../state/cluster.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { claimed } from './future-claims.ts'
import { takenBy } from './taken-by.ts'

export interface FutureRequest {
  readonly method: string
  readonly scheme: string
  readonly authority: string
  /** Path and query. */
  readonly target: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Of a valid token of the client; null: it has none. */
  readonly claims: JsonObject | null
  /** null: the first explicit listener for outbound HTTP, else what captures. */
  readonly listener: string | null
  readonly draw: number
}

export type FutureAnswer =
  | { readonly ok: true; readonly explanation: Explanation }
  | { readonly ok: false; readonly message: string }

export function explainFuture(bootstrap: BootstrapConfig, request: FutureRequest): FutureAnswer {
  const { snapshot, fatal } = new ResourceLoader(bootstrap).load()
  if (fatal !== null) return { ok: false, message: fatal }
  const taken = takenBy(snapshot, bootstrap, request.listener, request)
  if (!taken.ok) return taken
  const mark = request.target.indexOf('?')
  const path = normalizePathAs(bootstrap.mesh.pathNormalization, mark < 0 ? request.target : request.target.slice(0, mark))
  if (path === null) return { ok: false, message: `the path of ${request.target} cannot be normalised; the proxy answers 400` }
  // `-H 'host: x'` wins over the URL's, as with curl.
  const host = request.headers.findLast(([name]) => name.toLowerCase() === 'host')?.[1] ?? request.authority
  const { jwt } = taken
  if (request.claims !== null && jwt === null)
    return { ok: false, message: 'no RequestAuthentication holds where the request comes in: nobody looks at its token' }
  const known = request.claims === null || jwt === null ? null : claimed(jwt, request.claims, request.headers)
  const choosing = jwt?.choosesRoute === true ? known : null
  const others = (choosing?.headers ?? request.headers).filter(([name]) => name.toLowerCase() !== 'host')
  const headers = new ListedHeaders([['host', host], ...others])
  const pick = new PickContext()
  pick.draw = request.draw
  pick.draw2 = request.draw
  pick.originalDst = taken.originalDst
  const facts = {
    request: {
      method: request.method,
      path,
      query: mark < 0 ? null : request.target.slice(mark + 1),
      scheme: request.scheme,
      authority: host,
      headers,
      metadata: choosing?.metadata ?? null,
    },
    routeTable: taken.routeTable,
    draw: request.draw,
    pick,
    context: null,
    session: 'routes' as const,
    nowSeconds: 0,
  }
  const id = request.headers.find(([name]) => name.toLowerCase() === 'x-request-id')?.[1] ?? ''
  const explanation = explainRequest(compileTables(snapshot, clustersOf(snapshot)), facts, id)
  const { authorization, originalDst } = taken
  const told = authorizationOfFuture(explanation, authorization, facts.request, originalDst, known?.metadata ?? null)
  return { ok: true, explanation: told }
}

/** Live clusters of a worker that has just begun: all endpoints are well, and names are not resolved. */
function clustersOf(snapshot: Snapshot): ReadonlyMap<string, BalancedCluster> {
  let hosts = 0
  return new Map(
    snapshot.clusters.map((config, index): [string, BalancedCluster] => {
      const dialled = (address: string): Host | null => {
        const endpoint = dialledEndpoint(address, config)
        return endpoint === null ? null : new Host(-1, endpoint)
      }
      const cluster = new BalancedCluster(index, config, dialled)
      cluster.update(
        config,
        endpointsOf(config).map((endpoint) => new Host(hosts++, endpoint)),
        0,
      )
      return [config.name, cluster]
    }),
  )
}

function endpointsOf(cluster: Cluster): Cluster['endpoints'] {
  if (cluster.type !== 'DNS' || cluster.endpoints.length > 0) return cluster.endpoints
  return cluster.dnsNames.map(({ host, port, endpoint }) => ({ ...endpoint, address: host, port }))
}

class ListedHeaders implements HeaderView {
  readonly #list: readonly (readonly [name: string, value: string])[]

  constructor(list: readonly (readonly [name: string, value: string])[]) {
    this.#list = list.map(([name, value]) => [name.toLowerCase(), value])
  }

  get(name: string): string | null {
    return this.#list.find(([n]) => n === name)?.[1] ?? null
  }

  indexOf(name: string, from: number): number {
    return this.#list.findIndex(([n], index) => index >= from && n === name)
  }

  valueAt(index: number): string {
    return this.#list[index]?.[1] ?? ''
  }
}
