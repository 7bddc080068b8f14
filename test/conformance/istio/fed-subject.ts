// heddle in place of the recorded sidecar or gateway, fed by a control plane that sends what istiod sent.
//
// Its resources are served as they were recorded but for what a test cannot have: listeners that were captured are bound, one for each port, and what goes to the
// address that a client dialled goes to a stub, as it did for Envoy when the outcome was recorded.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Test } from 'tap'
import { XDS } from '../../../lib/xds/client/resource-types.ts'
import { DnsServer } from '../../support/dns-server.ts'
import { envoyProtos } from '../../support/envoy-protos.ts'
import { FakeControlPlane } from '../../support/fake-control-plane.ts'
import { startProxy } from '../../support/proxy.ts'
import type { Teardown } from '../../support/teardown.ts'
import { type Moved, moved, type Recording } from './recording.ts'
import { Replay, type Result, type Subject } from './replay.ts'
import { Stubs } from './stub.ts'

interface Listener {
  name: string
  address: object
  bind_to_port?: boolean
  use_original_dst?: boolean
  listener_filters?: { readonly name: string }[]
}

interface Cluster {
  readonly name: string
  type: string
  lb_policy?: string
  load_assignment?: object
  cleanup_interval?: string
  original_dst_lb_config?: object
}

export interface World {
  readonly listeners: readonly Listener[]
  readonly routes: readonly { readonly name: string }[]
  readonly clusters: readonly Cluster[]
  readonly endpoints: readonly { readonly cluster_name: string }[]
}

const ORIGINAL_DST_FILTER = 'envoy.filters.listener.original_dst'

/** null: the upstreams cannot stand where the recording has them. */
export async function replayedFed(t: Test, peers: string, recording: Recording, only: string): Promise<Result[] | null> {
  const stubs = new Stubs()
  t.teardown(() => stubs.close())
  try {
    await stubs.open(recording.endpoints)
  } catch (error) {
    t.comment(error)
    t.pass('skipped', { skip: `${(error as Error).message} (ports below 1024 need root)` })
    return null
  }
  const world = recordedWorld(peers, recording.name, 96)
  return new Replay(t, recording, stubs, (r) => startFed(t, r, world)).run(only)
}

export function recordedWorld(peers: string, name: string, to: Moved): World {
  return JSON.parse(moved(readFileSync(path.join(peers, name, 'xds.json'), 'utf8'), to)) as World
}

async function startFed(t: Teardown, recording: Recording, world: World): Promise<Subject> {
  const plane = await FakeControlPlane.start(t)
  serveWorld(plane, recording, world)
  const records = [...recording.names].map(([name, address]) => [name, { addresses: [address], ttl: 3600 }] as const)
  const dns = await DnsServer.start(t, Object.fromEntries(records))
  const proxy = await startProxy(t, {
    listeners: [],
    bootstrap: {
      role: recording.role,
      resources: [],
      xds: { address: plane.hostAndPort, transport: 'plaintext' },
      workload: { ...recording.workload, serviceAccount: 'default' },
      retries: 'exact',
      mirror: { hostSuffix: '' },
      mesh: { dnsServers: [dns.address] },
      http1: { halfClose: 'abort' },
      drain: { deadline: '0s' },
    },
  })
  return {
    portFor: (port) => proxy.port(recording.inbound ? `virtualInbound:${port}` : `0.0.0.0_${port}`),
    accessLog: () => proxy.accessLog(),
    stop: async () => {
      await proxy.stop()
      plane.stop()
    },
  }
}

export function serveWorld(
  plane: FakeControlPlane,
  recording: Recording,
  { listeners, routes, clusters, endpoints }: World,
): void {
  const set = (typeUrl: string, name: string, resource: object) =>
    plane.set(typeUrl, name, envoyProtos().encode(typeUrl.slice(typeUrl.indexOf('/') + 1), resource as never))
  for (const cluster of clusters) set(XDS.cluster, cluster.name, dialable(cluster, recording))
  for (const assignment of endpoints) set(XDS.endpoints, assignment.cluster_name, assignment)
  for (const listener of listeners.flatMap((l) => bound(l, recording))) set(XDS.listener, listener.name, listener)
  for (const table of routes) set(XDS.route, table.name, table)
}

/** The recorded Envoy had none of Istio's own filters: nobody told it who we are, nor did it tell anybody. */
function withoutIstios(listener: Listener): Listener {
  return JSON.parse(JSON.stringify(listener), (key, value: unknown) =>
    key === 'http_filters' ? (value as readonly { name: string }[]).filter((f) => f.name !== 'istio.metadata_exchange') : value,
  ) as Listener
}

function bound(sent: Listener, recording: Recording): Listener[] {
  const listener = withoutIstios(sent)
  if (listener.name === 'connect_terminate') return [{ ...listener, address: at(0) }]
  // Of a waypoint: between its parts.
  return 'internal_listener' in listener ? [listener] : captured(listener, recording)
}

const at = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })

function captured(listener: Listener, { inbound, ports }: Recording): Listener[] {
  const { bind_to_port: _, use_original_dst: __, listener_filters: filters = [], ...rest } = listener
  const listener_filters = filters.filter((f) => f.name !== ORIGINAL_DST_FILTER)
  if (listener.name === 'virtualInbound')
    // Its chains are chosen by the port that was dialled.
    return inbound ? ports.map((p) => ({ ...rest, listener_filters, name: `virtualInbound:${p}`, address: at(p) })) : []
  return /^0\.0\.0\.0_\d+$/.test(listener.name) && !inbound ? [{ ...rest, listener_filters, address: at(0) }] : []
}

function dialable(cluster: Cluster, recording: Recording): Cluster {
  const { passthrough, workload } = recording
  if (cluster.type !== 'ORIGINAL_DST' || recording.role === 'waypoint') return cluster
  const { cleanup_interval: _, original_dst_lb_config: __, ...rest } = cluster
  const port = /^inbound\|(\d+)\|/.exec(cluster.name)?.[1]
  const [address, port_value] = port === undefined ? passthrough.split(':') : [workload.address, port]
  const endpoint = { address: { socket_address: { address, port_value: Number(port_value) } } }
  const load_assignment = { cluster_name: cluster.name, endpoints: [{ lb_endpoints: [{ endpoint }] }] }
  return { ...rest, type: 'STATIC', lb_policy: 'ROUND_ROBIN', load_assignment }
}
