// Packet filter rules as data, in words that iptables and nftables have in common.
// A set is made for both address families at once; a rule that names an address belongs to one of them.

export type Family = 'ipv4' | 'ipv6'
export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6']

/** In the order in which a packet meets them. */
export type TableName = 'raw' | 'mangle' | 'nat'
export const TABLES: readonly TableName[] = ['raw', 'mangle', 'nat']

/** Where a packet enters a table. */
export type Hook = 'PREROUTING' | 'OUTPUT'
export const HOOKS: readonly Hook[] = ['PREROUTING', 'OUTPUT']

/** By their names in iptables; the renderer for nft has its own. */
export type ChainName =
  | 'ISTIO_INBOUND'
  | 'ISTIO_OUTPUT'
  | 'ISTIO_OUTPUT_DNS'
  | 'ISTIO_REDIRECT'
  | 'ISTIO_IN_REDIRECT'
  | 'ISTIO_DIVERT'
  | 'ISTIO_TPROXY'
  | 'ISTIO_DROP'
  | 'ISTIO_PRERT'

/** Every chain that a set can have: what is in one of them in a packet filter is ours. */
export const CHAINS: readonly ChainName[] = [
  'ISTIO_INBOUND',
  'ISTIO_OUTPUT',
  'ISTIO_OUTPUT_DNS',
  'ISTIO_REDIRECT',
  'ISTIO_IN_REDIRECT',
  'ISTIO_DIVERT',
  'ISTIO_TPROXY',
  'ISTIO_DROP',
  'ISTIO_PRERT',
]

export type Protocol = 'tcp' | 'udp'

/** A condition; `not` reverses it. */
export type Match =
  | { readonly kind: 'protocol'; readonly protocol: Protocol }
  /** With its protocol, which the renderers say too. */
  | {
      readonly kind: 'port'
      readonly side: 'source' | 'destination'
      readonly protocol: Protocol
      readonly ports: readonly number[]
      readonly not: boolean
    }
  | { readonly kind: 'interface'; readonly side: 'in' | 'out'; readonly name: string; readonly not: boolean }
  /** `address` is a CIDR. */
  | { readonly kind: 'address'; readonly side: 'source' | 'destination'; readonly address: string; readonly not: boolean }
  /** Who has the socket that sends. */
  | { readonly kind: 'owner'; readonly by: 'uid' | 'gid'; readonly id: number; readonly not: boolean }
  | {
      readonly kind: 'mark'
      readonly of: 'packet' | 'connection'
      readonly value: number
      readonly mask: number
      readonly not: boolean
    }
  | { readonly kind: 'state'; readonly states: readonly ('INVALID' | 'RELATED' | 'ESTABLISHED')[] }

export type Action =
  | { readonly kind: 'return' | 'accept' | 'drop' }
  | { readonly kind: 'jump'; readonly chain: ChainName }
  | { readonly kind: 'redirect'; readonly port: number }
  | { readonly kind: 'tproxy'; readonly port: number; readonly mark: number }
  | { readonly kind: 'set-mark'; readonly value: number }
  /** The packet's mark becomes the connection's. */
  | { readonly kind: 'save-mark' }
  /** The connection's mark becomes the packet's. */
  | { readonly kind: 'restore-mark' }
  | { readonly kind: 'set-connection-mark'; readonly value: number; readonly mask: number }
  /** Conntrack keeps connections of different zones apart. */
  | { readonly kind: 'zone'; readonly zone: number }

export interface Rule {
  /** null: for both. */
  readonly family: Family | null
  readonly match: readonly Match[]
  readonly action: Action
  /** In a hook: before the rules of others, not behind them. */
  readonly first: boolean
  /** Which packets, and why: a comment in what `print` shows. */
  readonly why: string
}

export interface Chain {
  readonly name: Hook | ChainName
  readonly rules: readonly Rule[]
}

export interface Table {
  readonly name: TableName
  /** Hooks first. */
  readonly chains: readonly Chain[]
}

/** `fwmark MARK/MASK lookup TABLE`, whose one route delivers everything locally. */
export interface PolicyRoute {
  readonly family: Family
  readonly mark: number
  readonly mask: number
  readonly table: number
  /** null: the kernel's choice. */
  readonly priority: number | null
}

export interface RuleSet {
  readonly kind: 'sidecar' | 'pod'
  readonly families: readonly Family[]
  /** Those that have rules, in the order of `TABLES`. */
  readonly tables: readonly Table[]
  readonly routes: readonly PolicyRoute[]
  /** Addresses that the loopback interface needs. */
  readonly loopbackAddresses: readonly string[]
}

export const FULL_MASK = 0xffffffff

/** Rules of a chain in one family. */
export function rulesOf(chain: Chain, family: Family): readonly Rule[] {
  return chain.rules.filter((rule) => rule.family === null || rule.family === family)
}

/** Chains of a table that one family needs: those with rules, and those that its rules jump to. */
export function chainsOf(table: Table, family: Family): readonly Chain[] {
  const targets = new Set(
    table.chains.flatMap((chain) =>
      rulesOf(chain, family).flatMap(({ action }) => (action.kind === 'jump' ? [action.chain] : [])),
    ),
  )
  return table.chains.filter((chain) => rulesOf(chain, family).length > 0 || (!isHook(chain.name) && targets.has(chain.name)))
}

export function isHook(name: Hook | ChainName): name is Hook {
  return name === 'PREROUTING' || name === 'OUTPUT'
}
