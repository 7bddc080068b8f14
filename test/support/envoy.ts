// Envoy as the other end of HBONE, or with filters of its own in front of an application: a program that nobody of us wrote. Where it is not installed, tests that need it are skipped, and say so.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { eventually } from './eventually.ts'
import { freePort } from './free-port.ts'
import type { HboneIdentity } from './hbone-peer.ts'
import { httpRequest } from './proxy.ts'
import type { Teardown } from './teardown.ts'

/** `ENVOY`, else what is in the PATH, else where the peers are kept; null: there is none. */
export function findEnvoy(): string | null {
  const named = process.env['ENVOY'] ?? ''
  const folders = (process.env['PATH'] ?? '').split(path.delimiter)
  const places = [
    named,
    ...folders.map((f) => path.join(f, 'envoy')),
    path.join(os.homedir(), '.cache/heddle-peers/envoy/bin/envoy'),
  ]
  return places.find((file) => file !== '' && existsSync(file)) ?? null
}

const TYPE = 'type.googleapis.com/envoy.extensions'

const address = (host: string, port: number) => ({ socket_address: { address: host, port_value: port } })

const cluster = (name: string, host: string, port: number, more: object = {}) => ({
  name,
  type: 'STATIC',
  connect_timeout: '5s',
  ...more,
  load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: address(host, port) } }] }] },
})

interface Files {
  readonly cert: string
  readonly key: string
  readonly roots: string
}

function commonTls(files: Files, peer: string): object {
  return {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    alpn_protocols: ['h2'],
    tls_certificates: [{ certificate_chain: { filename: files.cert }, private_key: { filename: files.key } }],
    validation_context: {
      trusted_ca: { filename: files.roots },
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: peer } }],
    },
  }
}

const WINDOWS = { initial_stream_window_size: 4 * 1024 * 1024, initial_connection_window_size: 16 * 1024 * 1024 }

export class Envoy {
  readonly port: number
  readonly adminPort: number

  private constructor(port: number, adminPort: number) {
    this.port = port
    this.adminPort = adminPort
  }

