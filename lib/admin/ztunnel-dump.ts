// `/config_dump` of role node in ztunnel's shape, which `istioctl ztunnel-config` reads (istio istioctl/pkg/writer/ztunnel/configdump).
import { X509Certificate } from 'node:crypto'
import type { IpPrefix } from '../base/ip-prefix.ts'
import type { Authorization, AuthorizationMatch, StringMatch } from '../state/authorization.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import { type MeshService, serviceKey } from '../state/mesh-service.ts'
import type { GatewayAddress, NetworkAddress } from '../state/network-address.ts'
import type { PortMapping, Workload } from '../state/workload.ts'
import type { TunnelView } from './admin-source.ts'
import type { DumpedSecret } from './dumped-config.ts'
import { ztunnelConfig } from './ztunnel-config.ts'

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\n?/g
const SPIFFE = 'spiffe://'

/** What it was started with, and who says so. */
export interface DumpedSettings {
  readonly version: string
  readonly bootstrap: BootstrapConfig
}

/** `secrets`: of all identities, and the roots. */
export function ztunnelDump(
  { pods, world, node }: TunnelView,
  secrets: readonly DumpedSecret[],
  settings: DumpedSettings,
): object {
  const endpoints = endpointsOf(world.workloads, world.services)
  const roots = secrets.flatMap((s) => (s.chainPem === '' ? s.rootsPem : [])).join('\n')
  return {
    workloads: world.workloads.map(workloadJson),
    services: world.services.map((s) => serviceJson(s, endpoints.get(serviceKey(s)) ?? {})),
    policies: world.policies.map(policyJson),
    config: ztunnelConfig(settings.bootstrap, node),
    version: { version: settings.version },
    certificates: [
      ...secrets.flatMap((s) => (s.chainPem === '' ? [] : { name: s.name, chain: certificates(s.chainPem) })),
      ...pods.flatMap((p) => (p.hasCertificate || p.identity === '' ? [] : { name: p.identity, chain: [] })),
    ].map(({ name, chain }) => ({
      identity: name.startsWith(SPIFFE) ? name : (chain[0]?.identity ?? name),
      state: chain.length > 0 ? 'Available' : 'Initializing',
      certChain: chain.map(({ identity: _, ...rest }) => rest),
      rootCerts: certificates(roots).map(({ identity: _, ...rest }) => rest),
    })),
    workloadState: Object.fromEntries(
      pods.map(({ uid, name, namespace, serviceAccount, workload }) => [
        uid,
        { state: workload === '' ? 'Pending' : 'Up', info: { name, namespace, serviceAccount } },
      ]),
    ),
  }
}

function workloadJson(w: Workload): object {
  const {
    addresses,
    networkMode,
    healthy,
    waypoint,
    networkGateway,
    applicationTunnel,
    services,
    nativeTunnel,
    origin: _,
    ...rest
  } = w
  return {
    ...rest,
    workloadIps: addresses,
    networkMode: networkMode === 'HOST_NETWORK' ? 'HostNetwork' : 'Standard',
    status: statusOf(healthy),
    services: services.map((s) => s.service),
    ...(nativeTunnel ? { nativeTunnel } : {}),
    ...(waypoint === null ? {} : { waypoint: gateway(waypoint) }),
    ...(networkGateway === null ? {} : { networkGateway: gateway(networkGateway) }),
    ...(applicationTunnel === null ? {} : { applicationTunnel }),
  }
}

function serviceJson(s: MeshService, endpoints: object): object {
  const { name, namespace, hostname, vips, ports, subjectAltNames, waypoint, loadBalancing, ipFamilies, canonical } = s
  return {
    ...{ name, namespace, hostname, subjectAltNames, canonical, endpoints },
    vips: vips.map(networkText),
    ports: portsJson(ports),
    ipFamilies: ipFamilies === null ? '' : FAMILIES[ipFamilies],
    ...(waypoint === null ? {} : { waypoint: gateway(waypoint) }),
    ...(loadBalancing === null
      ? {}
      : {
          loadBalancer: {
            mode: words(loadBalancing.mode),
            routingPreferences: loadBalancing.scopes.map(words),
            healthPolicy: words(loadBalancing.healthPolicy),
          },
        }),
  }
}

