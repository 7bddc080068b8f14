// A service and what the tunnel asks of it. Its endpoints come and go while it stays the same: they are put together when somebody asks for them next.
import type { MeshService } from '../../state/mesh-service.ts'
import type { PortMapping, Workload } from '../../state/workload.ts'
import type { EndpointPicker } from './load-balance.ts'

export interface MeshEndpoint {
  readonly workload: Workload
  /** Service port → port of the workload; these go before the service's own. */
  readonly ports: ReadonlyMap<number, number>
  readonly healthy: boolean
}

export class IndexedService {
  readonly service: MeshService
  /** Service port → target port; 0: each endpoint has its own. */
  readonly ports: ReadonlyMap<number, number>
  readonly #members: ReadonlyMap<string, MeshEndpoint>
  readonly #workloads: ReadonlyMap<string, Workload>
  #endpoints: readonly MeshEndpoint[] | null
  #pickers: WeakMap<Workload, Map<string, EndpointPicker>>

  /** `members`: workloads that say that they are endpoints of it, by uid; `workloads`: all, by uid. Both are the index's, which changes them. */
  constructor(service: MeshService, members: ReadonlyMap<string, MeshEndpoint>, workloads: ReadonlyMap<string, Workload>) {
    this.service = service
    this.ports = portMap(service.ports)
    this.#members = members
    this.#workloads = workloads
    this.#endpoints = null
    this.#pickers = new WeakMap()
  }

  /** Healthy or not. */
  get endpoints(): readonly MeshEndpoint[] {
    this.#endpoints ??= this.#collect()
    return this.#endpoints
  }

  /** By client, then by what it asks for; filled by `pickerOf`. */
  get pickers(): WeakMap<Workload, Map<string, EndpointPicker>> {
    return this.#pickers
  }

  /** One of its endpoints has come, gone or become another. */
  changed(): void {
    if (this.#endpoints === null) return
    this.#endpoints = null
    this.#pickers = new WeakMap()
  }

  #collect(): readonly MeshEndpoint[] {
    const members = [...this.#members.values()]
    const { endpoints } = this.service
    if (endpoints.length === 0) return members
    const listed = endpoints.flatMap(({ workloadUid, ports, healthy }): MeshEndpoint[] => {
      const workload = this.#workloads.get(workloadUid)
      // What a workload says of itself counts, whatever the service says of it.
      return workload === undefined || this.#members.has(workloadUid) ? [] : [{ workload, ports: portMap(ports), healthy }]
    })
    return [...listed, ...members]
  }
}

export function portMap(ports: readonly PortMapping[]): ReadonlyMap<number, number> {
  return new Map(ports.map(({ servicePort, targetPort }) => [servicePort, targetPort]))
}