  /** Takes TCP on `port` and brings each connection to `to` by CONNECT to `authority` (tcp_proxy tunneling_config), as istiod's connect_originate. */
  static async originate(
    t: Teardown,
    options: { as: HboneIdentity; peer: string; to: number; authority: string },
  ): Promise<Envoy> {
    const { as, peer, to, authority } = options
    return Envoy.start(t, as, (port, files) => ({
      listeners: [
        {
          name: 'in',
          address: address('127.0.0.1', port),
          filter_chains: [
            {
              filters: [
                {
                  name: 'tcp',
                  typed_config: {
                    '@type': `${TYPE}.filters.network.tcp_proxy.v3.TcpProxy`,
                    stat_prefix: 'tcp',
                    cluster: 'hbone',
                    tunneling_config: { hostname: authority },
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        cluster('hbone', '127.0.0.1', to, {
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
              explicit_http_config: { http2_protocol_options: { allow_connect: true, ...WINDOWS } },
            },
          },
          transport_socket: {
            name: 'tls',
            typed_config: {
              '@type': `${TYPE}.transport_sockets.tls.v3.UpstreamTlsContext`,
              common_tls_context: commonTls(files, peer),
            },
          },
        }),
      ],
    }))
  }

  /** Ends CONNECT on `host:port` and passes the bytes to `app` on the loopback, as istiod's connect_terminate. */
  static async terminate(
    t: Teardown,
    options: { as: HboneIdentity; peer: string; host: string; port: number; app: number },
  ): Promise<Envoy> {
    const { as, peer, host, app } = options
    return Envoy.start(
      t,
      as,
      (port, files) => ({
        listeners: [
          {
            name: 'hbone',
            address: address(host, port),
            filter_chains: [
              {
                transport_socket: {
                  name: 'tls',
                  typed_config: {
                    '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
                    require_client_certificate: true,
                    common_tls_context: commonTls(files, peer),
                  },
                },
                filters: [
                  {
                    name: 'http',
                    typed_config: {
                      '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
                      stat_prefix: 'hbone',
                      codec_type: 'HTTP2',
                      http2_protocol_options: { allow_connect: true, max_concurrent_streams: 100, ...WINDOWS },
                      upgrade_configs: [{ upgrade_type: 'CONNECT' }],
                      route_config: {
                        virtual_hosts: [
                          {
                            name: 'all',
                            domains: ['*'],
                            routes: [
                              {
                                match: { connect_matcher: {} },
                                route: {
                                  cluster: 'app',
                                  timeout: '0s',
                                  upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }],
                                },
                              },
                            ],
                          },
                        ],
                      },
                      http_filters: [{ name: 'router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } }],
                    },
                  },
                ],
              },
            ],
          },
        ],
        clusters: [cluster('app', '127.0.0.1', app)],
      }),
      options.port,
    )
  }

  /**
   * Takes HTTP, runs these filters, and forwards to `app` on the loopback; or what `routes` say. What became of a request its answer says as
   * `x-details`.
   */
  static async filters(
    t: Teardown,
    httpFilters: readonly object[],
    app: number,
    routes: readonly object[] = [{ match: { prefix: '/' }, route: { cluster: 'app' } }],
  ): Promise<Envoy> {
    return Envoy.start(t, null, (port) => ({
      listeners: [
        {
          name: 'in',
          address: address('127.0.0.1', port),
          filter_chains: [
            {
              filters: [
                {
                  name: 'http',
                  typed_config: {
                    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
                    stat_prefix: 'http',
                    normalize_path: true,
                    route_config: {
                      virtual_hosts: [
                        {
                          name: 'all',
                          domains: ['*'],
                          routes,
                          response_headers_to_add: [{ header: { key: 'x-details', value: '%RESPONSE_CODE_DETAILS%' } }],
                        },
                      ],
                    },
                    http_filters: [
                      ...httpFilters,
                      { name: 'router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [cluster('app', '127.0.0.1', app)],
    }))
  }

  /** Takes all that it does from a control plane in plain text, by delta ADS. */
  static async fed(t: Teardown, options: { host: string; port: number; nodeId: string }): Promise<Envoy> {
    const { host, port, nodeId } = options
    const ads = { ads: {}, resource_api_version: 'V3' }
    return Envoy.run(t, await freePort(), () => ({
      node: { id: nodeId, cluster: 'test' },
      dynamic_resources: {
        ads_config: {
          api_type: 'DELTA_GRPC',
          transport_api_version: 'V3',
          grpc_services: [{ envoy_grpc: { cluster_name: 'xds' } }],
        },
        cds_config: ads,
        lds_config: ads,
      },
      static_resources: {
        clusters: [
          cluster('xds', host, port, {
            typed_extension_protocol_options: {
              'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
                '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
                explicit_http_config: { http2_protocol_options: {} },
              },
            },
          }),
        ],
      },
    }))
  }

  /** These listeners and clusters; one listener is on the port. */
  static async withResources(t: Teardown, resources: (port: number) => object): Promise<Envoy> {
    return Envoy.start(t, null, resources)
  }

  /** Takes listeners from a file (LDS) and refuses each alone; `clusters` are static. */
  static async withListeners(t: Teardown, listeners: readonly object[], clusters: readonly object[]): Promise<Envoy> {
    return Envoy.run(t, await freePort(), (folder) => {
      const file = path.join(folder, 'listeners.json')
      const typed = listeners.map((l) => ({ '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener', ...l }))
      writeFileSync(file, JSON.stringify({ resources: typed }))
      return {
        node: { id: 'fuzz', cluster: 'fuzz' },
        // As in the bootstrap of Istio's proxies.
        layered_runtime: {
          layers: [{ name: 'own', static_layer: { 'envoy.reloadable_features.http_reject_path_with_fragment': false } }],
        },
        dynamic_resources: { lds_config: { path_config_source: { path: file } } },
        static_resources: { clusters },
      }
    })
  }

  private static async start(
    t: Teardown,
    as: HboneIdentity | null,
    resources: (port: number, files: Files) => object,
    fixed = 0,
  ): Promise<Envoy> {
    const port = fixed === 0 ? await freePort() : fixed
    return Envoy.run(t, port, (folder) => {
      const files = {
        cert: path.join(folder, 'cert.pem'),
        key: path.join(folder, 'key.pem'),
        roots: path.join(folder, 'roots.pem'),
      }
      if (as !== null) {
        writeFileSync(files.cert, as.issued.chain)
        writeFileSync(files.key, as.issued.key)
        writeFileSync(files.roots, as.roots.join('\n'))
      }
      return { static_resources: resources(port, files) }
    })
  }

  /** @param bootstrap all but its admin page; files go into the folder */
  private static async run(t: Teardown, port: number, bootstrap: (folder: string) => object): Promise<Envoy> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-envoy-'))
    const adminPort = await freePort()
    const file = path.join(folder, 'envoy.json')
    writeFileSync(file, JSON.stringify({ admin: { address: address('127.0.0.1', adminPort) }, ...bootstrap(folder) }))
    const args = [
      '-c',
      file,
      '--concurrency',
      '1',
      '-l',
      'error',
      '--use-dynamic-base-id',
      '--disable-hot-restart',
      '--file-flush-interval-msec',
      '20',
      '--drain-time-s',
      '1',
    ]
    const child = spawn(findEnvoy() ?? 'envoy', args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (d: string) => {
      said += d
    })
    const gone = new Promise<void>((resolve) => child.on('close', () => resolve()))
    t.teardown(async () => {
      child.kill('SIGKILL')
      await gone
      rmSync(folder, { recursive: true, force: true })
    })
    const envoy = new Envoy(port, adminPort)
    const ready = async (): Promise<boolean> => {
      if (child.exitCode !== null) throw new Error(`Envoy ended: ${said}`)
      return (await envoy.admin('/ready').catch(() => ({ status: 0 }))).status === 200
    }
    await eventually('Envoy to be ready', ready, 15_000)
    return envoy
  }

  admin(target: string, method = 'GET'): Promise<{ readonly status: number; readonly body: string }> {
    return httpRequest(this.adminPort, target, method)
  }

  /** A statistic. */
  async stat(name: string): Promise<number> {
    const { body } = await this.admin(`/stats?filter=${encodeURIComponent(`^${name}$`)}`)
    return Number(/: (\d+)/.exec(body)?.[1] ?? Number.NaN)
  }
}
