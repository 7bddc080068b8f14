// Access logs as a real istiod asks for them: of MeshConfig, of a Telemetry with a filter and a provider of its own, turned off again.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { ISTIOD, Istiod, type IstioObject } from '../support/istiod.ts'
import { startProxy } from '../support/proxy.ts'

const skip = ISTIOD === '' && 'NOT RUN: set ISTIOD to the program pilot-discovery of Istio 1.29'

t.setTimeout(120_000)

const object = (apiVersion: string, kind: string, name: string, spec: object): IstioObject => ({
  ...{ apiVersion, kind, spec },
  metadata: { name, namespace: 'default' },
})

const HOST = 'reviews.default.svc.cluster.local'
/** 22 fields of Istio's default text. */
const ISTIO_LINE =
  /^\[\S+Z\] "GET (\S+) HTTP\/1\.1" (\d+) (\S+) (\S+) (\S+) "([^"]*)" 0 \d+ \d+ \S+ "-" "([^"]*)" "([-0-9a-f]{36})" "([^"]+)" "([^"]+)" (\S+) (\S+) (\S+) (\S+) (\S+) (\S+)$/

t.test('MeshConfig, Telemetry', { skip }, async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-mesh-logs-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const [meshLog, errorLog] = [path.join(folder, 'mesh.log'), path.join(folder, 'errors.log')]
  const linesOf = (file: string): readonly string[] =>
    existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []
  const upstream = await EchoUpstream.start(t)
  const port = await freePort()
  const service = object('networking.istio.io/v1', 'ServiceEntry', 'reviews', {
    hosts: [HOST],
    addresses: ['127.66.1.1'],
    location: 'MESH_INTERNAL',
    resolution: 'STATIC',
    ports: [{ name: 'http', number: port, protocol: 'HTTP' }],
    endpoints: [{ address: '127.0.0.1', ports: { http: upstream.port } }],
  })
  const telemetry = (spec: object): IstioObject => object('telemetry.istio.io/v1', 'Telemetry', 'logs', { accessLogging: [spec] })
  const istiod = await Istiod.run(t, [service], {
    accessLogFile: meshLog,
    extensionProviders: [
      {
        name: 'errors',
        envoyFileAccessLog: {
          path: errorLog,
          logFormat: { labels: { code: '%RESPONSE_CODE%', path: '%REQ(:PATH)%', who: '%UPSTREAM_CLUSTER_RAW%' } },
        },
      },
    ],
  })
  const proxy = await startProxy(t, {
    listeners: [],
    readyBudgetMs: 60_000,
    bootstrap: {
      resources: [],
      accessLog: { path: null },
      xds: { address: istiod.address, transport: 'plaintext' },
      workload: { name: 'side', namespace: 'default', address: '127.55.0.1' },
    },
  })
  const ask = async (target: string, headers: readonly (readonly [string, string])[] = []): Promise<void> => {
    const client = await connectAny(t, port)
    await client.ask({ target, host: HOST, headers })
    client.destroy()
  }

  await ask('/one?q=1')
  const line = await eventually('a line', () => linesOf(meshLog)[0] ?? '')
  const fields = ISTIO_LINE.exec(line)
  t.ok(fields !== null, line)
  const [, target, code, flags, details, closed, failure, , , authority, host, cluster] = fields ?? []
  t.same(
    [target, code, flags, details, closed, failure, authority, host, cluster],
    ['/one?q=1', '200', '-', 'via_upstream', '-', '-', HOST, `127.0.0.1:${upstream.port}`, `outbound|${port}||${HOST}`],
  )

  istiod.write([service, telemetry({ providers: [{ name: 'errors' }], filter: { expression: 'response.code >= 500' } })])
  await eventually('the log of errors', async () => {
    await ask('/two', [['x-status', '503']])
    return linesOf(errorLog).length > 0
  })
  t.same(JSON.parse(linesOf(errorLog)[0] as string), { code: 503, path: '/two', who: `outbound|${port}||${HOST}` })
  await ask('/three')
  await ask('/four', [['x-status', '500']])
  const paths = (file: string): string => linesOf(file).join()
  await eventually('the next error', () => paths(errorLog).includes('/four'))
  t.notMatch(paths(errorLog), /three/)
  t.notMatch(paths(meshLog), /three|four/, 'the log of the mesh has nothing of it')

  istiod.write([service, telemetry({ providers: [{ name: 'envoy' }], disabled: true })])
  await eventually('no log at all', async () => {
    const [mesh, wrong] = [linesOf(meshLog).length, linesOf(errorLog).length]
    await ask('/five', [['x-status', '500']])
    await new Promise((resolve) => setTimeout(resolve, 300))
    return linesOf(meshLog).length === mesh && linesOf(errorLog).length === wrong
  })
  const complaints = proxy.stderr.split('\n').filter((l) => /Z (?:warning|error) /.test(l))
  t.same(complaints, [])
})
