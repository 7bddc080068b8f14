// The same resources for heddle and for Envoy, each with a control plane and a port of its own: what a connection or a request comes to is to be the same.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Envoy, findEnvoy } from './envoy.ts'
import { eventually } from './eventually.ts'
import { FakeControlPlane } from './fake-control-plane.ts'
import { freePort } from './free-port.ts'
import { type HeddleProcess, startProxy } from './proxy.ts'
import type { Teardown } from './teardown.ts'

export interface FedProxy {
  readonly name: 'heddle' | 'Envoy'
  readonly port: number
  readonly plane: FakeControlPlane
  readonly admin: (target: string) => Promise<{ readonly status: number; readonly body: string }>
  /** Lines so far, with the fields of `LOGGED`. */
  readonly logged: (count: number) => Promise<readonly Readonly<Record<string, unknown>>[]>
}

/** What both have to say of a connection. */
export const LOGGED = {
  response_flags: '%RESPONSE_FLAGS%',
  response_code: '%RESPONSE_CODE%',
  upstream_host: '%UPSTREAM_HOST%',
  upstream_cluster: '%UPSTREAM_CLUSTER_RAW%',
  connection_termination_details: '%CONNECTION_TERMINATION_DETAILS%',
  upstream_transport_failure_reason: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
} as const

export interface World {
  /** Who is fed. */
  readonly name: FedProxy['name']
  readonly plane: FakeControlPlane
  readonly port: number
  /** For `access_log` of the filter that is asked. */
  readonly accessLog: readonly object[]
}

/** `build` puts into the plane what listens on the port. Without an Envoy, or `alone`, it is heddle. */
export async function fedPair(
  t: Teardown,
  build: (world: World) => void,
  { alone = false }: { readonly alone?: boolean } = {},
): Promise<readonly FedProxy[]> {
  const heddle = await fedHeddle(t, build)
  return alone || findEnvoy() === null ? [heddle] : [heddle, await fedEnvoy(t, build)]
}

async function fedHeddle(t: Teardown, build: (world: World) => void): Promise<FedProxy> {
  const plane = await FakeControlPlane.start(t)
  const port = await freePort()
  build({ name: 'heddle', plane, port, accessLog: [] })
  const proxy: HeddleProcess = await startProxy(t, {
    listeners: [],
    bootstrap: { role: 'gateway', resources: [], xds: { address: plane.hostAndPort, transport: 'plaintext' } },
  })
  const logged = (count: number) =>
    eventually(`${count} lines of heddle`, () => {
      const lines = proxy.accessLog()
      return lines.length >= count ? lines.map(picked) : null
    })
  return { name: 'heddle', port, plane, admin: (target) => proxy.admin(target), logged: logged as FedProxy['logged'] }
}

async function fedEnvoy(t: Teardown, build: (world: World) => void): Promise<FedProxy> {
  const plane = await FakeControlPlane.start(t)
  const port = await freePort()
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-pair-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = path.join(folder, 'access.log')
  const typed_config = {
    '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
    path: file,
    log_format: { json_format: LOGGED },
  }
  build({ name: 'Envoy', plane, port, accessLog: [{ name: 'file', typed_config }] })
  const { host, port: planePort } = splitAddress(plane.hostAndPort)
  const envoy = await Envoy.fed(t, {
    host,
    port: planePort,
    nodeId: 'router~127.0.0.1~pair.default~default.svc.cluster.local',
  }).catch((error: Error) => {
    const refused = plane.said.filter((s) => s.kind === 'NACK').map((s) => s.error)
    throw new Error(
      refused.length === 0
        ? `${error.message}; it said ${JSON.stringify(plane.said.map((s) => [s.typeUrl, s.kind]))}`
        : `Envoy refuses: ${refused.join('; ')}`,
    )
  })
  const logged = (count: number) =>
    eventually(`${count} lines of Envoy`, () => {
      const lines = readFileSync(file, 'utf8').trim().split('\n')
      return lines.length >= count ? lines.map((line) => picked(JSON.parse(line) as Record<string, unknown>)) : null
    })
  return { name: 'Envoy', port, plane, admin: (target) => envoy.admin(target), logged: logged as FedProxy['logged'] }
}

/** A dash is nothing, too. */
function picked(line: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const value = (key: string): unknown => (line[key] === '-' || line[key] === undefined ? null : line[key])
  return Object.fromEntries(Object.keys(LOGGED).map((key) => [key, value(key)]))
}

function splitAddress(text: string): { readonly host: string; readonly port: number } {
  const colon = text.lastIndexOf(':')
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) }
}
