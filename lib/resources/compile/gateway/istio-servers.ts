// Gateways of Istio and the VirtualServices that name them (istiod MergeGateways, buildGatewayHTTPRouteConfig).
import type { ResourceObject } from '../../resource-object.ts'
import { identityText } from '../../resource-object.ts'
import type { GatewayServerSpec, ServerTlsSpec } from '../../schema/gateway.ts'
import type { EffectiveRule } from '../destination-rules.ts'
import { isGatewayApi } from '../gateway-api/derived.ts'
import type { DestinationHashes } from '../hash-policies.ts'
import { hasLabels } from '../host-names.ts'
import type { Registry } from '../registry.ts'
import { gatewayName, isForClient, namesGateway, type RuleScope } from '../route-match.ts'
import type { Placement } from '../route-tables.ts'
import { compileRoutes } from '../routes.ts'
import type { VirtualServiceObject, VirtualServiceRules } from '../rules.ts'
import { chainToRoutes } from '../tcp-routes.ts'
import type { World } from '../world.ts'
import { type GatewayServer, intersection, type ServedBytes, type ServedDomain } from './server.ts'
import { GATEWAY_ALPN, serverTls } from './server-tls.ts'
import { sniChains } from './sni-passthrough.ts'

type Gateway = ResourceObject<'Gateway'>

export interface GatewaySource {
  readonly world: World
  /** Those bound to any gateway, in the order of precedence. */
  readonly virtualServices: readonly VirtualServiceRules[]
  readonly hashes: DestinationHashes
  /** All services that the gateway may reach, and the DestinationRules in force for them. */
  readonly registry: Registry
  readonly rules: ReadonlyMap<string, EffectiveRule>
  /** Filled: what each VirtualService got. */
  readonly placements: Placement[]
}

const PLAINTEXT_HTTP = new Set(['HTTP', 'HTTP2', 'GRPC', 'GRPC-WEB', 'HTTP_PROXY'])

/** The servers of all Gateways that select the workload, oldest first. */
export function istioServers(source: GatewaySource): GatewayServer[] {
  const { world } = source
  const bound = new Set<VirtualServiceObject>()
  const servers = world.objects('Gateway').flatMap((gateway): GatewayServer[] => {
    if (!hasLabels(world.client.labels, gateway.spec.selector ?? {})) {
      world.verdicts.waiting(gateway, 'waiting for a workload with the labels of its selector; this one has others')
      return []
    }
    return (gateway.spec.servers ?? []).flatMap((spec, i) => serverOf(source, gateway, spec, i, bound))
  })
  for (const { object } of source.virtualServices) if (!bound.has(object)) noteUnbound(world, object)
  return servers
}

function serverOf(
  source: GatewaySource,
  gateway: Gateway,
  spec: GatewayServerSpec,
  index: number,
  bound: Set<VirtualServiceObject>,
): GatewayServer[] {
  const { world } = source
  const path = ['servers', index]
  const protocol = (spec.port?.protocol ?? '').toUpperCase()
  const mode = spec.tls?.mode ?? 'PASSTHROUGH'
  if (protocol === 'UDP' || (spec.defaultEndpoint ?? '') !== '')
    world.verdicts.partly(gateway, path, protocol === 'UDP' ? 'UDP is not proxied' : '`defaultEndpoint` is not carried out', true)
  if (protocol === 'UDP') return []
  const encrypted = protocol === 'HTTPS' || protocol === 'TLS'
  const bySni = encrypted && mode === 'AUTO_PASSTHROUGH'
  const terminates = encrypted && mode !== 'PASSTHROUGH' && !bySni
  const kind = PLAINTEXT_HTTP.has(protocol) ? 'http' : !encrypted ? 'tcp' : terminates && protocol === 'HTTPS' ? 'https' : 'tls'
  const port = spec.port?.number ?? 0
  const fullName = `${gateway.namespace}/${gateway.name}`
  const scope: RuleScope = { gateway: fullName, encrypted }
  const tls = (t: ServerTlsSpec) => serverTls(world, gateway, [...path, 'tls'], t, kind === 'https' ? GATEWAY_ALPN : [])
  const site: Site = { source, gateway, spec, port, scope, bound }
  const requests = kind === 'http' || kind === 'https'
  return [
    {
      object: gateway,
      path,
      text: `${port} ${spec.port?.name ?? ''} of ${identityText(gateway)}`,
      port,
      bind: spec.bind ?? '',
      kind,
      grpcWeb: protocol === 'GRPC-WEB',
      hosts: (spec.hosts ?? []).map((host) => hostOf(host, gateway).host),
      tls: terminates && spec.tls !== undefined ? tls(spec.tls) : null,
      tableName:
        kind === 'https' ? `https.${port}.${spec.port?.name ?? ''}.${gateway.name}.${gateway.namespace}` : `http.${port}`,
      domains: requests ? domainsOf(site) : [],
      chains: requests ? [] : chainsOf(site, bySni, kind === 'tls' && !terminates),
      origin: gateway.origin(path),
    },
  ]
}

/** A server and what it takes rules from. */
interface Site {
  readonly source: GatewaySource
  readonly gateway: Gateway
  readonly spec: GatewayServerSpec
  readonly port: number
  readonly scope: RuleScope
  readonly bound: Set<VirtualServiceObject>
}

