// The rules of a pod with a sidecar: those of istio-iptables, chain by chain and in its order, since the order decides.
//
// Two loops have to be avoided. What the proxy sends to others is told by its owner. What it delivers to the application goes to the
// pod's own address over the loopback interface, which is also what it does when it has chosen this pod as the endpoint of an outbound
// request; the first comes from 127.0.0.6 and goes straight through, the second is sent to the inbound side, so that the pod's own
// policies see it.

import { type Action, FAMILIES, type Family, FULL_MASK, type Match, type PolicyRoute, type RuleSet } from './rule.ts'
import {
  ACCEPT,
  connectionMarked,
  DROP,
  from,
  into,
  jump,
  marked,
  not,
  outOf,
  owner,
  RETURN,
  RuleSetBuilder,
  redirect,
  sentFrom,
  sentTo,
  TCP,
  to,
} from './rule-set-builder.ts'
import { type Cidr, DNS_PORT, INBOUND_SOURCE, OUTBOUND_MARK, type SidecarSettings } from './settings.ts'

const LO_OUT = outOf('lo')

export function sidecarRules(settings: SidecarSettings): RuleSet {
  const b = new RuleSetBuilder()
  virtualInterfaces(b, settings)
  excludedInterfaces(b, settings)
  if (settings.dropInvalid) {
    b.add('mangle', 'PREROUTING', [{ kind: 'state', states: ['INVALID'] }], jump('ISTIO_DROP'), 'packets of no known connection')
    b.add('mangle', 'ISTIO_DROP', [], DROP, 'silence, where a reset would end the connection')
  }
  redirects(b, settings)
  if (settings.inboundPorts === 'all' || settings.inboundPorts.length > 0) {
    if (settings.mode === 'TPROXY') inboundTproxy(b, settings)
    else inboundRedirect(b, settings)
  }
  outbound(b, settings)
  if (settings.mode === 'TPROXY') tproxyMarks(b, settings)
  const { families } = settings
  return {
    kind: 'sidecar',
    families,
    tables: b.build(),
    routes: families.flatMap((family) => routeOf(settings, family)),
    loopbackAddresses: families.includes('ipv6') ? [`${INBOUND_SOURCE.ipv6}/128`] : [],
  }
}

function routeOf(settings: SidecarSettings, family: Family): PolicyRoute[] {
  const captures = settings.inboundPorts === 'all' || settings.inboundPorts.length > 0
  if (settings.mode !== 'TPROXY' || !captures) return []
  return [{ family, mark: settings.tproxyMark, mask: FULL_MASK, table: settings.tproxyRouteTable, priority: null }]
}

function virtualInterfaces(b: RuleSetBuilder, { virtualInterfaces, outboundRanges }: SidecarSettings): void {
  for (const name of virtualInterfaces) {
    const insert = (family: Family | null, match: readonly Match[], action: Action, why: string) =>
      b.put('nat', 'PREROUTING', { family, match: [...match, into(name)], action, first: true, why })
    if (outboundRanges === 'all') insert(null, [], jump('ISTIO_REDIRECT'), `a guest behind ${name} calls out`)
    else
      for (const { family, text } of outboundRanges)
        insert(family, [sentTo(text)], jump('ISTIO_REDIRECT'), `a guest behind ${name} calls out`)
    insert(null, [], RETURN, `what else comes from ${name}`)
  }
}

function excludedInterfaces(b: RuleSetBuilder, { excludeInterfaces, mode }: SidecarSettings): void {
  for (const table of mode === 'TPROXY' ? (['nat', 'mangle'] as const) : (['nat'] as const)) {
    for (const name of excludeInterfaces) {
      b.add(table, 'PREROUTING', [into(name)], RETURN, `${name} is left alone`)
      b.add(table, 'OUTPUT', [outOf(name)], RETURN, `${name} is left alone`)
    }
  }
}

