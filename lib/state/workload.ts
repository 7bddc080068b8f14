// What can send and receive in a mesh: a pod, a virtual machine, an address outside of it (istio.workload Workload).
import type { Locality } from './cluster.ts'
import type { GatewayAddress } from './network-address.ts'
import type { Origin } from './origin.ts'

/** From a port of a service to one of the workload. 0: the port has a name, and each endpoint says its own. */
export interface PortMapping {
  readonly servicePort: number
  readonly targetPort: number
}

/** The workload is an endpoint of a service. */
export interface ServiceMembership {
  /** `namespace/hostname`. */
  readonly service: string
  /** These go before the target ports of the service. */
  readonly ports: readonly PortMapping[]
}

/** How bytes are handed to a proxy that does not speak HBONE itself. */
export interface ApplicationTunnel {
  /** PROXY: with a PROXY protocol header of version 2. */
  readonly protocol: 'NONE' | 'PROXY'
  /** 0: the port that was asked for. */
  readonly port: number
}

export interface Workload {
  /** `<cluster>//Pod/<namespace>/<name>` for pods; unique. */
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly trustDomain: string
  readonly network: string
  /** IP addresses, canonical. Without any it is found by `hostname`, or through `networkGateway`. */
  readonly addresses: readonly string[]
  /** Resolved for each connection; empty: none. */
  readonly hostname: string
  /** What it takes on the wire. HBONE: its node, or it itself, ends tunnels for it. */
  readonly protocol: 'HBONE' | 'TCP'
  /** HOST_NETWORK: its address is its node's and says nothing about who it is. */
  readonly networkMode: 'STANDARD' | 'HOST_NETWORK'
  /** It ends tunnels itself. */
  readonly nativeTunnel: boolean
  readonly applicationTunnel: ApplicationTunnel | null
  /** What is addressed to this workload goes through it. */
  readonly waypoint: GatewayAddress | null
  /** Where other networks reach it. */
  readonly networkGateway: GatewayAddress | null
  readonly services: readonly ServiceMembership[]
  /** `namespace/name` of policies that were written for selected workloads, this one among them. */
  readonly authorizationPolicies: readonly string[]
  readonly healthy: boolean
  /** Weight among the endpoints of a service. */
  readonly capacity: number
  readonly node: string
  readonly clusterId: string
  readonly locality: Locality
  /** For telemetry. */
  readonly canonicalName: string
  readonly canonicalRevision: string
  readonly workloadName: string
  /** `pod`, `deployment`, `job`, `cronjob`; empty: unknown. */
  readonly workloadType: string
  readonly origin: Origin
}

/** How a workload is told by whoever starts it, before its addresses are known. */
export interface WorkloadInfo {
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
}

/** The SPIFFE id that it must have a certificate for. */
export function workloadIdentity(w: Pick<Workload, 'trustDomain' | 'namespace' | 'serviceAccount'>): string {
  return `spiffe://${w.trustDomain}/ns/${w.namespace}/sa/${w.serviceAccount}`
}

/** As ztunnel writes it in errors: `account.namespace (name)`. */
export function workloadInfoText(w: WorkloadInfo): string {
  return `${w.serviceAccount}.${w.namespace} (${w.name})`
}