/** The rules that name this gateway, each with the hosts that the server lets it have. */
function* rulesFor(site: Site): IterableIterator<{ readonly rules: VirtualServiceRules; readonly hosts: readonly string[] }> {
  for (const rules of site.source.virtualServices) {
    const { object } = rules
    if (!namesGateway(object.spec.gateways ?? [], object.namespace, site.scope)) continue
    const hosts = hostsFor(site, rules)
    if (hosts.length === 0) continue
    site.bound.add(object)
    yield { rules, hosts }
  }
}

function hostsFor({ gateway, spec }: Site, { object, hosts }: VirtualServiceRules): string[] {
  const common = new Set<string>()
  for (const written of spec.hosts ?? []) {
    const { namespace, host } = hostOf(written, gateway)
    if (namespace !== '*' && namespace !== object.namespace) continue
    for (const own of hosts) {
      const both = intersection(host, own)
      if (both !== null) common.add(both)
    }
  }
  return [...common]
}

/** `ns/host`: for VirtualServices of that namespace, `.` being the Gateway's own. */
function hostOf(written: string, gateway: Gateway): { readonly namespace: string; readonly host: string } {
  const [first = '', second] = written.toLowerCase().split('/')
  if (second === undefined) return { namespace: '*', host: first }
  return { namespace: first === '.' ? gateway.namespace : first, host: second }
}

function domainsOf(site: Site): ServedDomain[] {
  const { source, gateway, spec, port, scope } = site
  const redirects = spec.tls?.httpsRedirect === true
  const domains: ServedDomain[] = []
  for (const { rules, hosts } of rulesFor(site)) {
    const routes = compileRoutes(source.world, rules, port, source.hashes, scope)
    if (routes.length === 0) continue
    source.placements.push({ rules, port, services: [], routes, scope })
    for (const domain of hosts) domains.push({ domain, routes, redirects, origin: rules.object.origin() })
  }
  // Also where nobody has a rule: a listener of the Gateway API keeps its host from those with a wildcard, and plaintext is sent to https.
  if (isGatewayApi(gateway) && !domains.some((d) => d.domain === hostOf(spec.hosts?.[0] ?? '*', gateway).host))
    domains.push({ domain: hostOf(spec.hosts?.[0] ?? '*', gateway).host, routes: [], redirects, origin: gateway.origin() })
  if (redirects)
    for (const written of spec.hosts ?? [])
      domains.push({ domain: hostOf(written, gateway).host, routes: [], redirects, origin: gateway.origin() })
  return domains
}

function chainsOf(site: Site, bySni: boolean, passesTls: boolean): ServedBytes[] {
  const { source, gateway, spec } = site
  if (!bySni) return passesTls ? tlsChains(site) : tcpChains(site)
  const hosts = (spec.hosts ?? []).map((host) => hostOf(host, gateway))
  return sniChains(source.registry, source.rules, hosts, gateway.origin())
}

/** TLS is passed on by the server name that it asks for. */
function tlsChains(site: Site): ServedBytes[] {
  const { source, port, scope } = site
  const { world, hashes } = source
  const chains: ServedBytes[] = []
  for (const { rules, hosts } of rulesFor(site)) {
    const { object } = rules
    for (const [i, { match = [], route = [] }] of (object.spec.tls ?? []).entries()) {
      for (const [k, m] of match.entries()) {
        if (!isForClient(m, world.client, port, object.namespace, scope)) continue
        const names = (m.sniHosts ?? []).map((s) => s.toLowerCase())
        const serverNames = [...new Set(names.flatMap((name) => hosts.flatMap((host) => intersection(name, host) ?? [])))]
        if (serverNames.length === 0) continue
        const network = chainToRoutes(world, route, object.namespace, port, hashes)
        chains.push({
          serverNames,
          applicationProtocols: [],
          ranges: m.destinationSubnets ?? [],
          network,
          origin: object.origin(['tls', i, 'match', k]),
        })
      }
    }
  }
  return chains
}

/** All connections go where the first rule that fits leads. */
function tcpChains(site: Site): ServedBytes[] {
  const { source, port, scope } = site
  const { world, hashes } = source
  for (const { rules } of rulesFor(site)) {
    const { object } = rules
    for (const [i, { match = [], route = [] }] of (object.spec.tcp ?? []).entries()) {
      if (match.length > 0 && !match.some((m) => isForClient(m, world.client, port, object.namespace, scope))) continue
      const network = chainToRoutes(world, route, object.namespace, port, hashes)
      return [{ serverNames: [], applicationProtocols: [], ranges: [], network, origin: object.origin(['tcp', i]) }]
    }
  }
  return []
}

function noteUnbound(world: World, object: VirtualServiceObject): void {
  const names = (object.spec.gateways ?? []).map((g) => gatewayName(g, object.namespace)).filter((g) => g !== 'mesh')
  const gateways = world.objects('Gateway').filter((g) => names.includes(`${g.namespace}/${g.name}`))
  const selected = gateways.filter((g) => hasLabels(world.client.labels, g.spec.selector ?? {}))
  const hosts = (object.spec.hosts ?? []).join(', ')
  if (world.servesMesh && (object.spec.gateways ?? []).includes('mesh')) return
  if (gateways.length === 0) world.verdicts.waiting(object, `waiting for the Gateway ${names.join(', ')}, which is not there`)
  else if (selected.length === 0)
    world.verdicts.waiting(object, `waiting for a workload that ${names.join(', ')} selects; this one has other labels`)
  else
    world.verdicts.waiting(
      object,
      `waiting for a server of ${names.join(', ')} that has one of its hosts for \`${object.namespace}\`: ${hosts}`,
    )
}