function redirects(b: RuleSetBuilder, settings: SidecarSettings): void {
  const { inboundTunnelPort, outboundCapturePort, inboundCapturePort } = settings
  b.add('nat', 'ISTIO_INBOUND', [to('tcp', inboundTunnelPort)], RETURN, 'HBONE reaches its listener as it is')
  b.add('nat', 'ISTIO_REDIRECT', [TCP], redirect(outboundCapturePort), "to the proxy's outbound side")
  b.add('nat', 'ISTIO_IN_REDIRECT', [TCP], redirect(inboundCapturePort), "to the proxy's inbound side")
}

function inboundRedirect(b: RuleSetBuilder, { inboundPorts, excludeInboundPorts }: SidecarSettings): void {
  b.add('nat', 'PREROUTING', [TCP], jump('ISTIO_INBOUND'), 'calls to this pod')
  if (inboundPorts === 'all') {
    for (const port of excludeInboundPorts) b.add('nat', 'ISTIO_INBOUND', [to('tcp', port)], RETURN, 'excluded inbound port')
    b.add('nat', 'ISTIO_INBOUND', [TCP], jump('ISTIO_IN_REDIRECT'), 'every other port')
    return
  }
  for (const port of inboundPorts) b.add('nat', 'ISTIO_INBOUND', [to('tcp', port)], jump('ISTIO_IN_REDIRECT'), 'captured port')
}

/** Packets stay as they are; a mark routes them to the loopback interface, where the transparent listener takes them. */
function inboundTproxy(b: RuleSetBuilder, settings: SidecarSettings): void {
  const { inboundPorts, excludeInboundPorts, inboundCapturePort, inboundTunnelPort, tproxyMark, loopback } = settings
  b.add('mangle', 'PREROUTING', [TCP], jump('ISTIO_INBOUND'), 'calls to this pod')
  const inbound = (match: readonly Match[], action: Action, why: string) => b.add('mangle', 'ISTIO_INBOUND', match, action, why)
  inbound([TCP, marked(tproxyMark)], RETURN, 'the proxy delivers to the application')
  for (const family of FAMILIES)
    b.addFor(
      family,
      'mangle',
      'ISTIO_INBOUND',
      [sentFrom(host(INBOUND_SOURCE[family], family)), into('lo'), TCP],
      RETURN,
      'the proxy delivers without the client address',
    )
  inbound([into('lo'), TCP, not(marked(OUTBOUND_MARK))], RETURN, 'the application calls itself')
  // istio-iptables has no such rule in this mode, and its HBONE listener gets nothing then.
  inbound([to('tcp', inboundTunnelPort)], RETURN, 'HBONE reaches its listener as it is')
  if (inboundPorts === 'all') for (const port of excludeInboundPorts) inbound([to('tcp', port)], RETURN, 'excluded inbound port')
  const established: Match = { kind: 'state', states: ['RELATED', 'ESTABLISHED'] }
  for (const match of inboundPorts === 'all' ? [TCP] : inboundPorts.map((port) => to('tcp', port))) {
    inbound([match, established], jump('ISTIO_DIVERT'), 'more of a connection that the proxy has')
    inbound([match], jump('ISTIO_TPROXY'), 'a new connection')
  }
  b.add('mangle', 'ISTIO_DIVERT', [], { kind: 'set-mark', value: tproxyMark }, 'routed to lo, where its socket is')
  b.add('mangle', 'ISTIO_DIVERT', [], ACCEPT, 'done')
  for (const family of FAMILIES)
    b.addFor(
      family,
      'mangle',
      'ISTIO_TPROXY',
      [not(sentTo(loopbackOf(loopback, family))), TCP],
      { kind: 'tproxy', port: inboundCapturePort, mark: tproxyMark },
      "to the proxy's inbound side, as it is",
    )
}

