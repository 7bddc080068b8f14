// One match of an Authorization, ready to be asked: prefixes as numbers, ports as sets, null where nothing is set.
import { type IpNumber, type IpPrefix, PrefixSet, parseIp } from '../base/ip-prefix.ts'
import type { AttributeKind, AuthorizationMatch, ServiceAccountMatch, StringMatch } from '../state/authorization.ts'
import type { PeerIdentity } from '../state/peer-identity.ts'

/** What a tunnel knows of a connection. */
export interface L4Connection {
  /** As text, for those who ask why. */
  readonly source: string
  readonly destination: string
  readonly sourceIp: IpNumber | null
  /** Of the application, not the tunnel's. */
  readonly destinationIp: IpNumber | null
  readonly destinationPort: number
  /** null: it came without a certificate. */
  readonly identity: PeerIdentity | null
  /** The id without `spiffe://`; null: there is none. */
  readonly principal: string | null
}

export function l4Connection(
  source: string,
  destination: string,
  destinationPort: number,
  identity: PeerIdentity | null,
): L4Connection {
  const principal = identity?.id.startsWith('spiffe://') ? identity.id.slice(9) : null
  return {
    source,
    destination,
    sourceIp: parseIp(source),
    destinationIp: parseIp(destination),
    destinationPort,
    identity,
    principal,
  }
}

/** In the order of the bits of `L4Match.failures`. */
export const ATTRIBUTES: readonly AttributeKind[] = [
  'namespaces',
  'notNamespaces',
  'serviceAccounts',
  'notServiceAccounts',
  'principals',
  'notPrincipals',
  'sourceIps',
  'notSourceIps',
  'destinationIps',
  'notDestinationIps',
  'destinationPorts',
  'notDestinationPorts',
]

/** Of `failures`: nothing is set, and what says nothing fits nothing (ztunnel skips it). */
export const EMPTY_MATCH = 1 << ATTRIBUTES.length

export class L4Match {
  readonly match: AuthorizationMatch
  private readonly empty: boolean
  private readonly sourceIps: PrefixSet | null
  private readonly notSourceIps: PrefixSet | null
  private readonly destinationIps: PrefixSet | null
  private readonly notDestinationIps: PrefixSet | null

  constructor(match: AuthorizationMatch) {
    this.match = match
    this.empty = ATTRIBUTES.every((kind) => match[kind].length === 0)
    this.sourceIps = setOf(match.sourceIps)
    this.notSourceIps = setOf(match.notSourceIps)
    this.destinationIps = setOf(match.destinationIps)
    this.notDestinationIps = setOf(match.notDestinationIps)
  }

  /** A bit for each attribute that is set and does not hold, by its index in ATTRIBUTES, or EMPTY_MATCH; 0: it fits. */
  failures(c: L4Connection): number {
    if (this.empty) return EMPTY_MATCH
    const m = this.match
    const namespace = c.identity?.namespace ?? ''
    let bits = 0
    if (m.namespaces.length > 0 && !anyText(m.namespaces, namespace)) bits |= 1
    if (m.notNamespaces.length > 0 && anyText(m.notNamespaces, namespace)) bits |= 1 << 1
    if (m.serviceAccounts.length > 0 && !anyAccount(m.serviceAccounts, c.identity)) bits |= 1 << 2
    if (m.notServiceAccounts.length > 0 && anyAccount(m.notServiceAccounts, c.identity)) bits |= 1 << 3
    if (m.principals.length > 0 && !anyPrincipal(m.principals, c.principal)) bits |= 1 << 4
    if (m.notPrincipals.length > 0 && anyPrincipal(m.notPrincipals, c.principal)) bits |= 1 << 5
    if (this.sourceIps !== null && !has(this.sourceIps, c.sourceIp)) bits |= 1 << 6
    if (this.notSourceIps !== null && has(this.notSourceIps, c.sourceIp)) bits |= 1 << 7
    if (this.destinationIps !== null && !has(this.destinationIps, c.destinationIp)) bits |= 1 << 8
    if (this.notDestinationIps !== null && has(this.notDestinationIps, c.destinationIp)) bits |= 1 << 9
    if (m.destinationPorts.length > 0 && !m.destinationPorts.includes(c.destinationPort)) bits |= 1 << 10
    if (m.notDestinationPorts.length > 0 && m.notDestinationPorts.includes(c.destinationPort)) bits |= 1 << 11
    return bits
  }
}

/** Attributes of the bits of `failures`. */
export function attributesOf(bits: number): AttributeKind[] {
  return ATTRIBUTES.filter((_, i) => (bits & (1 << i)) !== 0)
}

function setOf(prefixes: readonly IpPrefix[]): PrefixSet | null {
  return prefixes.length === 0 ? null : new PrefixSet(prefixes)
}

function has(set: PrefixSet, ip: IpNumber | null): boolean {
  return ip !== null && set.contains(ip)
}

/** Without an identity there is no principal: whatever is asked of it does not fit. */
function anyPrincipal(list: readonly StringMatch[], principal: string | null): boolean {
  return principal !== null && anyText(list, principal)
}

function anyText(list: readonly StringMatch[], text: string): boolean {
  for (const match of list) if (textFits(match, text)) return true
  return false
}

function textFits(match: StringMatch, text: string): boolean {
  switch (match.kind) {
    case 'exact':
      return text === match.value
    case 'prefix':
      return text.startsWith(match.value)
    case 'suffix':
      return text.endsWith(match.value)
    case 'presence':
      return text !== ''
  }
}

function anyAccount(list: readonly ServiceAccountMatch[], identity: PeerIdentity | null): boolean {
  if (identity === null) return false
  for (const { namespace, serviceAccount } of list)
    if (identity.namespace === namespace && identity.serviceAccount === serviceAccount) return true
  return false
}
