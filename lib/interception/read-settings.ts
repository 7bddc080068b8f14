// From what flags, environment and annotations say to settings. What is wrong is collected, each with who said it.

import { familyOf, parseCidr } from './cidr.ts'
import { type Given, type GivenSettings, givenText } from './given-settings.ts'
import type { Family } from './rule.ts'
import type { CaptureMode, Cidr, DnsCapture, OwnerGroups, PodSettings, SidecarSettings } from './settings.ts'

/** What of the machine decides about rules. */
export interface HostFacts {
  /** Whether an interface has an IPv6 address that is neither loopback nor link-local. */
  readonly ipv6: boolean
  /** Addresses of resolv.conf. */
  readonly nameservers: readonly string[]
  /** Number of a group, by /etc/group. */
  readonly groupId: (name: string) => number | null
}

export type ReadSettings<S> =
  | { readonly ok: true; readonly settings: S; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problems: readonly string[] }

export function readSidecarSettings(given: GivenSettings, facts: HostFacts): ReadSettings<SidecarSettings> {
  const r = new SettingsReader(given)
  const proxyUids = r.text('proxyUid') === '' ? [DEFAULT_PROXY_ID] : r.ids('proxyUid')
  const settings: SidecarSettings = {
    families: r.families(facts),
    outboundCapturePort: r.port('outboundCapturePort'),
    inboundCapturePort: r.port('inboundCapturePort'),
    inboundTunnelPort: r.port('inboundTunnelPort'),
    proxyUids,
    proxyGids: r.text('proxyGid') === '' ? proxyUids : r.ids('proxyGid'),
    mode: r.mode(),
    inboundPorts: r.text('inboundPorts') === '*' ? 'all' : r.ports('inboundPorts'),
    excludeInboundPorts: r.ports('excludeInboundPorts'),
    outboundRanges: r.text('outboundRanges') === '*' ? 'all' : r.ranges('outboundRanges'),
    excludeOutboundRanges: r.ranges('excludeOutboundRanges'),
    outboundPorts: r.ports('outboundPorts'),
    excludeOutboundPorts: r.ports('excludeOutboundPorts'),
    virtualInterfaces: r.interfaces('virtualInterfaces'),
    excludeInterfaces: r.interfaces('excludeInterfaces'),
    dns: r.dns(facts),
    dropInvalid: r.flag('dropInvalid'),
    tproxyMark: r.number('tproxyMark', 1, 0xffffffff),
    tproxyRouteTable: r.number('tproxyRouteTable', 1, 0xffffffff),
    loopback: r.loopback(),
    ownerGroups: r.ownerGroups(facts),
  }
  if (settings.inboundPorts !== 'all') r.uselessBeside('excludeInboundPorts', 'inboundPorts')
  return r.result(settings)
}

export function readPodSettings(given: GivenSettings, facts: HostFacts): ReadSettings<PodSettings> {
  const r = new SettingsReader(given)
  return r.result({
    families: r.families(facts),
    outboundCapturePort: r.port('outboundCapturePort'),
    inboundCapturePort: r.port('inboundCapturePort'),
    inboundTunnelPort: r.port('inboundTunnelPort'),
    virtualInterfaces: r.interfaces('virtualInterfaces'),
    captureDns: r.flag('ambientDns'),
    bypassInbound: r.flag('bypassInbound'),
    probeSource: { ipv4: r.address('probeSourceIpv4', 'ipv4'), ipv6: r.address('probeSourceIpv6', 'ipv6') },
  })
}

const TRUE = ['true', '1', 't', 'yes', 'on']
const FALSE = ['false', '0', 'f', 'no', 'off', '']
/** As the kernel limits names (IFNAMSIZ); a `+` at the end stands for any end. */
const INTERFACE = /^[A-Za-z0-9_.:@-]{1,15}\+?$/
const MAX_ID = 0xfffffffe
const DEFAULT_PROXY_ID = 1337

class SettingsReader {
  private readonly given: GivenSettings
  private readonly problems: string[]
  private readonly warnings: string[]

  constructor(given: GivenSettings) {
    this.given = given
    this.problems = []
    this.warnings = []
  }

  result<S>(settings: S): ReadSettings<S> {
    const { problems, warnings } = this
    return problems.length > 0 ? { ok: false, problems } : { ok: true, settings, warnings }
  }

  text(key: keyof GivenSettings): string {
    return this.given[key].text.trim()
  }

  flag(key: keyof GivenSettings): boolean {
    const text = this.text(key).toLowerCase()
    if (!TRUE.includes(text) && !FALSE.includes(text)) this.wrong(this.given[key], text, 'true or false')
    return TRUE.includes(text)
  }

  number(key: keyof GivenSettings, least: number, most: number): number {
    return this.numberOf(this.given[key], this.text(key), least, most, `a number from ${least} to ${most}`) ?? least
  }

  port(key: keyof GivenSettings): number {
    return this.numberOf(this.given[key], this.text(key), 1, 65535, 'a port') ?? 1
  }

