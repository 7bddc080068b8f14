// Texts of ztunnel's file that have a form of their own: addresses with a network, prefixes, choices, ports.
import { canonicalIp } from '../../base/ip-address.ts'
import { type IpPrefix, parsePrefix } from '../../base/ip-prefix.ts'
import { didYouMean } from '../../base/nearest.ts'
import type { StringMatch } from '../../state/authorization.ts'
import type { GatewayAddress, GatewayDestination, NetworkAddress } from '../../state/network-address.ts'
import type { PortMapping } from '../../state/workload.ts'
import type { Path, Report } from '../finding.ts'
import { found } from '../schema/fields.ts'
import type { LocalGateway } from './schema.ts'

const CHOICES = ['Exact', 'Prefix', 'Suffix', 'Presence'] as const
const KINDS = { Exact: 'exact', Prefix: 'prefix', Suffix: 'suffix' } as const

export function ipOf(text: string, path: Path, report: Report): string {
  const ip = canonicalIp(text)
  if (ip !== null) return ip
  report(path, `expected an IP address, found "${text}"`)
  return ''
}

/** `network/ip`; the default network has no name: `/10.0.0.1`. */
export function networkAddressOf(text: string, path: Path, report: Report): NetworkAddress {
  const slash = text.indexOf('/')
  const address = slash < 0 ? null : canonicalIp(text.slice(slash + 1))
  if (address !== null) return { network: text.slice(0, slash), address }
  const hint = canonicalIp(text) === null ? '' : `; for the default network write "/${text}"`
  report(path, `expected \`network/IP\`, found "${text}"${hint}`)
  return { network: '', address: '' }
}

export function prefixOf(text: string, path: Path, report: Report): IpPrefix {
  const prefix = parsePrefix(text)
  if (prefix !== null) return prefix
  const ip = canonicalIp(text)
  const hint = ip === null ? ', such as 10.0.0.0/8' : `; for one address write ${ip}/${ip.includes(':') ? 128 : 32}`
  report(path, `expected an address with the length of its prefix, found "${text}"${hint}`)
  return { address: '::', length: 128 }
}

export function portOf(value: number, least: 0 | 1, path: Path, report: Report): number {
  if (value < least || value > 65_535) report(path, `expected a port from ${least} to 65535, found ${value}`)
  return value
}

/** `{80: 8080}`. 0 as the target: the port has a name, and each endpoint has its own. */
export function portsOf(map: Readonly<Record<string, number>> | undefined, path: Path, report: Report): PortMapping[] {
  return Object.entries(map ?? {}).map(([key, targetPort]) => {
    const servicePort = /^\d{1,5}$/.test(key) ? Number(key) : 0
    if (servicePort < 1 || servicePort > 65_535)
      report([...path, key], `expected the number of a port from 1 to 65535, found \`${key}\``, true)
    return { servicePort, targetPort: portOf(targetPort, 0, [...path, key], report) }
  })
}

/** `namespace/hostname`. */
export function serviceNameOf(text: string, path: Path, report: Report, onKey = false): string {
  const [namespace = '', hostname = '', more] = text.split('/')
  if (namespace !== '' && hostname !== '' && more === undefined) return `${namespace}/${hostname.toLowerCase()}`
  report(path, `expected \`namespace/hostname\`, found "${text}"`, onKey)
  return text
}

export function gatewayOf(spec: LocalGateway | undefined, path: Path, report: Report): GatewayAddress | null {
  if (spec === undefined) return null
  const port = portOf(spec.hboneMtlsPort, 1, [...path, 'hboneMtlsPort'], report)
  return { destination: destinationOf(spec.destination, [...path, 'destination'], report), hboneMtlsPort: port }
}

/** One choice, as a tag or as a map of one key. */
export function stringMatchOf(value: unknown, path: Path, report: Report): StringMatch {
  const nothing: StringMatch = { kind: 'exact', value: '' }
  if (value === 'Presence') return { kind: 'presence' }
  const entries = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []
  const [entry] = entries
  if (entry === undefined || entries.length > 1) {
    const hint = typeof value === 'string' ? `; write !Exact ${JSON.stringify(value)}` : ''
    report(path, `expected one of !Exact, !Prefix, !Suffix and !Presence, found ${found(value)}${hint}`)
    return nothing
  }
  const [choice, text] = entry
  if (choice === 'Presence') return { kind: 'presence' }
  if (choice !== 'Exact' && choice !== 'Prefix' && choice !== 'Suffix')
    report([...path, choice], `expected one of ${CHOICES.join(', ')}, found \`${choice}\`${didYouMean(choice, CHOICES)}`, true)
  else if (typeof text !== 'string') report([...path, choice], `expected text, found ${found(text)}`)
  else return { kind: KINDS[choice], value: text }
  return nothing
}

/** ztunnel tries an address first, then a name. */
function destinationOf(text: string, path: Path, report: Report): GatewayDestination {
  const [first = '', rest = ''] = [text.slice(0, Math.max(0, text.indexOf('/'))), text.slice(text.indexOf('/') + 1)]
  const address = text.includes('/') ? canonicalIp(rest) : null
  if (address !== null) return { kind: 'address', network: first, address }
  if (first !== '' && rest !== '' && !rest.includes('/'))
    return { kind: 'hostname', namespace: first, hostname: rest.toLowerCase() }
  report(path, `expected \`namespace/hostname\` or \`network/IP\`, found "${text}"`)
  return { kind: 'hostname', namespace: '', hostname: '' }
}
