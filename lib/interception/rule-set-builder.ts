// Collects rules table by table and chain by chain, and the short words that the generators are written in.
import {
  type Action,
  type Chain,
  type ChainName,
  type Family,
  FULL_MASK,
  type Hook,
  isHook,
  type Match,
  type Protocol,
  type Rule,
  TABLES,
  type Table,
  type TableName,
} from './rule.ts'

export class RuleSetBuilder {
  private readonly tables: Map<TableName, Map<Hook | ChainName, Rule[]>>

  constructor() {
    this.tables = new Map()
  }

  /** Rules are in the order of the calls. */
  add(table: TableName, chain: Hook | ChainName, match: readonly Match[], action: Action, why: string): void {
    this.put(table, chain, { family: null, match, action, first: false, why })
  }

  addFor(family: Family, table: TableName, chain: Hook | ChainName, match: readonly Match[], action: Action, why: string): void {
    this.put(table, chain, { family, match, action, first: false, why })
  }

  put(table: TableName, chain: Hook | ChainName, rule: Rule): void {
    const chains = getOrMake(this.tables, table, () => new Map<Hook | ChainName, Rule[]>())
    getOrMake(chains, chain, () => []).push(rule)
    if (rule.action.kind === 'jump') getOrMake(chains, rule.action.chain, () => [])
  }

  build(): readonly Table[] {
    return TABLES.filter((name) => this.tables.has(name)).map((name) => {
      const chains = [...this.tables.get(name)!].map(([chain, rules]): Chain => ({ name: chain, rules }))
      return { name, chains: [...chains.filter((c) => isHook(c.name)), ...chains.filter((c) => !isHook(c.name))] }
    })
  }
}

/** Conditions that can be reversed. */
export type Reversible = Exclude<Match, { kind: 'protocol' | 'state' }>

export const TCP: Match = { kind: 'protocol', protocol: 'tcp' }
export const RETURN: Action = { kind: 'return' }
export const ACCEPT: Action = { kind: 'accept' }
export const DROP: Action = { kind: 'drop' }

export function jump(chain: ChainName): Action {
  return { kind: 'jump', chain }
}

export function redirect(port: number): Action {
  return { kind: 'redirect', port }
}

export function to(protocol: Protocol, ...ports: readonly number[]): Reversible {
  return { kind: 'port', side: 'destination', protocol, ports, not: false }
}

export function from(protocol: Protocol, ...ports: readonly number[]): Reversible {
  return { kind: 'port', side: 'source', protocol, ports, not: false }
}

export function into(name: string): Reversible {
  return { kind: 'interface', side: 'in', name, not: false }
}

export function outOf(name: string): Reversible {
  return { kind: 'interface', side: 'out', name, not: false }
}

export function sentFrom(address: string): Reversible {
  return { kind: 'address', side: 'source', address, not: false }
}

export function sentTo(address: string): Reversible {
  return { kind: 'address', side: 'destination', address, not: false }
}

export function marked(value: number, mask = FULL_MASK): Reversible {
  return { kind: 'mark', of: 'packet', value, mask, not: false }
}

export function connectionMarked(value: number, mask = FULL_MASK): Reversible {
  return { kind: 'mark', of: 'connection', value, mask, not: false }
}

/** The same condition reversed. */
export function not(match: Reversible): Match {
  return { ...match, not: !match.not }
}

export function owner(by: 'uid' | 'gid', id: number): Reversible {
  return { kind: 'owner', by, id, not: false }
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key)
  if (found !== undefined) return found
  const made = make()
  map.set(key, made)
  return made
}
