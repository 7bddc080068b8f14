// `/config_use`: what of the configuration requests have needed so far, all workers together, and what it takes.
import type { Cluster } from '../state/cluster.ts'
import type { RouteTable, VirtualHost } from '../state/route.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { ConfigUseView } from './admin-source.ts'

/** A host that requests went to. */
export interface UsedHost {
  /** Of the service; empty: nobody has said. */
  readonly namespace: string
  readonly host: string
}

/** Bytes of one kind. */
export interface KindUse {
  readonly kind: 'clusters' | 'endpoints' | 'listeners' | 'routes' | 'secrets' | 'virtualHosts' | 'extensions'
  readonly count: number
  readonly bytes: number
}

export interface ConfigUsePage {
  /** As the control plane sent it, of what was accepted; empty: configuration is of files. */
  readonly sent: readonly KindUse[]
  /** In memory that all workers share: clusters with their endpoints, and virtual hosts. `arenas` is all of it, with what is not in use. */
  readonly shared: ConfigUseView['bytes']
  /** JavaScript heap of each worker. */
  readonly workerHeapBytes: readonly number[]
  readonly clusters: { readonly configured: number; readonly used: readonly string[] }
  readonly virtualHosts: {
    readonly configured: number
    readonly used: readonly { readonly table: string; readonly name: string }[]
  }
  /** Of outbound traffic: services, and what only routes know. Sorted. */
  readonly hosts: { readonly configured: number; readonly used: readonly UsedHost[] }
}

export function configUsePage(use: ConfigUseView, snapshot: Snapshot | null): ConfigUsePage {
  const { workers, bytes, sent } = use
  const clusters = snapshot?.clusters ?? []
  const tables = snapshot?.routeTables ?? []
  const usedClusters = new Set(workers.flatMap((w) => w.clusters))
  const usedVirtualHosts = new Map(workers.flatMap((w) => w.virtualHosts.map((v) => [`${v.table}\n${v.name}`, v] as const)))
  const isUsed = ({ name }: RouteTable, v: VirtualHost): boolean => usedVirtualHosts.has(`${name}\n${v.name}`)
  const services = servicesOf(clusters)
  const used = new Map<string, UsedHost>()
  for (const name of usedClusters) note(used, services.get(name) ?? hostOfCluster(name))
  for (const table of tables) for (const v of table.virtualHosts) if (isUsed(table, v)) note(used, hostOf(v, clusters))
  const all = new Set([...services.values()].map(({ host }) => host))
  return {
    sent,
    shared: bytes,
    workerHeapBytes: workers.map((w) => w.heapBytes),
    clusters: { configured: clusters.length, used: [...usedClusters].sort() },
    virtualHosts: {
      configured: tables.reduce((sum, { virtualHosts }) => sum + virtualHosts.length, 0),
      used: [...usedVirtualHosts.values()].map(({ table, name }) => ({ table, name })),
    },
    hosts: { configured: all.size, used: [...used.values()].sort((a, b) => (a.host < b.host ? -1 : 1)) },
  }
}

function note(used: Map<string, UsedHost>, found: UsedHost | null): void {
  if (found === null) return
  const known = used.get(found.host)
  if (known === undefined || known.namespace === '') used.set(found.host, found)
}

/** By cluster, of those that lead to services of others. */
function servicesOf(clusters: readonly Cluster[]): Map<string, UsedHost> {
  const outbound = clusters.filter(({ name, host }) => name.startsWith(OUTBOUND) && host !== '')
  return new Map(
    outbound.map(({ name, host, serviceNamespace }) => [name, { host, namespace: serviceNamespace || namespaceOf(host) }]),
  )
}

const OUTBOUND = 'outbound|'

/** `outbound|9080|v1|reviews.default.svc.cluster.local`, of configuration that is gone. */
function hostOfCluster(name: string): UsedHost | null {
  const host = name.startsWith(OUTBOUND) ? (name.split('|')[3] ?? '') : ''
  return host === '' ? null : { host, namespace: namespaceOf(host) }
}

/** Of routes without a service of that name: a redirect, a VirtualService for a host of its own. null: they are for whatever nobody knows. */
function hostOf({ name, domains }: VirtualHost, clusters: readonly Cluster[]): UsedHost | null {
  if (domains.includes('*') || name.startsWith('inbound|')) return null
  const host = name.replace(/:\d+$/, '')
  const service = clusters.find((c) => c.host === host && c.serviceNamespace !== '')
  return host.includes('.') ? { host, namespace: service?.serviceNamespace ?? namespaceOf(host) } : null
}

/** Of names that Kubernetes makes. */
function namespaceOf(host: string): string {
  return /^[^.]+\.([^.]+)\.svc\./.exec(host)?.[1] ?? ''
}
