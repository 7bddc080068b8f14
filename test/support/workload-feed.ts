// What the tunnels of nodes are told, written by protobufjs into a fake control plane: workloads, services and policies as istiod sends them.
import { XDS } from '../../lib/xds/client/resource-types.ts'
import type { FakeControlPlane } from './fake-control-plane.ts'
import { istioProtos } from './istio-protos.ts'
import type { NodeMesh, Pod } from './node-mesh.ts'

type Message = Readonly<Record<string, unknown>>

export interface FedService {
  readonly name: string
  readonly vip: string
  /** Service port → target port. */
  readonly ports: Readonly<Record<number, number>>
  /** Address of its waypoint. */
  readonly waypoint?: string
  readonly more?: Message
}

export const hostOf = (service: string): string => `${service}.default.svc.cluster.local`
const ipBytes = (text: string): Buffer => Buffer.from(text.split('.').map(Number))
/** Of `head::tail`, each one word. */
function ip6Bytes(text: string): Buffer {
  const [head = '', tail = ''] = text.split('::')
  const bytes = Buffer.alloc(16)
  bytes.writeUInt16BE(Number.parseInt(head, 16), 0)
  bytes.writeUInt16BE(Number.parseInt(tail, 16), 14)
  return bytes
}

export const throughWaypoint = (ip: string): Message => ({ address: { address: ipBytes(ip) }, hbone_mtls_port: 15008 })

export class WorkloadFeed {
  private readonly mesh: NodeMesh
  private readonly plane: FakeControlPlane
  private readonly protos: ReturnType<typeof istioProtos>

  constructor(mesh: NodeMesh, plane: FakeControlPlane) {
    this.mesh = mesh
    this.plane = plane
    this.protos = istioProtos()
  }

  /** A pod that takes HBONE, an endpoint of these services. `more`: fields of its Workload. */
  workload(pod: Pod, services: readonly FedService[] = [], more: Message = {}): void {
    const uid = `Kubernetes//Pod/default/${pod.name}`
    const workload = {
      uid,
      name: pod.name,
      namespace: 'default',
      service_account: pod.identity.slice(pod.identity.lastIndexOf('/') + 1),
      addresses: [ipBytes(pod.ipv4), ip6Bytes(pod.ipv6)],
      tunnel_protocol: 1,
      canonical_name: pod.name,
      workload_name: pod.name,
      cluster_id: 'Kubernetes',
      // A ztunnel takes no other pods for its own than those of its node.
      node: this.mesh.nodeOf(pod.name),
      services: Object.fromEntries(services.map((s) => [`default/${hostOf(s.name)}`, { ports: portsOf(s) }])),
      ...more,
    }
    this.put(XDS.address, uid, { workload }, [`/${pod.ipv4}`, `/${pod.ipv6}`])
  }

  service(service: FedService): void {
    const { name, vip, waypoint, more = {} } = service
    const message = {
      name,
      namespace: 'default',
      hostname: hostOf(name),
      addresses: [{ address: ipBytes(vip) }],
      ports: portsOf(service),
      ...(waypoint === undefined ? {} : { waypoint: throughWaypoint(waypoint) }),
      ...more,
    }
    this.put(XDS.address, `default/${hostOf(name)}`, { service: message }, [`/${vip}`])
  }

  /** Of the namespace unless `more` says otherwise: `rules`, `action`, `scope`. */
  policy(name: string, more: Message): void {
    this.put(XDS.authorization, `default/${name}`, { name, namespace: 'default', scope: 1, ...more })
  }

  withoutPolicy(name: string): void {
    this.plane.remove(XDS.authorization, `default/${name}`)
  }

  put(typeUrl: string, name: string, message: Message, aliases: readonly string[] = []): void {
    const type = this.protos.lookupType(typeUrl.slice(typeUrl.indexOf('/') + 1))
    this.plane.put(typeUrl, name, type.encode(type.fromObject(message)).finish(), { aliases })
  }
}

function portsOf({ ports }: FedService): Message[] {
  return Object.entries(ports).map(([port, target]) => ({ service_port: Number(port), target_port: target }))
}
