// A folder of recordings: YAML, the proxy whose view it is, requests, and what Envoy, configured by istiod, did with each.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parse, parseAllDocuments } from 'yaml'
import type { HeaderPair } from '../../support/h1-reader.ts'
import { ROOT } from '../../support/proxy.ts'

/** A long text is written as `{fill, times}`. */
export type LongText = string | { readonly fill: string; readonly times: number }

export interface RecordedRequest {
  readonly name: string
  readonly method?: string
  readonly path?: string
  readonly authority?: string
  readonly headers?: Readonly<Record<string, LongText | readonly string[]>> | readonly (readonly [string, LongText])[]
  readonly body?: LongText
  readonly protocol?: 'http1' | 'http2'
  /** HTTP/2: `:scheme`. */
  readonly scheme?: string
  /** The exact bytes instead. */
  readonly raw?: string
  readonly port?: number
  /** Of the recorded sidecar: what its application dials, or what dials its application. */
  readonly direction?: 'outbound' | 'inbound'
  readonly repeat?: number
  readonly concurrency?: number
  /** A fresh proxy, before the request if there is one. */
  readonly restart?: boolean
  readonly pauseMs?: number
  readonly abortAfterMs?: number
  readonly timeoutMs?: number
  /** Upstreams, as `address:port`, that stop before the request, and those that come back; for good. */
  readonly down?: readonly string[]
  readonly up?: readonly string[]
  /** Of a waypoint: the address of the service that is asked. */
  readonly vip?: string
  /** The client's address, out of 127.0.0.0/8. */
  readonly source?: string
  /** Fields that are not compared. */
  readonly ignore?: readonly string[]
}

/** What a stub upstream received. */
export interface SeenRequest {
  readonly at: string
  readonly protocol?: string
  readonly method?: string
  readonly path?: string
  readonly authority?: string | null
  readonly headers?: readonly HeaderPair[]
  /** The first 200 characters. */
  readonly body?: string
  readonly bodyBytes?: number
  readonly trailers?: Readonly<Record<string, string | undefined>>
  /** Bytes that were no HTTP. */
  readonly tcp?: string
}

/** What became of one request. Names of headers are in lower case. */
export interface Outcome {
  readonly name: string
  readonly status: number | null
  readonly flags: string | null
  readonly details: string | null
  readonly cluster: string | null
  readonly route: string | null
  readonly upstreamHost: string | null
  readonly location?: string
  readonly headers: readonly HeaderPair[]
  readonly body: string
  /** Absent where it differed from run to run. */
  readonly upstream?: readonly SeenRequest[]
  readonly clientError?: string
  readonly informational?: readonly number[]
  readonly log: { readonly logged: number; readonly authority: string | null; readonly protocol: string | null } | null
}

/** What became of many. */
export interface Counts {
  readonly name: string
  readonly repeat: number
  readonly statuses: Readonly<Record<string, number>>
  readonly clusters: Readonly<Record<string, number>>
  readonly flags: Readonly<Record<string, number>>
  /** Not in recordings. */
  readonly hosts?: Readonly<Record<string, number>>
}

export interface Recording {
  /** `cases/match` */
  readonly name: string
  readonly requests: readonly RecordedRequest[]
  readonly expected: ReadonlyMap<string, Outcome | Counts>
  readonly workload: { readonly namespace: string; readonly labels: Readonly<Record<string, string>>; readonly address: string }
  /** Of the recorded proxy. */
  readonly role: 'sidecar' | 'gateway' | 'waypoint'
  /** File name → text. */
  readonly resources: Readonly<Record<string, string>>
  /** Istio MeshConfig, as far as the recordings write one. */
  readonly mesh: MeshConfig
  /** Names that are looked up, and the loopback address that stands for each. */
  readonly names: ReadonlyMap<string, string>
  /** Addresses at which upstreams are to stand. */
  readonly endpoints: readonly string[]
  /** Clusters with more than one endpoint: which one is chosen is chance. */
  readonly manyEndpoints: ReadonlySet<string>
  /** Ports on which the recorded sidecar listened. */
  readonly ports: readonly number[]
  /** Requests are for the application behind the recorded sidecar; `ports` are its. */
  readonly inbound: boolean
  /** Where bytes for unknown hosts go, in place of the address that the client dialled. */
  readonly passthrough: string
}

const MESH_FILE = 'mesh.yaml'

export interface MeshConfig {
  readonly outboundTrafficPolicy?: { readonly mode: string }
  readonly defaultHttpRetryPolicy?: { readonly attempts: number; readonly retryOn: string }
  readonly pathNormalization?: { readonly normalization: string }
}

/** null when the recordings are not on this machine. */
export function peersFolder(): string | null {
  const folder = process.env['HEDDLE_PEERS'] ?? path.resolve(ROOT, '../shared/peers')
  return existsSync(path.join(folder, 'cases')) ? folder : null
}

