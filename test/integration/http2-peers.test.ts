// Proxied to and by what others wrote: nginx, nghttpd and Envoy as HTTP/2 upstreams, and Envoy as an HTTP/2 client. `HEDDLE_ENVOY` names Envoy's program
// where it is not called `envoy`. What is not installed is skipped, loudly.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { Http2Client } from '../support/http2-client.ts'
import { Http2Server } from '../support/http2-server.ts'
import { service, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'

t.setTimeout(120_000)

const ENVOY = process.env['HEDDLE_ENVOY'] ?? 'envoy'

const BODY = Buffer.alloc(3_000_000)
for (let i = 0; i < BODY.length; i += 4) BODY.writeUInt32LE(i, i)

function missing(tool: string, arg: string): string | false {
  if (spawnSync(tool, [arg], { stdio: 'ignore' }).error === undefined) return false
  process.stderr.write(`SKIPPED: ${tool} is not installed\n`)
  return `${tool} is not installed`
}

function folder(t: Teardown): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-peers-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** Starts a program and waits until its port takes connections. */
async function run(t: Teardown, tool: string, args: readonly string[], port: number): Promise<{ address: string }> {
  const child = spawn(tool, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (d: string) => {
    said += d
  })
  t.teardown(async () => {
    if (child.exitCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'close')
  })
  await eventually(
    `${tool} on ${port}`,
    async () => {
      if (child.exitCode !== null) throw new Error(`${tool} ended: ${said}`)
      return takesConnections(port)
    },
    20_000,
  )
  return { address: `127.0.0.1:${port}` }
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

const front = (t: Teardown, upstream: { address: string }): Promise<HeddleProcess> =>
  startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [upstream], protocol: 'HTTP2' })),
    bootstrap: { concurrency: 1 },
  })

const CLUSTER = { cluster_name: 'outbound|80||web.default.svc.cluster.local' }
const connections = async (proxy: HeddleProcess) =>
  (await proxy.metrics()).value('envoy_cluster_upstream_cx_http2_total', CLUSTER)

t.test('nginx as an upstream', { skip: missing('nginx', '-v') }, async (t) => {
  const dir = folder(t)
  const port = await freePort()
  const echo = await EchoUpstream.start(t)
  writeFileSync(path.join(dir, 'body'), BODY)
  writeFileSync(
    path.join(dir, 'nginx.conf'),
    `daemon off; worker_processes 1; pid ${dir}/pid; error_log ${dir}/error.log; events {}
     http { access_log off; client_body_temp_path ${dir}/a; proxy_temp_path ${dir}/b; fastcgi_temp_path ${dir}/c; uwsgi_temp_path ${dir}/d; scgi_temp_path ${dir}/e;
       server { listen 127.0.0.1:${port} http2; root ${dir}; client_max_body_size 10m;
         location /echo { proxy_pass http://${echo.address}; } location /refused { return 413 "no"; } } }`,
  )
  spawnSync('chmod', ['-R', 'a+rX', dir])
  const nginx = await run(t, 'nginx', ['-c', path.join(dir, 'nginx.conf'), '-e', path.join(dir, 'error.log')], port)
  await asUpstream(t, nginx, '/body')
  const proxy = await front(t, nginx)
  const client = await Http2Client.connect(t, proxy.port())
  const bodies = await Promise.all(
    Array.from({ length: 30 }, async (_, i) => {
      const body = `body ${i} `.repeat(i * 100)
      const reply = await client.ask({ host: 'web', target: `/echo/${i}`, method: 'POST', body }, 20_000)
      const seen = JSON.parse(reply.body.toString()) as { target: string; body: string }
      return seen.target === `/echo/${i}` && seen.body === body
    }),
  )
  t.ok(bodies.every((ok) => ok))
  t.equal((await client.ask({ host: 'web', target: '/refused', method: 'POST', body: BODY }, 20_000)).status, 413)
  t.equal((await client.ask({ host: 'web', target: '/nothing' })).status, 404)
})

t.test('nghttpd as an upstream', { skip: missing('nghttpd', '--version') }, async (t) => {
  const dir = folder(t)
  const port = await freePort()
  writeFileSync(path.join(dir, 'body'), BODY)
  const nghttpd = await run(t, 'nghttpd', ['--no-tls', '--echo-upload', '-d', dir, '--trailer', 'x-end: yes', String(port)], port)
  await asUpstream(t, nghttpd, '/body')
  const proxy = await front(t, nghttpd)
  const client = await Http2Client.connect(t, proxy.port())
  const reply = await client.ask({ host: 'web', target: '/any', method: 'POST', body: BODY }, 20_000)
  t.ok(reply.body.equals(BODY))
  t.same(reply.trailers, [['x-end', 'yes']])
})

