// Which packet filter to use, of those that are installed.
import { findIptables, IptablesFilter, unusable } from './iptables-filter.ts'
import { NftFilter } from './nft-filter.ts'
import type { PacketFilter } from './packet-filter.ts'
import { InterceptionError, type RunCommand } from './system-command.ts'

/** iptables: of the kind that the system has chosen. auto: where rules of ours are already, else iptables, else nft. */
export type BackendName = 'auto' | 'iptables' | 'iptables-legacy' | 'iptables-nft' | 'nft'
export const BACKENDS: readonly BackendName[] = ['auto', 'iptables', 'iptables-legacy', 'iptables-nft', 'nft']

export interface Filters {
  readonly chosen: PacketFilter
  /** Where rules of ours may be too: they would be applied twice. */
  readonly others: readonly PacketFilter[]
}

/** Every filter that is installed. */
export async function installedFilters(run: RunCommand): Promise<readonly PacketFilter[]> {
  const filters: PacketFilter[] = (await findIptables(run)).map((programs) => new IptablesFilter(programs, run))
  if ((await run('nft', ['-v'])).code === 0) filters.push(new NftFilter(run))
  return filters
}

/** Throws InterceptionError where there is none. */
export async function chooseFilter(backend: BackendName, run: RunCommand): Promise<Filters> {
  const installed = await installedFilters(run)
  const chosen = backend === 'auto' ? await best(installed, run) : named(installed, backend)
  return { chosen, others: installed.filter((filter) => filter !== chosen) }
}

function named(installed: readonly PacketFilter[], backend: Exclude<BackendName, 'auto'>): PacketFilter {
  const found = installed.find(({ name }) => (backend === 'iptables' ? name.startsWith('iptables-') : name === backend))
  if (found !== undefined) return found
  const instead = installed.length === 0 ? '' : `; there is ${installed.map(({ name }) => name).join(' and ')}`
  throw new InterceptionError(`${backend} is not installed here${instead}`)
}

async function best(installed: readonly PacketFilter[], run: RunCommand): Promise<PacketFilter> {
  for (const filter of installed) if (await hasOurs(filter)) return filter
  const reasons: string[] = []
  for (const programs of await findIptables(run)) {
    const reason = await unusable(programs, run)
    if (reason === null) return installed.find(({ name }) => name === programs.name)!
    reasons.push(reason)
  }
  const nft = installed.find(({ name }) => name === 'nft')
  if (nft !== undefined) return nft
  throw new InterceptionError(
    reasons.length > 0 ? reasons.join('; ') : 'neither iptables nor nft is installed here (packages iptables, nftables)',
  )
}

async function hasOurs(filter: PacketFilter): Promise<boolean> {
  try {
    return (await filter.inspect(null)).verdict !== 'absent'
  } catch (error) {
    // It is tried, and its reason told, below.
    if (error instanceof InterceptionError) return false
    throw error
  }
}
