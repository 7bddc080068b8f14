// Where addresses of a name come from: the hosts file, then DNS with its TTL, then the system's resolver, which also knows
// search domains and what nsswitch.conf names.
import { lookup, Resolver } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'

export interface DnsAnswer {
  /** At least one, in the order of the answer. */
  readonly addresses: readonly string[]
  /** Milliseconds that the answer holds; null when nobody said. */
  readonly ttlMs: number | null
}

export interface DnsSource {
  /** Rejects when the name cannot be resolved; the error's `code` says why. */
  resolve(host: string): Promise<DnsAnswer>
}

/** The parts of node:dns/promises and the hosts file that are used; a test brings its own. */
export interface DnsSystem {
  resolve4(host: string): Promise<{ address: string; ttl: number }[]>
  resolve6(host: string): Promise<{ address: string; ttl: number }[]>
  lookup(host: string): Promise<string[]>
  hostsFile(): Promise<string>
}

export function systemDns(): DnsSystem {
  const resolver = new Resolver({ timeout: 2000, tries: 2 })
  return {
    resolve4: (host) => resolver.resolve4(host, { ttl: true }),
    resolve6: (host) => resolver.resolve6(host, { ttl: true }),
    lookup: async (host) => (await lookup(host, { all: true, verbatim: false })).map((entry) => entry.address),
    hostsFile: () => readFile('/etc/hosts', 'utf8').catch(() => ''),
  }
}

export function dnsSource(system: DnsSystem = systemDns()): DnsSource {
  return {
    async resolve(host) {
      const viaSystem = !host.includes('.') || namesHost(await system.hostsFile(), host)
      const records = viaSystem ? [] : await records4Then6(system, host)
      if (records.length === 0) return { addresses: oneFamily(await system.lookup(host)), ttlMs: null }
      return { addresses: records.map((r) => r.address), ttlMs: Math.min(...records.map((r) => r.ttl)) * 1000 }
    },
  }
}

/** As Envoy's V4_PREFERRED: IPv6 only when there is no IPv4. Empty on any failure: the system's resolver then has the word. */
async function records4Then6(system: DnsSystem, host: string): Promise<{ address: string; ttl: number }[]> {
  const v4 = await system.resolve4(host).catch(() => [])
  return v4.length > 0 ? v4 : await system.resolve6(host).catch(() => [])
}

/** `localhost` is 127.0.0.1 and ::1, and few servers listen on both. */
function oneFamily(addresses: readonly string[]): readonly string[] {
  const v4 = addresses.filter((address) => !address.includes(':'))
  return v4.length > 0 ? v4 : addresses
}

function namesHost(hostsFile: string, host: string): boolean {
  const wanted = host.toLowerCase()
  return hostsFile.split('\n').some((line) => {
    const [, ...names] = line.replace(/#.*/, '').trim().toLowerCase().split(/\s+/)
    return names.includes(wanted)
  })
}
