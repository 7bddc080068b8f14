// heddle and Envoy as a control plane feeds them: two workers each, and nothing of their own but where it is.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Child, startChild } from '../load/child.ts'
import { findProgram } from '../load/find-program.ts'

export interface FedPeer {
  readonly id: string
  /** null: it is there. */
  readonly missing: string | null
  start(folder: string, controlPlanePort: number, sparePorts: readonly number[], core: number | null): Child
}

export function heddleFed(root: string): FedPeer {
  return {
    id: 'heddle',
    missing: null,
    start(folder, controlPlanePort, [admin = 0, health = 0], core) {
      const file = join(folder, 'heddle.yaml')
      writeFileSync(
        file,
        `role: sidecar
workload: { namespace: bench, serviceAccount: client, labels: { app: client }, address: 127.0.0.1 }
concurrency: 2
admin: { address: 127.0.0.1, port: ${admin} }
health: { address: 127.0.0.1, port: ${health} }
resources: []
listeners: []
xds: { address: "127.0.0.1:${controlPlanePort}", transport: plaintext }
`,
      )
      const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HEDDLE_')))
      return startChild({ command: process.execPath, args: [join(root, 'bin', 'heddle'), 'run', '--config', file], core, env })
    },
  }
}

export function envoyFed(): FedPeer {
  const program = findProgram('envoy', 'ENVOY')
  const address = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })
  return {
    id: 'envoy',
    missing: program === null ? 'not installed: set ENVOY' : null,
    start(folder, controlPlanePort, _sparePorts, core) {
      const file = join(folder, 'envoy.json')
      const ads = { ads: {}, resource_api_version: 'V3' }
      const controlPlane = {
        name: 'xds',
        type: 'STATIC',
        connect_timeout: '5s',
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
            explicit_http_config: { http2_protocol_options: {} },
          },
        },
        load_assignment: {
          cluster_name: 'xds',
          endpoints: [{ lb_endpoints: [{ endpoint: { address: address(controlPlanePort) } }] }],
        },
      }
      const bootstrap = {
        node: { id: 'sidecar~127.0.0.1~bench.bench~bench.svc.cluster.local', cluster: 'bench' },
        dynamic_resources: {
          ads_config: {
            api_type: 'DELTA_GRPC',
            transport_api_version: 'V3',
            grpc_services: [{ envoy_grpc: { cluster_name: 'xds' } }],
          },
          cds_config: ads,
          lds_config: ads,
        },
        static_resources: { clusters: [controlPlane] },
        // istiod's: statistics of clusters are left out but for a few.
        stats_config: { stats_matcher: { inclusion_list: { patterns: [{ prefix: 'cluster.xds' }, { prefix: 'server' }] } } },
      }
      writeFileSync(file, JSON.stringify(bootstrap))
      const args = ['-c', file, '--concurrency', '2', '-l', 'error', '--use-dynamic-base-id', '--disable-hot-restart']
      return startChild({ command: program ?? 'envoy', args, core })
    },
  }
}
