// Endpoints that are sockets of the file system: written (`unix://`), and fed (`pipe`), where Envoy is asked, too.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { fedPair, type World } from '../support/fed-pair.ts'
import { resource, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { httpFilter, setResource } from '../support/xds-json.ts'

function folderOf(t: Teardown): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-sockets-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

interface Clusters {
  readonly cluster_statuses: readonly { readonly name: string; readonly host_statuses: readonly { readonly address: object }[] }[]
}

/** Says the path that it was asked for, and whom it took the request for. */
async function application(t: Teardown, socketPath: string): Promise<string> {
  const server = createServer((req, res) => res.end(`${req.url} of ${req.headers.host}`))
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return socketPath
}

async function echo(t: Teardown, socketPath: string): Promise<void> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  t.teardown(() => server.close())
}

async function get(t: Teardown, port: number, target: string): Promise<{ status: number; body: string }> {
  const client = await RawClient.connect(t, port)
  await client.write(`GET ${target} HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n`)
  const { status, body } = await client.response()
  return { status, body: body.toString() }
}

const pipe = (socketPath: string): object => ({ endpoint: { address: { pipe: { path: socketPath } } } })

function cluster(name: string, socketPath: string): object {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [pipe(socketPath)] }] },
  }
}

function http({ plane, port, accessLog }: World, clusters: Readonly<Record<string, string>>): void {
  for (const [name, socketPath] of Object.entries(clusters)) setResource(plane, XDS.cluster, cluster(name, socketPath))
  const manager = {
    stat_prefix: 'http',
    access_log: accessLog,
    route_config: {
      name: 'r',
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: Object.keys(clusters).map((name) => ({ match: { prefix: `/${name}` }, route: { cluster: name } })),
        },
      ],
    },
    http_filters: [httpFilter('http.router.v3.Router')],
  }
  setResource(plane, XDS.listener, {
    name: 'http',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [httpFilter('network.http_connection_manager.v3.HttpConnectionManager', manager)] }],
  })
}

t.test('fed: requests, as Envoy has it', async (t) => {
  const folder = folderOf(t)
  const file = await application(t, path.join(folder, 'app.sock'))
  const nobody = path.join(folder, 'nobody.sock')
  for (const proxy of await fedPair(t, (world) => http(world, { file, nobody }))) {
    t.same(await get(t, proxy.port, '/file'), { status: 200, body: '/file of app' }, proxy.name)
    t.equal((await get(t, proxy.port, '/nobody')).status, 503, proxy.name)
    const lines = await proxy.logged(2)
    const hosts = lines.map((line) => line['upstream_host'])
    t.same(hosts, [file, nobody], `${proxy.name}: upstream_host`)
    t.equal(lines[1]?.['response_flags'], 'UF', proxy.name)
    t.match(lines[1]?.['upstream_transport_failure_reason'], /No.such.file.or.directory/, proxy.name)
    const { cluster_statuses: clusters } = JSON.parse((await proxy.admin('/clusters?format=json')).body) as Clusters
    t.match(clusters.find((c) => c.name === 'file')?.host_statuses[0]?.address, { pipe: { path: file } }, proxy.name)
  }
})

t.test('fed: bytes', async (t) => {
  const file = path.join(folderOf(t), 'echo.sock')
  await echo(t, file)
  const build = ({ plane, port, accessLog }: World): void => {
    setResource(plane, XDS.cluster, cluster('echo', file))
    const proxy = { stat_prefix: 'tcp', cluster: 'echo', access_log: accessLog }
    setResource(plane, XDS.listener, {
      name: 'tcp',
      address: { socket_address: { address: '127.0.0.1', port_value: port } },
      filter_chains: [{ filters: [httpFilter('network.tcp_proxy.v3.TcpProxy', proxy)] }],
    })
  }
  for (const proxy of await fedPair(t, build)) {
    const client = await RawClient.connect(t, proxy.port)
    await client.write('hello')
    await client.untilReceived('hello')
    client.end()
    await client.closed()
    t.equal((await proxy.logged(1))[0]?.['upstream_host'], file, proxy.name)
  }
})

t.test('written: a ServiceEntry with a path', async (t) => {
  const file = await application(t, path.join(folderOf(t), 'app.sock'))
  const proxy = await startProxy(t, {
    resources: yaml(
      resource('ServiceEntry', 'app', {
        hosts: ['app.example'],
        ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
        resolution: 'STATIC',
        location: 'MESH_INTERNAL',
        endpoints: [{ address: `unix://${file}` }],
      }),
    ),
  })
  const client = await RawClient.connect(t, proxy.port())
  await client.write('GET /x HTTP/1.1\r\nhost: app.example\r\n\r\n')
  const { status, body } = await client.response()
  t.same([status, body.toString()], [200, '/x of app.example'])
  await proxy.logged({ upstream_host: file })
})
