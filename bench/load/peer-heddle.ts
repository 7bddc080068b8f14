// heddle itself, with everything on that is on by default: metrics, access log, all limits, and a mesh of 101 VirtualServices.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startChild } from './child.ts'
import { hboneMeshYaml, meshYaml, OTHER_VIRTUAL_SERVICES } from './heddle-mesh.ts'
import type { Hop, Peer, PeerSite } from './peer.ts'
import { HOST, type Scenario } from './scenario.ts'
import { MORE_ADDRESSES } from './upstream.ts'

export interface HeddleOptions {
  readonly id: string
  /** The folder of a built checkout. */
  readonly root: string
  /** Worker threads. */
  readonly concurrency: number
  /** With everything that survives failures configured, while nothing fails. */
  readonly survives: boolean
  suits(scenario: Scenario): boolean
}

export function heddlePeer(options: HeddleOptions): Peer {
  const program = join(options.root, 'bin', 'heddle')
  return {
    id: options.id,
    setup: `concurrency ${options.concurrency}, metrics, access log to /dev/null, ${OTHER_VIRTUAL_SERVICES + 1} VirtualServices${options.survives ? ', retries, circuit breakers, outlier detection, localities, health checks' : ''}`,
    version: existsSync(program) ? versionOfCheckout(options.root) : null,
    install: `${program} is not there; npm run build in a complete checkout`,
    suits: options.suits,
    start(site) {
      mkdirSync(join(site.folder, 'mesh'), { recursive: true })
      writeFileSync(join(site.folder, 'mesh', 'bench.yaml'), resourcesYaml(site, options))
      const file = join(site.folder, 'heddle.yaml')
      writeFileSync(file, bootstrapYaml(site, options))
      return startChild({
        command: process.execPath,
        args: [program, 'run', '--config', file],
        core: site.core,
        env: environment(),
      })
    },
  }
}

function resourcesYaml({ hop, upstream, upstreamPort }: PeerSite, { survives, id }: HeddleOptions): string {
  if (hop?.protocol === 'hbone') return hboneMeshYaml(tunnelAddress(id), upstreamPort)
  return meshYaml(hop?.port ?? upstreamPort, hop?.protocol ?? upstream, survives, hop !== null)
}

/** HBONE has one port, so those that run at the same time have an address each. */
function tunnelAddress(id: string): string {
  return MORE_ADDRESSES[id === 'heddle-base' ? 1 : 0] ?? ''
}

function bootstrapYaml(site: PeerSite, options: HeddleOptions): string {
  const { concurrency, survives } = options
  const [admin = 0, health = 0] = site.sparePorts
  return `role: sidecar
workload: { namespace: bench, serviceAccount: client, labels: { app: client }, address: 127.0.0.1, locality: region1/zone1 }
concurrency: ${concurrency}
admin: { address: 127.0.0.1, port: ${admin} }
health: { address: 127.0.0.1, port: ${health} }
accessLog: { path: /dev/null, format: text }
resources: [ ./mesh ]
listeners:
  - { name: out, direction: outbound, address: 127.0.0.1, port: ${site.port}, ${site.hop?.protocol === 'hbone' ? `protocol: tcp, destination: "${HOST}:80"` : 'protocol: http'} }
${site.hop === null ? '' : secondHop(site.hop, site.upstreamPort, tunnelAddress(options.id))}${survives ? `healthChecks: [ { hosts: [ ${HOST} ], tcp: {}, interval: 1s } ]\n` : ''}`
}

/** For HBONE the sidecar's own listener for tunnels, and none of those for what is intercepted. */
function secondHop({ port, protocol, certificates: c }: Hop, upstreamPort: number, address: string): string {
  const way =
    protocol === 'hbone'
      ? `capture: { mode: redirect, address: ${address}, outboundPort: 0, inboundPort: 0, ports: { ${upstreamPort}: tcp } }`
      : `  - { name: hop, direction: inbound, protocol: http, address: 127.0.0.1, port: ${port}, forwardTo: "127.0.0.1:${upstreamPort}" }`
  return `${way}
identity:
  source: files
  files: { certificateChain: ${c.certificate}, privateKey: ${c.key}, roots: ${c.root} }
`
}

/** Without HEDDLE_… variables, which would override the file. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HEDDLE_')))
}

function versionOfCheckout(root: string): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return version
}
