// Where addresses of a name come from: the hosts file, then DNS with its TTL, then the system's resolver, which also knows
// search domains and what nsswitch.conf names. With servers of our own (mesh.dnsServers) these have the word in place of the system.
import { lookup, Resolver } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import type { DnsFamily } from '../state/cluster.ts'

export interface DnsAnswer {
  /** At least one, in the order of the answer. */
  readonly addresses: readonly string[]
  /** Milliseconds that the answer holds; null when nobody said. */
  readonly ttlMs: number | null
}

export interface DnsSource {
  /** Rejects when the name has no address of the family; the error's `code` says why. */
  resolve(host: string, family: DnsFamily): Promise<DnsAnswer>
}

/** The parts of node:dns/promises and the hosts file that are used; a test brings its own. */
export interface DnsSystem {
  resolve4(host: string): Promise<{ address: string; ttl: number }[]>
  resolve6(host: string): Promise<{ address: string; ttl: number }[]>
  lookup(host: string): Promise<string[]>
  hostsFile(): Promise<string>
}

/** `servers`: `address:port` each; empty: those of the system. Throws when one of them is no such thing. */
export function systemDns(servers: readonly string[] = []): DnsSystem {
  const resolver = new Resolver({ timeout: 2000, tries: 2 })
  if (servers.length > 0) resolver.setServers(servers)
  return {
    resolve4: (host) => resolver.resolve4(host, { ttl: true }),
    resolve6: (host) => resolver.resolve6(host, { ttl: true }),
    lookup: async (host) => (await lookup(host, { all: true, verbatim: false })).map((entry) => entry.address),
    hostsFile: () => readFile('/etc/hosts', 'utf8').catch(() => ''),
  }
}

/** `ownServers`: what they do not know is not asked of the system. */
export function dnsSource(system: DnsSystem = systemDns(), ownServers = false): DnsSource {
  return {
    async resolve(host, family) {
      const inHostsFile = namesHost(await system.hostsFile(), host)
      const viaSystem = inHostsFile || (!ownServers && !host.includes('.'))
      const { records, error } = viaSystem ? NOTHING : await recordsFor(system, host, family)
      if (records.length > 0) {
        return { addresses: records.map((r) => r.address), ttlMs: Math.min(...records.map((r) => r.ttl)) * 1000 }
      }
      if (ownServers && !inHostsFile) throw error ?? Object.assign(new Error(`no address for ${host}`), { code: 'ENODATA' })
      const addresses = ofFamily(await system.lookup(host), family)
      if (addresses.length === 0) throw Object.assign(new Error(`no address for ${host}`), { code: 'ENODATA' })
      return { addresses, ttlMs: null }
    },
  }
}

interface Records {
  readonly records: readonly { readonly address: string; readonly ttl: number }[]
  /** Why there are none. */
  readonly error: unknown
}

const NOTHING: Records = { records: [], error: null }

/** As Envoy: the family that is preferred, and the other one only when there is none of it, or never. */
async function recordsFor(system: DnsSystem, host: string, family: DnsFamily): Promise<Records> {
  const v4 = (): Promise<Records> => recordsOf(system.resolve4(host))
  const v6 = (): Promise<Records> => recordsOf(system.resolve6(host))
  if (family === 'V4_ONLY') return v4()
  if (family === 'V6_ONLY') return v6()
  if (family === 'ALL') {
    const [a, b] = await Promise.all([v4(), v6()])
    return { records: [...a.records, ...b.records], error: a.error ?? b.error }
  }
  const first = await (family === 'AUTO' ? v6() : v4())
  if (first.records.length > 0) return first
  const second = await (family === 'AUTO' ? v4() : v6())
  return second.records.length > 0 ? second : { records: [], error: first.error ?? second.error }
}

function recordsOf(answer: Promise<{ address: string; ttl: number }[]>): Promise<Records> {
  return answer.then(
    (records) => ({ records, error: null }),
    (error: unknown) => ({ records: [], error }),
  )
}

/** `localhost` is 127.0.0.1 and ::1, and few servers listen on both. */
function ofFamily(addresses: readonly string[], family: DnsFamily): readonly string[] {
  if (family === 'ALL') return addresses
  const v4 = addresses.filter((address) => !address.includes(':'))
  const v6 = addresses.filter((address) => address.includes(':'))
  if (family === 'V4_ONLY') return v4
  if (family === 'V6_ONLY') return v6
  const [first, second] = family === 'AUTO' ? [v6, v4] : [v4, v6]
  return first.length > 0 ? first : second
}

function namesHost(hostsFile: string, host: string): boolean {
  const wanted = host.toLowerCase()
  return hostsFile.split('\n').some((line) => {
    const [, ...names] = line.replace(/#.*/, '').trim().toLowerCase().split(/\s+/)
    return names.includes(wanted)
  })
}
