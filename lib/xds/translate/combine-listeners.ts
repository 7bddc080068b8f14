// All listeners of a proxy beside each other: tables that they carry have names of their own, and the ends of tunnels know the names that lead through them. What
// needs no change stays the object that it is; what does becomes the same object each time.
import type { FilterChain, Listener } from '../../state/listener.ts'
import type { RouteTable } from '../../state/route.ts'
import type { TranslatedListener } from './listener.ts'

export interface CombinedListeners {
  /** In the order in which they were given; without those that are not complete. */
  readonly listeners: readonly Listener[]
  /** What they carry, each name once; beside them are those of RDS, with other names. */
  readonly inlineTables: readonly RouteTable[]
}

interface Adapted {
  /** What of the surroundings was put in. */
  readonly key: string
  readonly listener: Listener
}

/** What was made last of a listener, for one that is as it was among others that are. */
const adapted = new WeakMap<Listener, Adapted>()

export function combineListeners(all: readonly TranslatedListener[]): CombinedListeners {
  const fetched = new Set(all.flatMap((l) => l.routeNames))
  const tables = new Map<string, { readonly bytes: Uint8Array; readonly table: RouteTable }>()
  const listeners: Listener[] = []
  for (const { listener, parts } of all) {
    if (listener === null) continue
    const renamed = new Map<string, string>()
    for (const { bytes, table } of parts.inline) {
      const other = tables.get(table.name)
      if (other === undefined && !fetched.has(table.name)) tables.set(table.name, { bytes, table })
      else if (other === undefined || Buffer.compare(other.bytes, bytes) !== 0) {
        const name = `${table.name} of ${listener.name}`
        renamed.set(table.name, name)
        tables.set(name, { bytes, table: named(table, name) })
      }
    }
    listeners.push(adapt(listener, renamed, all))
  }
  return { listeners, inlineTables: [...tables.values()].map((t) => t.table) }
}

const copies = new WeakMap<RouteTable, RouteTable>()

function named(table: RouteTable, name: string): RouteTable {
  const known = copies.get(table)
  if (known?.name === name) return known
  const copy = { ...table, name }
  copies.set(table, copy)
  return copy
}

function adapt(listener: Listener, tables: ReadonlyMap<string, string>, all: readonly TranslatedListener[]): Listener {
  const chains = [...listener.filterChains, ...(listener.defaultFilterChain === null ? [] : [listener.defaultFilterChain])]
  const to = chains.flatMap(({ network }) => (network.kind === 'tunnel' ? [network.to] : []))
  const names = all.filter((l) => to.includes(l.name)).flatMap((l) => l.authorities)
  if (tables.size === 0 && names.length === 0) return listener
  const key = JSON.stringify([[...tables], names])
  const known = adapted.get(listener)
  if (known?.key === key) return known.listener
  const before = known === undefined ? [] : [...known.listener.filterChains]
  const change = (chain: FilterChain): FilterChain => {
    const { network } = chain
    const table = network.kind === 'http' ? tables.get(network.routeTable) : undefined
    if (network.kind === 'http' && table !== undefined)
      return same({ ...chain, network: { ...network, routeTable: table } }, before)
    return network.kind === 'tunnel' ? same({ ...chain, network: { ...network, names } }, before) : chain
  }
  const { filterChains, defaultFilterChain } = listener
  const made = {
    ...listener,
    filterChains: filterChains.map(change),
    defaultFilterChain: defaultFilterChain === null ? null : change(defaultFilterChain),
  }
  adapted.set(listener, { key, listener: made })
  return made
}

function same(chain: FilterChain, before: readonly FilterChain[]): FilterChain {
  return before.find((c) => c.name === chain.name && JSON.stringify(c) === JSON.stringify(chain)) ?? chain
}
