// The rules of a pod without a proxy of its own: the node's tunnel has sockets in the pod's network namespace. They are those that
// Istio's CNI agent makes for its ambient mode. There is no user to tell the tunnel by; every packet that it sends has a mark.
//
// The tunnel connects to the application with the client's address. Answers to it would leave the pod: the mark that the connection
// got when the tunnel's packet came in is put on them, and a route of its own leads packets so marked to the loopback interface.
import { type Action, type ChainName, FAMILIES, type Family, type Match, type RuleSet } from './rule.ts'
import {
  ACCEPT,
  connectionMarked,
  from,
  into,
  jump,
  marked,
  not,
  outOf,
  RETURN,
  RuleSetBuilder,
  redirect,
  sentFrom,
  sentTo,
  TCP,
  to,
} from './rule-set-builder.ts'
import {
  DNS_PORT,
  POD_CONNECTION_MARK,
  POD_MARK,
  POD_MARK_MASK,
  POD_ROUTE_TABLE,
  POD_RULE_PRIORITY,
  type PodSettings,
} from './settings.ts'

const TUNNEL = marked(POD_MARK, POD_MARK_MASK)
const LOOPBACK: Readonly<Record<Family, string>> = { ipv4: '127.0.0.1/32', ipv6: '::1/128' }

export function podRules(settings: PodSettings): RuleSet {
  const b = new RuleSetBuilder()
  mangle(b)
  natInbound(b, settings)
  natOutbound(b, settings)
  if (settings.captureDns) {
    const zone: Action = { kind: 'zone', zone: 1 }
    b.add('raw', 'PREROUTING', [], jump('ISTIO_PRERT'), 'DNS has a conntrack zone of its own')
    b.add('raw', 'OUTPUT', [], jump('ISTIO_OUTPUT'), 'DNS has a conntrack zone of its own')
    b.add('raw', 'ISTIO_PRERT', [from('udp', 53), not(TUNNEL)], zone, 'a resolver answers the tunnel')
    b.add('raw', 'ISTIO_OUTPUT', [to('udp', 53), TUNNEL], zone, 'the tunnel asks a resolver')
  }
  return {
    kind: 'pod',
    families: settings.families,
    tables: b.build(),
    routes: settings.families.map((family) => ({
      family,
      mark: POD_CONNECTION_MARK,
      mask: POD_MARK_MASK,
      table: POD_ROUTE_TABLE,
      priority: POD_RULE_PRIORITY,
    })),
    loopbackAddresses: [],
  }
}

function mangle(b: RuleSetBuilder): void {
  b.add('mangle', 'PREROUTING', [], jump('ISTIO_PRERT'), 'whatever comes in')
  b.add('mangle', 'OUTPUT', [], jump('ISTIO_OUTPUT'), 'whatever is sent')
  const mark: Action = { kind: 'set-connection-mark', value: POD_CONNECTION_MARK, mask: POD_MARK_MASK }
  b.add('mangle', 'ISTIO_PRERT', [TUNNEL], mark, 'the tunnel delivers: the connection is marked')
  const connection = connectionMarked(POD_CONNECTION_MARK, POD_MARK_MASK)
  b.add('mangle', 'ISTIO_OUTPUT', [connection], { kind: 'restore-mark' }, 'answers are routed back to the tunnel')
}

function natInbound(b: RuleSetBuilder, settings: PodSettings): void {
  const { virtualInterfaces, bypassInbound, probeSource, inboundTunnelPort, inboundCapturePort, outboundCapturePort } = settings
  b.add('nat', 'PREROUTING', [], jump('ISTIO_PRERT'), 'calls to this pod')
  for (const name of virtualInterfaces) {
    b.add('nat', 'ISTIO_PRERT', [into(name), TCP], redirect(outboundCapturePort), `a guest behind ${name} calls out`)
    b.add('nat', 'ISTIO_PRERT', [into(name), TCP], RETURN, `what else comes from ${name}`)
  }
  if (bypassInbound) return
  const plainText = (family: Family) => [not(sentTo(LOOPBACK[family])), not(to('tcp', inboundTunnelPort)), not(TUNNEL)]
  inEach(b, 'ISTIO_PRERT', (family) => [sentFrom(probeSource[family]), TCP], ACCEPT, 'a probe of the kubelet')
  inEach(b, 'ISTIO_PRERT', plainText, redirect(inboundCapturePort), 'plain text goes to the tunnel; HBONE comes there by itself')
}

function natOutbound(b: RuleSetBuilder, settings: PodSettings): void {
  const { probeSource, captureDns, outboundCapturePort } = settings
  const elsewhere = (family: Family) => not(sentTo(LOOPBACK[family]))
  b.add('nat', 'OUTPUT', [], jump('ISTIO_OUTPUT'), 'whatever is sent from this pod')
  inEach(b, 'ISTIO_OUTPUT', (family) => [sentTo(probeSource[family]), TCP], ACCEPT, 'to the kubelet')
  if (captureDns) {
    const toTunnel = redirect(DNS_PORT)
    b.add('nat', 'ISTIO_OUTPUT', [not(outOf('lo')), to('udp', 53), not(TUNNEL)], toTunnel, 'the application asks a resolver')
    inEach(b, 'ISTIO_OUTPUT', (f) => [elsewhere(f), to('tcp', 53), not(TUNNEL)], toTunnel, 'the application asks a resolver')
  }
  const answer = marked(POD_CONNECTION_MARK, POD_MARK_MASK)
  b.add('nat', 'ISTIO_OUTPUT', [TCP, answer], ACCEPT, 'the application answers the tunnel')
  inEach(b, 'ISTIO_OUTPUT', (f) => [elsewhere(f), outOf('lo')], ACCEPT, 'the application calls its own pod')
  inEach(b, 'ISTIO_OUTPUT', (f) => [elsewhere(f), TCP, not(TUNNEL)], redirect(outboundCapturePort), 'the application calls out')
}

/** A rule of the table nat that names an address: one for each family. */
function inEach(
  b: RuleSetBuilder,
  chain: ChainName,
  match: (family: Family) => readonly Match[],
  action: Action,
  why: string,
): void {
  for (const family of FAMILIES) b.addFor(family, 'nat', chain, match(family), action, why)
}