function outbound(b: RuleSetBuilder, settings: SidecarSettings): void {
  const { dns, ownerGroups, loopback } = settings
  const add = (match: readonly Match[], action: Action, why: string) => b.add('nat', 'ISTIO_OUTPUT', match, action, why)
  const addFor = (family: Family, match: readonly Match[], action: Action, why: string) =>
    b.addFor(family, 'nat', 'ISTIO_OUTPUT', match, action, why)
  b.add('nat', 'OUTPUT', [], jump('ISTIO_OUTPUT'), 'whatever is sent from this pod')
  for (const port of settings.excludeOutboundPorts) {
    add([to('tcp', port)], RETURN, 'excluded outbound port')
    add([to('udp', port)], RETURN, 'excluded outbound port')
  }
  for (const family of FAMILIES)
    addFor(family, [sentFrom(host(INBOUND_SOURCE[family], family)), LO_OUT], RETURN, 'the proxy delivers to the application')
  for (const id of settings.proxyUids) ownTraffic(b, settings, 'uid', id)
  for (const id of settings.proxyGids) ownTraffic(b, settings, 'gid', id)
  if (ownerGroups.kind === 'only') {
    const none = ownerGroups.gids.map((id) => not(owner('gid', id)))
    add(none, RETURN, 'of none of the captured groups')
  } else for (const id of ownerGroups.gids) add([owner('gid', id)], RETURN, 'excluded group')
  if (dns.kind !== 'off') captureDns(b, settings)
  for (const family of FAMILIES) addFor(family, [sentTo(loopbackOf(loopback, family))], RETURN, 'the application calls localhost')
  for (const { family, text } of settings.excludeOutboundRanges) addFor(family, [sentTo(text)], RETURN, 'excluded range')
  for (const port of settings.outboundPorts) add([to('tcp', port)], jump('ISTIO_REDIRECT'), 'captured port')
  if (settings.outboundRanges === 'all') add([], jump('ISTIO_REDIRECT'), 'the application calls out')
  else
    for (const { family, text } of settings.outboundRanges)
      addFor(family, [sentTo(text)], jump('ISTIO_REDIRECT'), 'the application calls out')
}

/** Three rules for each of the proxy's users and groups. */
function ownTraffic(b: RuleSetBuilder, settings: SidecarSettings, by: 'uid' | 'gid', id: number): void {
  const { dns, inboundTunnelPort, loopback, outboundRanges } = settings
  const proxy = owner(by, id)
  const capturesDns = dns.kind !== 'off'
  // Without the exception for users, the proxy's own questions to a resolver in this pod would come to its inbound side.
  const direct = capturesDns && by === 'uid' ? to('tcp', 53, inboundTunnelPort) : to('tcp', inboundTunnelPort)
  for (const family of FAMILIES)
    b.addFor(
      family,
      'nat',
      'ISTIO_OUTPUT',
      [not(sentTo(loopbackOf(loopback, family))), LO_OUT, not(direct), proxy],
      jump('ISTIO_IN_REDIRECT'),
      'the proxy has chosen this pod as the endpoint: its inbound policies apply',
    )
  // Who captures loopback addresses by name means them.
  if (outboundRanges === 'all' || !outboundRanges.some((range) => range.loopback)) {
    const match = capturesDns ? [LO_OUT, not(to('tcp', 53)), not(proxy)] : [LO_OUT, not(proxy)]
    b.add('nat', 'ISTIO_OUTPUT', match, RETURN, 'the application calls its own pod')
  }
  b.add('nat', 'ISTIO_OUTPUT', [proxy], RETURN, 'the proxy calls out')
}

/**
 * Questions of the application to the resolver become questions to the proxy, which asks the same resolver. Both have the same
 * addresses and ports then, so they live in conntrack zones of their own: 1 between proxy and resolver, 2 between application and proxy.
 */