interface Xds {
  readonly listeners: readonly { readonly name: string }[]
  readonly clusters: readonly { readonly name: string; readonly type?: string; readonly load_assignment?: Assignment }[]
  readonly endpoints?: readonly Assignment[]
}

interface Assignment {
  readonly cluster_name: string
  readonly endpoints?: readonly {
    readonly lb_endpoints?: readonly {
      readonly endpoint: {
        /** Of a waypoint also others: its own parts. */
        readonly address: { readonly socket_address?: { readonly address: string; readonly port_value: number } }
      }
    }[]
  }[]
}

/** The second part of the addresses, for each replay another one. */
export type Moved = 32 | 64 | 96

/** All endpoints at other addresses than those that were recorded, so that replays can run side by side. `to`: which of them. */
export function moved(text: string, to: Moved = 96): string {
  return text.replaceAll(/\b127\.0\.(?!0\.)/g, `127.${to}.`).replaceAll('127.77.', `127.${to + 14}.`)
}

/** `to`: see `moved`; null: as recorded. */
export function readRecording(peers: string, name: string, to: Moved | null = null): Recording {
  const dir = path.join(peers, name)
  const read = (file: string) => {
    const text = readFileSync(path.join(dir, file), 'utf8')
    return to === null ? text : moved(text, to)
  }
  const net = to === null ? '127.77.0' : `127.${to + 14}.0`
  const passthrough = `${net}.101:15999`
  const xds = JSON.parse(read('xds.json')) as Xds
  const proxy = JSON.parse(read('proxy.json')) as {
    ip: string
    namespace: string
    labels: Record<string, string>
    type?: string
  }
  const names = new Map<string, string>()
  const assignments = [...(xds.endpoints ?? []), ...xds.clusters.flatMap((c) => c.load_assignment ?? [])]
  const hostsOf = (a: Assignment) =>
    (a.endpoints ?? []).flatMap((g) =>
      (g.lb_endpoints ?? []).flatMap(({ endpoint }) => {
        const { socket_address: at } = endpoint.address
        return at === undefined ? [] : `${loopback(at.address, names, net)}:${at.port_value}`
      }),
    )
  const mesh = path.join(dir, MESH_FILE)
  const yamls = readdirSync(dir)
    .filter((f) => f.endsWith('.yaml') && f !== MESH_FILE)
    .map((f) => [f, read(f)] as const)
  const endpoints = new Set([...assignments.flatMap(hostsOf), ...yamls.flatMap(([, text]) => podsIn(text)), passthrough])
  const requests = jsonLines<RecordedRequest>(read('requests.jsonl'))
  const inbound = requests.some((r) => r.direction === 'inbound')
  return {
    name,
    requests,
    inbound,
    expected: new Map(jsonLines<Outcome>(read('expected.jsonl')).map((e) => [e.name, e])),
    workload: { namespace: proxy.namespace, labels: proxy.labels, address: proxy.ip },
    role: proxy.type === 'router' ? 'gateway' : proxy.type === 'waypoint' ? 'waypoint' : 'sidecar',
    resources: Object.fromEntries(yamls),
    mesh: existsSync(mesh) ? (parse(read(MESH_FILE)) as MeshConfig) : {},
    names,
    endpoints: [...endpoints],
    manyEndpoints: new Set(assignments.filter((a) => hostsOf(a).length > 1).map((a) => a.cluster_name)),
    passthrough,
    ports: xds.listeners.flatMap((l) => /^0\.0\.0\.0_(\d+)$/.exec(l.name)?.[1] ?? []).map(Number),
  }
}

function jsonLines<T>(text: string): T[] {
  const lines = text.split('\n')
  return lines.flatMap((l, i) =>
    l.trim() === '' || l.startsWith('#') ? [] : [{ name: `line ${i + 1}`, ...(JSON.parse(l) as T) }],
  )
}

/** DNS names stand for loopback addresses: in the order in which they are met, from x.y.z.111 on. */
function loopback(address: string, names: Map<string, string>, net: string): string {
  if (/^[\d.]+$/.test(address)) return address
  if (!names.has(address)) names.set(address, `${net}.${111 + names.size}`)
  return names.get(address) as string
}

interface EndpointSlice {
  readonly kind?: string
  readonly endpoints?: readonly { readonly addresses?: readonly string[] }[]
  readonly ports?: readonly { readonly port?: number }[]
}

/** Where the pods of EndpointSlices listen; those of headless services are in no recorded cluster. */
function podsIn(text: string): string[] {
  return parseAllDocuments(text).flatMap((d) => {
    const { kind, endpoints = [], ports = [] } = (d.toJS() ?? {}) as EndpointSlice
    if (kind !== 'EndpointSlice') return []
    return endpoints.flatMap((e) => (e.addresses ?? []).flatMap((a) => ports.map((p) => `${a}:${p.port}`)))
  })
}
