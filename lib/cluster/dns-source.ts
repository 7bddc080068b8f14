// Where addresses of a name come from: the hosts file, then DNS with its TTL, then the system's resolver, which also knows
// search domains and what nsswitch.conf names. With servers of our own (mesh.dnsServers) these have the word in place of the system.
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
    async resolve(host) {
      const inHostsFile = namesHost(await system.hostsFile(), host)
      const viaSystem = inHostsFile || (!ownServers && !host.includes('.'))
      const { records, error } = viaSystem ? NOTHING : await records4Then6(system, host)
      if (records.length > 0) {
        return { addresses: records.map((r) => r.address), ttlMs: Math.min(...records.map((r) => r.ttl)) * 1000 }
      }
      if (ownServers && !inHostsFile) throw error ?? Object.assign(new Error(`no address for ${host}`), { code: 'ENODATA' })
      return { addresses: oneFamily(await system.lookup(host)), ttlMs: null }
    },
  }
}

interface Records {
  readonly records: readonly { readonly address: string; readonly ttl: number }[]
  /** Why there are none. */
  readonly error: unknown
}

const NOTHING: Records = { records: [], error: null }

/** As Envoy's V4_PREFERRED: IPv6 only when there is no IPv4. */
async function records4Then6(system: DnsSystem, host: string): Promise<Records> {
  const v4 = await recordsOf(system.resolve4(host))
  if (v4.records.length > 0) return v4
  const v6 = await recordsOf(system.resolve6(host))
  return v6.records.length > 0 ? v6 : { records: [], error: v4.error ?? v6.error }
}

function recordsOf(answer: Promise<{ address: string; ttl: number }[]>): Promise<Records> {
  return answer.then(
    (records) => ({ records, error: null }),
    (error: unknown) => ({ records: [], error }),
  )
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