const FAMILIES = { DUAL: 'Dual', IPV4: 'IPv4', IPV6: 'IPv6' } as const

/** By service, then by the workload's uid. */
function endpointsOf(workloads: readonly Workload[], services: readonly MeshService[]): Map<string, Record<string, object>> {
  const byUid = new Map(workloads.map((w) => [w.uid, w]))
  const all = new Map<string, Record<string, object>>()
  const add = (service: string, workloadUid: string, ports: readonly PortMapping[], healthy: boolean): void => {
    const known = all.get(service) ?? {}
    known[workloadUid] = { workloadUid, service, port: portsJson(ports), status: statusOf(healthy) }
    all.set(service, known)
  }
  for (const s of services)
    for (const { workloadUid, ports, healthy } of s.endpoints)
      if (byUid.has(workloadUid)) add(serviceKey(s), workloadUid, ports, healthy)
  for (const { uid, services: of, healthy } of workloads) for (const { service, ports } of of) add(service, uid, ports, healthy)
  return all
}

function policyJson({ name, namespace, scope, action, dryRun, rules }: Authorization): object {
  return {
    ...{ name, namespace, dryRun },
    scope: words(scope),
    action: words(action),
    rules: rules.map(({ clauses }) => clauses.map(({ matches }) => matches.map(matchJson))),
  }
}

function matchJson({ origin: _, ...attributes }: AuthorizationMatch): object {
  return Object.fromEntries(
    Object.entries(attributes).flatMap(([key, values]) => (values.length === 0 ? [] : [[key, values.map(valueJson)]])),
  )
}

function valueJson(value: StringMatch | IpPrefix | number | object): unknown {
  if (typeof value === 'number') return value
  if ('kind' in value) return value.kind === 'presence' ? { Presence: [] } : { [words(value.kind)]: value.value }
  return 'length' in value ? `${value.address}/${value.length}` : value
}

/** WORKLOAD_SELECTOR: WorkloadSelector. */
function words(text: string): string {
  return text.replace(/_?([a-z]+)/gi, (_, word: string) => `${word.charAt(0).toUpperCase()}${word.slice(1).toLowerCase()}`)
}

function statusOf(healthy: boolean): string {
  return healthy ? 'Healthy' : 'Unhealthy'
}

function portsJson(ports: readonly PortMapping[]): Record<string, number> {
  return Object.fromEntries(ports.map(({ servicePort, targetPort }) => [servicePort, targetPort]))
}

function gateway({ destination: d, hboneMtlsPort }: GatewayAddress): object {
  return { destination: d.kind === 'address' ? networkText(d) : `${d.namespace}/${d.hostname}`, hboneMtlsPort }
}

function networkText({ network, address }: NetworkAddress): string {
  return `${network}/${address}`
}

interface DumpedCertificate {
  readonly pem: string
  /** Decimal. */
  readonly serialNumber: string
  readonly validFrom: string
  readonly expirationTime: string
  readonly identity: string
}

/** What cannot be read is left out. */
function certificates(pem: string): DumpedCertificate[] {
  return (pem.match(PEM_CERTIFICATE) ?? []).flatMap((text) => {
    try {
      const c = new X509Certificate(text)
      const time = (of: string): string => new Date(of).toISOString().replace('.000Z', 'Z')
      return [
        {
          pem: Buffer.from(text).toString('base64'),
          serialNumber: BigInt(`0x${c.serialNumber}`).toString(),
          validFrom: time(c.validFrom),
          expirationTime: time(c.validTo),
          identity: /URI:(spiffe:[^,]+)/.exec(c.subjectAltName ?? '')?.[1] ?? '',
        },
      ]
    } catch {
      return []
    }
  })
}