function captureDns(b: RuleSetBuilder, settings: SidecarSettings): void {
  const { dns, proxyUids, proxyGids } = settings
  const zone = (n: number): Action => ({ kind: 'zone', zone: n })
  b.add('raw', 'OUTPUT', [], jump('ISTIO_OUTPUT_DNS'), 'DNS has conntrack zones of its own')
  const owners = [...proxyUids.map((id) => owner('uid', id)), ...proxyGids.map((id) => owner('gid', id))]
  for (const proxy of owners) {
    b.add('raw', 'ISTIO_OUTPUT_DNS', [to('udp', 53), proxy], zone(1), 'the proxy asks a resolver')
    b.add('raw', 'ISTIO_OUTPUT_DNS', [from('udp', DNS_PORT), proxy], zone(2), 'the proxy answers')
  }
  const servers: readonly { readonly family: Family | null; readonly address: string | null }[] =
    dns.kind === 'servers'
      ? [
          ...dns.ipv4.map((address) => ({ family: 'ipv4' as const, address: host(address, 'ipv4') })),
          ...dns.ipv6.map((address) => ({ family: 'ipv6' as const, address: host(address, 'ipv6') })),
        ]
      : [{ family: null, address: null }]
  for (const family of new Set(servers.map((s) => s.family))) {
    const put = (table: 'nat' | 'raw', chain: 'ISTIO_OUTPUT' | 'PREROUTING', action: Action, why: string) =>
      b.put(table, chain, { family, match: [], action, first: false, why })
    put('nat', 'ISTIO_OUTPUT', jump('ISTIO_OUTPUT_DNS'), 'is it a question to a resolver?')
    put('raw', 'PREROUTING', jump('ISTIO_INBOUND'), 'DNS has conntrack zones of its own')
  }
  for (const protocol of ['tcp', 'udp'] as const)
    for (const { family, address } of servers) {
      const match = address === null ? [to(protocol, 53)] : [sentTo(address), to(protocol, 53)]
      b.put('nat', 'ISTIO_OUTPUT_DNS', { family, match, action: redirect(DNS_PORT), first: false, why: 'to the proxy' })
    }
  for (const { family, address } of servers) {
    const ask = address === null ? [to('udp', 53)] : [sentTo(address), to('udp', 53)]
    const answer = address === null ? [from('udp', 53)] : [sentFrom(address), from('udp', 53)]
    b.put('raw', 'ISTIO_OUTPUT_DNS', { family, match: ask, action: zone(2), first: false, why: 'the application asks' })
    b.put('raw', 'ISTIO_INBOUND', { family, match: answer, action: zone(1), first: false, why: 'a resolver answers the proxy' })
  }
}

/** What of a connection is marked, so that the application's answers to a client's address find their way back into the proxy. */
function tproxyMarks(b: RuleSetBuilder, { tproxyMark, proxyUids, proxyGids, loopback }: SidecarSettings): void {
  b.add('mangle', 'PREROUTING', [TCP, marked(tproxyMark)], { kind: 'save-mark' }, 'the proxy delivers: the connection is marked')
  b.add('mangle', 'OUTPUT', [LO_OUT, TCP, marked(tproxyMark)], RETURN, 'the proxy delivers with the client address')
  const owners = [...proxyUids.map((id) => owner('uid', id)), ...proxyGids.map((id) => owner('gid', id))]
  for (const proxy of owners)
    for (const family of FAMILIES)
      b.addFor(
        family,
        'mangle',
        'OUTPUT',
        [not(sentTo(loopbackOf(loopback, family))), LO_OUT, TCP, proxy],
        { kind: 'set-mark', value: OUTBOUND_MARK },
        'the proxy has chosen this pod as the endpoint',
      )
  b.add('mangle', 'OUTPUT', [TCP, connectionMarked(tproxyMark)], { kind: 'restore-mark' }, 'answers are routed back to the proxy')
}

function loopbackOf(ipv4: Cidr, family: Family): string {
  return family === 'ipv4' ? ipv4.text : '::1/128'
}

function host(address: string, family: Family): string {
  return `${address}/${family === 'ipv4' ? 32 : 128}`
}