  ports(key: keyof GivenSettings): number[] {
    return this.list(key, (item, from) => this.numberOf(from, item, 1, 65535, 'ports, separated by commas'))
  }

  ids(key: keyof GivenSettings): number[] {
    return this.list(key, (item, from) => this.numberOf(from, item, 0, MAX_ID, 'numbers, separated by commas'))
  }

  ranges(key: keyof GivenSettings): Cidr[] {
    return this.list(
      key,
      (item, from) => parseCidr(item) ?? this.wrong(from, item, 'ranges such as 10.0.0.0/8, separated by commas'),
    )
  }

  interfaces(key: keyof GivenSettings): string[] {
    const expected = 'names of network interfaces, separated by commas'
    return this.list(key, (item, from) => (INTERFACE.test(item) ? item : this.wrong(from, item, expected)))
  }

  address(key: keyof GivenSettings, family: Family): string {
    const text = this.text(key)
    const expected = `an ${family === 'ipv4' ? 'IPv4' : 'IPv6'} address`
    if (familyOf(text) !== family) this.wrong(this.given[key], text, expected)
    return parseCidr(text)?.text ?? ''
  }

  families(facts: HostFacts): readonly Family[] {
    const when = this.text('ipv6').toLowerCase()
    if (!['on', 'off', 'auto'].includes(when)) this.wrong(this.given.ipv6, when, 'on, off or auto')
    return when === 'on' || (when === 'auto' && facts.ipv6) ? ['ipv4', 'ipv6'] : ['ipv4']
  }

  mode(): CaptureMode {
    const mode = this.text('mode').toUpperCase()
    if (mode === 'TPROXY') return 'TPROXY'
    if (mode === 'NONE') this.say(this.given.mode, 'NONE means that there are no rules: leave the init container out')
    else if (mode !== 'REDIRECT' && mode !== '') this.wrong(this.given.mode, mode, 'REDIRECT or TPROXY')
    return 'REDIRECT'
  }

  loopback(): Cidr {
    const text = this.text('loopbackRange')
    const cidr = parseCidr(text)
    if (cidr?.family === 'ipv4' && cidr.loopback) return cidr
    this.wrong(this.given.loopbackRange, text, 'a range in 127.0.0.0/8')
    return { family: 'ipv4', text: '127.0.0.1/32', loopback: true }
  }

  dns({ nameservers }: HostFacts): DnsCapture {
    const all = this.flag('captureAllDns')
    if (!this.flag('redirectDns')) return { kind: 'off' }
    if (all) return { kind: 'all' }
    const ipv4 = nameservers.filter((address) => familyOf(address) === 'ipv4')
    const ipv6 = nameservers
      .filter((address) => familyOf(address) === 'ipv6')
      .map((a) => parseCidr(a)!.text.replace(/\/128$/, ''))
    if (ipv4.length + ipv6.length > 0) return { kind: 'servers', ipv4, ipv6 }
    this.warnings.push(`${givenText(this.given.redirectDns)}: resolv.conf names no server, so DNS is not captured`)
    return { kind: 'off' }
  }

  ownerGroups(facts: HostFacts): OwnerGroups {
    const groups = (key: 'ownerGroups' | 'excludeOwnerGroups') =>
      this.list(key, (item, from) => {
        if (/^\d+$/.test(item)) return this.numberOf(from, item, 0, MAX_ID, 'groups')
        return (
          facts.groupId(item) ?? this.wrong(from, item, 'groups that /etc/group knows, or their numbers, separated by commas')
        )
      })
    const excluded = groups('excludeOwnerGroups')
    if (this.text('ownerGroups') === '*') return { kind: 'all-but', gids: excluded }
    if (excluded.length > 0)
      this.say(this.given.excludeOwnerGroups, `cannot be said beside ${givenText(this.given.ownerGroups)}: one or the other`)
    // None of no groups would be everybody.
    if (this.text('ownerGroups') === '') this.wrong(this.given.ownerGroups, '', 'groups, or * for all')
    return { kind: 'only', gids: groups('ownerGroups') }
  }

  uselessBeside(key: keyof GivenSettings, other: keyof GivenSettings): void {
    if (this.given[key].from === null || this.text(key) === '') return
    this.warnings.push(`${givenText(this.given[key])} means nothing beside ${givenText(this.given[other])}, which names ports`)
  }

  private list<T extends string | number | Cidr>(key: keyof GivenSettings, read: (item: string, from: Given) => T | null): T[] {
    const items = this.text(key)
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '')
    return [...new Set(items)].flatMap((item) => read(item, this.given[key]) ?? [])
  }

  private numberOf(from: Given, text: string, least: number, most: number, expected: string): number | null {
    const n = /^(?:\d{1,10}|0x[0-9a-fA-F]{1,8})$/.test(text) ? Number(text) : Number.NaN
    return n >= least && n <= most ? n : this.wrong(from, text, expected)
  }

  private wrong(from: Given, text: string, expected: string): null {
    this.say(from, `expected ${expected}, got \`${text}\``)
    return null
  }

  private say(from: Given, problem: string): void {
    this.problems.push(`${givenText(from)}: ${problem}`)
  }
}