/** What holds for every upstream that has BODY at a path. */
async function asUpstream(t: Test, upstream: { address: string }, target: string): Promise<void> {
  const proxy = await front(t, upstream)
  const one = await RawClient.connect(t, proxy.port())
  const two = await Http2Client.connect(t, proxy.port())
  t.ok((await one.ask({ host: 'web', target }, 20_000)).body.equals(BODY), 'to HTTP/1.1')
  const all = await Promise.all(Array.from({ length: 20 }, () => two.ask({ host: 'web', target }, 30_000)))
  t.equal(all.filter((r) => r.body.equals(BODY)).length, 20, 'to HTTP/2, twenty at once')
  const head = await one.ask({ host: 'web', target, method: 'HEAD' })
  t.equal(head.status, 200)
  t.equal(await connections(proxy), 1, 'over one connection')
}

interface EnvoyPort {
  readonly listen: number
  readonly to: string
  readonly http2: boolean
}

/** Envoy between one port and one cluster, at its defaults; it takes both versions. */
async function envoy(t: Teardown, { listen, to, http2 }: EnvoyPort): Promise<{ address: string }> {
  const dir = folder(t)
  const [address, port] = to.split(':')
  const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`
  const where = (a: string, p: number) => ({ socket_address: { address: a, port_value: p } })
  const version = http2 ? { http2_protocol_options: {} } : { http_protocol_options: {} }
  const config = {
    static_resources: {
      listeners: [
        {
          address: where('127.0.0.1', listen),
          filter_chains: [
            {
              filters: [
                {
                  name: 'hcm',
                  typed_config: {
                    '@type': type('filters.network.http_connection_manager.v3.HttpConnectionManager'),
                    stat_prefix: 'in',
                    route_config: {
                      virtual_hosts: [
                        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'to' } }] },
                      ],
                    },
                    http_filters: [{ name: 'router', typed_config: { '@type': type('filters.http.router.v3.Router') } }],
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'to',
          type: 'STATIC',
          load_assignment: {
            cluster_name: 'to',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: where(String(address), Number(port)) } }] }],
          },
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': type('upstreams.http.v3.HttpProtocolOptions'),
              explicit_http_config: version,
            },
          },
        },
      ],
    },
  }
  const file = path.join(dir, 'envoy.json')
  writeFileSync(file, JSON.stringify(config))
  return run(t, ENVOY, ['-c', file, '--concurrency', '1', '--use-dynamic-base-id', '-l', 'error'], listen)
}

t.test('Envoy as an upstream, and as a client', { skip: missing(ENVOY, '--version') }, async (t) => {
  // Client → heddle → (HTTP/2) Envoy → (HTTP/2) heddle → (HTTP/2) server.
  const server = await Http2Server.start(t, {
    handler: async (e) => {
      const body = await e.whole(20_000)
      if (e.stream.destroyed) return
      e.stream.respond({ ':status': 200, 'x-mark': String(e.headers['x-mark']) }, { waitForTrailers: true })
      e.stream.on('wantTrailers', () => e.stream.sendTrailers({ 'x-end': String(e.trailers?.['x-asked'] ?? 'none') }))
      e.stream.end(body.length > 0 ? body : BODY)
    },
  })
  const second = await front(t, server)
  const middle = await envoy(t, { listen: await freePort(), to: `127.0.0.1:${second.port()}`, http2: true })
  const first = await front(t, middle)
  await asUpstream(t, middle, '/body')
  const client = await Http2Client.connect(t, first.port())
  const replies = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const body = i % 3 === 0 ? BODY.subarray(0, i * 5000 + 1) : Buffer.from(`body ${i}`)
      const headers = { 'x-mark': `mark ${i}` }
      const reply = await client.ask({ host: 'web', target: `/${i}`, method: 'POST', headers, body }, 30_000)
      return (
        reply.body.equals(body) &&
        reply.headers.some(([n, v]) => n === 'x-mark' && v === `mark ${i}`) &&
        reply.trailers.length === 1
      )
    }),
  )
  t.equal(replies.filter((ok) => ok).length, 100, 'each has its own headers, body and trailers')
  t.equal(await connections(first), 1)
  t.equal(server.connections.length, 1, 'one connection carries all')
})
