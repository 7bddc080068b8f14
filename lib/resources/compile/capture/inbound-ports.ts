// Which ports the workload serves, and what it speaks there: by Services and ServiceEntries whose endpoint it is, else by its Sidecar's ingress
// alone; and what heddle.yaml adds.
import { canonicalIp } from '../../../base/ip-address.ts'
import type { ServedPort } from '../../../state/bootstrap-config.ts'
import type { Origin } from '../../../state/origin.ts'
import { identityText } from '../../resource-object.ts'
import type { SidecarIngressSpec } from '../../schema/sidecar.ts'
import type { Backend } from '../backends.ts'
import { hasLabels } from '../host-names.ts'
import type { ServedService } from '../inbound-cluster.ts'
import { type Protocol, serviceEntryProtocol } from '../protocol.ts'
import type { Registry, RegistryPort, RegistryService } from '../registry.ts'
import type { World } from '../world.ts'

/** A port of the application. */
export interface InboundPort {
  readonly port: number
  readonly protocol: Protocol
  /** null: nobody but heddle.yaml or a Sidecar knows of it. */
  readonly service: ServedService | null
  /** Of the service; else the same. */
  readonly servicePort: number
  /** Where it is reached: an address and port of this machine, or the path of a socket; null: where the client dialled. */
  readonly at: { readonly address: string; readonly port: number } | null
  readonly origin: Origin
}

/** In the order in which istiod lists them, one for each port. */
export function inboundPorts(world: World, registry: Registry): InboundPort[] {
  const ports = new Map<number, InboundPort>()
  const ingress = world.scope.object?.spec.ingress ?? []
  if (ingress.length > 0) for (const [i, entry] of ingress.entries()) addIngress(world, entry, i, ports)
  else for (const service of olderFirst(registry)) for (const port of service.ports) addService(world, service, port, ports)
  for (const { port, protocol } of world.bootstrap.capture.ports) {
    const { origin } = world.bootstrap.capture
    if (!ports.has(port))
      ports.set(port, { port, protocol: PROTOCOLS[protocol], service: null, servicePort: port, at: null, origin })
  }
  return [...ports.values()]
}

const PROTOCOLS: Readonly<Record<ServedPort['protocol'], Protocol>> = {
  http: 'HTTP',
  http2: 'HTTP2',
  grpc: 'GRPC',
  https: 'TLS',
  tls: 'TLS',
  tcp: 'TCP',
  auto: 'UNKNOWN',
}

function olderFirst(registry: Registry): RegistryService[] {
  return [...registry.values()].sort((a, b) =>
    a.object.createdMs === b.object.createdMs ? (a.hostname < b.hostname ? -1 : 1) : a.object.createdMs - b.object.createdMs,
  )
}

function addService(world: World, service: RegistryService, port: RegistryPort, ports: Map<number, InboundPort>): void {
  const target = targetPort(world, service, port)
  if (target === 0) return
  const other = ports.get(target)
  if (other === undefined) {
    const served = { host: service.hostname, name: service.name, namespace: service.namespace }
    const origin = port.object.origin()
    ports.set(target, { port: target, protocol: port.protocol, service: served, servicePort: port.number, at: null, origin })
  } else if (other.protocol !== port.protocol && other.service !== null) {
    const reason = `port ${target} of the workload is taken for what ${other.service.host}, which is older, declares it to be`
    world.verdicts.partly(port.object, ['ports'], reason, true)
  }
}

/** The port of the application behind a port of a service; 0: the workload is no endpoint of it. */
function targetPort(world: World, service: RegistryService, port: RegistryPort): number {
  const own = ownBackend(world, port.backends)
  if (own !== undefined) return own.port
  const { object } = service
  const { namespace, labels } = world.client
  if (object.namespace !== namespace) return 0
  const wanted = object.kind === 'Service' ? object.spec.selector : object.spec.workloadSelector?.labels
  if (wanted === undefined || Object.keys(wanted).length === 0 || !hasLabels(labels, wanted)) return 0
  // A name of a port is known from the endpoints that have it.
  return numericTarget(object, port) ?? port.backends[0]?.port ?? 0
}

function numericTarget(object: RegistryService['object'], { number, object: declarer }: RegistryPort): number | null {
  if (object.kind === 'Service') {
    const target = object.spec.ports?.find((p) => p.port === number)?.targetPort
    return target === undefined ? number : typeof target === 'number' ? target : null
  }
  if (declarer.kind !== 'ServiceEntry') return number
  return declarer.spec.ports?.find((p) => p.number === number)?.targetPort || number
}

/** The loopback is what heddle.yaml says by default, and nobody's address. */
function ownBackend(world: World, backends: readonly Backend[]): Backend | undefined {
  const own = canonicalIp(world.bootstrap.workload.address)
  return own === null || own === '127.0.0.1' ? undefined : backends.find((b) => canonicalIp(b.address) === own)
}

function addIngress(world: World, entry: SidecarIngressSpec, index: number, ports: Map<number, InboundPort>): void {
  const sidecar = world.scope.object
  if (sidecar === null) return
  const number = entry.port?.number ?? 0
  const protocol = serviceEntryProtocol(number, entry.port?.name ?? '', entry.port?.protocol ?? '')
  const note = (field: string, reason: string): void => world.verdicts.partly(sidecar, ['ingress', index, field], reason, true)
  if (entry.tls !== undefined) note('tls', "certificates of its own are not carried out yet: the mesh's are shown")
  if (entry.connectionPool !== undefined) note('connectionPool', 'limits for inbound traffic are not carried out yet')
  if ((entry.bind ?? '') !== '') note('bind', 'no address is bound: connections that are captured get here')
  if (ports.has(number)) note('port', `port ${number} is taken by an entry before: ${identityText(sidecar)} has it twice`)
  else {
    const written = entry.defaultEndpoint ?? ''
    const isAbstract = written.startsWith('unix:') && !written.startsWith('unix:///')
    if (isAbstract)
      note(
        'defaultEndpoint',
        `expected an absolute path, unix:///path, found "${written}": connections go on to where they were dialled`,
      )
    const at = isAbstract ? null : endpointOf(world, written)
    const origin = sidecar.origin(['ingress', index])
    ports.set(number, { port: number, protocol, service: null, servicePort: number, at, origin })
  }
}

/** `127.0.0.1:8080`, `[::1]:8080`, `unix:///path`; `0.0.0.0:8080` is the workload's own address. */
function endpointOf(world: World, text: string): InboundPort['at'] {
  if (text === '') return null
  if (text.startsWith('unix:')) return { address: text.slice('unix://'.length), port: 0 }
  const colon = text.lastIndexOf(':')
  const host = text.slice(0, colon).replace(/^\[|\]$/g, '')
  const port = Number(text.slice(colon + 1))
  return { address: host === '0.0.0.0' || host === '::' ? world.bootstrap.workload.address : host, port }
}
