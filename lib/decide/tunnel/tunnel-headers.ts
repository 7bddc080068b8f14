// What a tunnel says of itself in its CONNECT, and what of that is read at the other end. Hints for telemetry: who may do what is
// decided by certificates alone.
import type { MeshService } from '../../state/mesh-service.ts'
import { addressText } from '../../state/network-address.ts'
import type { Workload } from '../../state/workload.ts'
import type { IpPort } from './outbound-decision.ts'

/** Bytes that a header may hold and that end nothing in a list (W3C Baggage §3.3.1.3, without `,`, `;`, `=` and `"`). */
const PLAIN = /^[!#$%&'()*+\-./0-9:<>?@A-Z[\]^_`a-z{|}~]+$/
/** `host` of a `forwarded` element (RFC 7239 §5.3), in quotes or bare. */
const HOST = /(?:^|[;,\s])host=(?:"([^"\\]*)"|([^;,\s"]+))/i

type BaggageSource = Pick<
  Workload,
  'clusterId' | 'namespace' | 'workloadType' | 'workloadName' | 'canonicalName' | 'canonicalRevision' | 'locality'
>

/** `baggage` (W3C) of a workload, with the keys of ztunnel; what is empty is left out. */
export function baggageOf(w: BaggageSource): string {
  const type = w.workloadType === '' ? 'pod' : w.workloadType
  const pairs: readonly (readonly [key: string, value: string])[] = [
    ['k8s.cluster.name', w.clusterId],
    ['k8s.namespace.name', w.namespace],
    [`k8s.${type}.name`, w.workloadName],
    ['service.name', w.canonicalName],
    ['service.version', w.canonicalRevision],
    ['cloud.region', w.locality.region],
    ['cloud.availability_zone', w.locality.zone],
  ]
  // A value that could not stand there is one that nobody set through Kubernetes.
  return pairs
    .filter(([key, value]) => PLAIN.test(key) && PLAIN.test(value))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}

/** `forwarded` (RFC 7239): the client, and the service that it addressed. */
export function forwardedOf(source: IpPort, service: MeshService | null): string {
  const host = service === null ? '' : `;host=${service.hostname}`
  return `for="${addressText(source.ip, source.port)}"${host}`
}

/** `host` of a `forwarded` header; empty: it does not say. */
export function forwardedHost(header: string): string {
  const found = HOST.exec(header)
  return (found?.[1] ?? found?.[2] ?? '').toLowerCase()
}
