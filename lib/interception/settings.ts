// What an operator can say about interception, checked and in the form that the rules are made from.
import { INBOUND_SOURCE_V4, INBOUND_SOURCE_V6 } from '../sys/outbound-socket.ts'
import type { Family } from './rule.ts'

/** `127.0.0.0/8` in its parts. `text` is how a rule names it: the network's address, then the length. */
export interface Cidr {
  readonly family: Family
  readonly text: string
  readonly loopback: boolean
}

/** How packets for the pod reach the proxy: rewritten to its port, or handed to it as they are. */
export type CaptureMode = 'REDIRECT' | 'TPROXY'

/** Whose DNS questions are taken: nobody's, those to the servers of resolv.conf, all to port 53. */
export type DnsCapture =
  | { readonly kind: 'off' }
  | { readonly kind: 'all' }
  | { readonly kind: 'servers'; readonly ipv4: readonly string[]; readonly ipv6: readonly string[] }

/** Which of the owners' groups are captured. */
export type OwnerGroups =
  | { readonly kind: 'all-but'; readonly gids: readonly number[] }
  | { readonly kind: 'only'; readonly gids: readonly number[] }

/** The rules of a pod whose proxy runs inside of it (istio-iptables). */
export interface SidecarSettings {
  readonly families: readonly Family[]
  readonly outboundCapturePort: number
  readonly inboundCapturePort: number
  /** HBONE: never captured. */
  readonly inboundTunnelPort: number
  readonly proxyUids: readonly number[]
  readonly proxyGids: readonly number[]
  readonly mode: CaptureMode
  /** Empty: nothing inbound is captured. */
  readonly inboundPorts: 'all' | readonly number[]
  /** Only where inboundPorts is `all`. */
  readonly excludeInboundPorts: readonly number[]
  /** Empty: nothing outbound is captured, except outboundPorts. */
  readonly outboundRanges: 'all' | readonly Cidr[]
  readonly excludeOutboundRanges: readonly Cidr[]
  readonly outboundPorts: readonly number[]
  readonly excludeOutboundPorts: readonly number[]
  /** What enters by these is treated as outbound: guests behind a bridge in the pod. */
  readonly virtualInterfaces: readonly string[]
  readonly excludeInterfaces: readonly string[]
  readonly dns: DnsCapture
  /** Drop what conntrack calls INVALID: late packets would otherwise be answered with a reset. */
  readonly dropInvalid: boolean
  readonly tproxyMark: number
  readonly tproxyRouteTable: number
  /** What counts as the application's own loopback in IPv4. */
  readonly loopback: Cidr
  readonly ownerGroups: OwnerGroups
}

/** The rules of a pod whose proxy is the node's tunnel, with sockets inside of the pod (Istio's ambient mode). */
export interface PodSettings {
  readonly families: readonly Family[]
  readonly outboundCapturePort: number
  readonly inboundCapturePort: number
  readonly inboundTunnelPort: number
  readonly virtualInterfaces: readonly string[]
  readonly captureDns: boolean
  /** For pods that are entrances to the mesh: what comes in is not captured. */
  readonly bypassInbound: boolean
  /** Where the probes of the node's kubelet come from; CIDRs of one address. */
  readonly probeSource: Readonly<Record<Family, string>>
}

/** Where DNS is answered. */
export const DNS_PORT = 15053
/** Where the proxy sends from when it delivers to the application: what tells that apart from a client's call to itself. */
export const INBOUND_SOURCE: Readonly<Record<Family, string>> = { ipv4: INBOUND_SOURCE_V4, ipv6: INBOUND_SOURCE_V6 }
/** On packets from the proxy's outbound side to its inbound side (TPROXY). */
export const OUTBOUND_MARK = 1338
/** On each packet of the node's tunnel, within `POD_MARK_MASK`. */
export const POD_MARK = 0x539
/** On connections that the tunnel made to the application, within `POD_MARK_MASK`. */
export const POD_CONNECTION_MARK = 0x111
export const POD_MARK_MASK = 0xfff
export const POD_ROUTE_TABLE = 100
export const POD_RULE_PRIORITY = 32764
