// A rule set in the language of nft. Tables of our own, named as istio-nftables names them: what is in them is all ours, and they are
// replaced whole in one transaction.
import { createHash } from 'node:crypto'
import {
  type Chain,
  type Family,
  FULL_MASK,
  type Hook,
  isHook,
  type Match,
  type Rule,
  type RuleSet,
  rulesOf,
  type Table,
  type TableName,
} from './rule.ts'

/** Of the table: `inet` has both families in the same chains. */
export type NftFamily = 'ip' | 'ip6' | 'inet'

export interface NftTable {
  readonly family: NftFamily
  readonly name: string
  readonly chains: readonly NftChain[]
}

export interface NftChain {
  readonly name: string
  /** `type nat hook output priority -100`; null for a chain that is jumped to. */
  readonly hook: string | null
  readonly rules: readonly NftRule[]
}

export interface NftRule {
  /** Without its comment. */
  readonly text: string
  /** Ends the comment of the rule in the kernel: by it a rule is known again, however nft lists it. */
  readonly fingerprint: string
  readonly why: string
}

const KINDS = ['proxy', 'ambient'] as const
const PRIORITIES: Readonly<Record<TableName, number>> = { raw: -300, mangle: -150, nat: -100 }

/** Every table that a set can have. */
export const NFT_TABLES: readonly string[] = KINDS.flatMap((kind) =>
  (['raw', 'mangle', 'nat'] as const).map((table) => tableName(kind, table)),
)

function tableName(kind: (typeof KINDS)[number], table: TableName): string {
  return `istio-${kind}-${table}`
}

export function nftTables(set: RuleSet): readonly NftTable[] {
  const family = familyOf(set.families)
  return set.tables.map((table) => ({
    family,
    name: tableName(set.kind === 'sidecar' ? 'proxy' : 'ambient', table.name),
    chains: table.chains.map((chain) => nftChain(table, chain, set.families)),
  }))
}

/** Input of `nft -f -`, one transaction. `replaced`: tables that are there and go. */
export function nftScript(
  tables: readonly NftTable[],
  replaced: readonly Pick<NftTable, 'family' | 'name'>[],
  withReasons = false,
): string {
  const gone = replaced.map(({ family, name }) => `delete table ${family} ${name}\n`)
  return [...gone, ...tables.map((table) => tableText(table, withReasons))].join('')
}

function tableText({ family, name, chains }: NftTable, withReasons: boolean): string {
  const lines = [`table ${family} ${name} {`]
  // A chain is known from its declaration on, not before.
  for (const chain of chains)
    lines.push(chain.hook === null ? `  chain ${chain.name} {}` : `  chain ${chain.name} { ${chain.hook}; }`)
  lines.push('}')
  for (const chain of chains)
    for (const { text, fingerprint, why } of chain.rules) {
      if (withReasons) lines.push(`# ${why}`)
      lines.push(`add rule ${family} ${name} ${chain.name} ${text} comment "heddle ${fingerprint}"`)
    }
  return `${lines.join('\n')}\n`
}

function familyOf(families: readonly Family[]): NftFamily {
  if (families.length === 2) return 'inet'
  return families[0] === 'ipv6' ? 'ip6' : 'ip'
}

function nftChain(table: Table, chain: Chain, families: readonly Family[]): NftChain {
  const rules = families.length === 2 ? chain.rules : families.flatMap((family) => rulesOf(chain, family))
  return {
    name: chainName(chain.name),
    hook: isHook(chain.name) ? hookOf(table.name, chain.name) : null,
    rules: rules.map((rule) => {
      const text = ruleText(rule, families)
      return { text, fingerprint: createHash('sha256').update(text).digest('hex').slice(0, 16), why: rule.why }
    }),
  }
}

function chainName(name: Chain['name']): string {
  return name === 'ISTIO_PRERT' ? 'istio-prerouting' : name.toLowerCase().replaceAll('_', '-')
}

/** A changed mark makes the kernel route a packet again only in a chain of the type route. */
function hookOf(table: TableName, hook: Hook): string {
  const type = table === 'nat' ? 'nat' : table === 'mangle' && hook === 'OUTPUT' ? 'route' : 'filter'
  return `type ${type} hook ${hook.toLowerCase()} priority ${PRIORITIES[table]}`
}

function ruleText(rule: Rule, families: readonly Family[]): string {
  const { match, action, family } = rule
  const words: string[] = []
  const named = match.some((m) => m.kind === 'address')
  if (family !== null && families.length === 2 && !named && action.kind !== 'tproxy') words.push(`meta nfproto ${family}`)
  words.push(...match.map((m) => matchWords(m, family)))
  if (action.kind === 'tproxy') {
    const by = family === 'ipv6' ? 'ip6' : 'ip'
    return [...words, `tproxy ${by} to :${action.port} meta mark set ${action.mark} counter accept`].join(' ')
  }
  return [...words, 'counter', ...actionWords(rule)].join(' ')
}

function matchWords(match: Match, family: Family | null): string {
  switch (match.kind) {
    case 'protocol':
      return `meta l4proto ${match.protocol}`
    case 'port': {
      const { protocol, side, ports, not } = match
      const set = ports.length === 1 ? String(ports[0]) : `{ ${ports.join(', ')} }`
      return `${protocol} ${side === 'source' ? 'sport' : 'dport'} ${no(not)}${set}`
    }
    case 'interface':
      return `${match.side === 'in' ? 'iifname' : 'oifname'} ${no(match.not)}"${match.name}"`
    case 'address':
      return `${family === 'ipv6' ? 'ip6' : 'ip'} ${match.side === 'source' ? 'saddr' : 'daddr'} ${no(match.not)}${match.address}`
    case 'owner':
      return `meta sk${match.by} ${no(match.not)}${match.id}`
    case 'mark': {
      const what = match.of === 'packet' ? 'meta mark' : 'ct mark'
      const masked = match.mask === FULL_MASK ? what : `${what} & ${hex(match.mask)}`
      return `${masked} ${match.not ? '!=' : '=='} ${hex(match.value)}`
    }
    case 'state':
      return `ct state ${match.states.join(',').toLowerCase()}`
  }
}

function actionWords({ action }: Rule): string[] {
  switch (action.kind) {
    case 'return':
    case 'accept':
    case 'drop':
      return [action.kind]
    case 'jump':
      return [`jump ${chainName(action.chain)}`]
    case 'redirect':
      return [`redirect to :${action.port}`]
    case 'set-mark':
      return [`meta mark set ${hex(action.value)}`]
    case 'save-mark':
      return ['ct mark set meta mark']
    case 'restore-mark':
      return ['meta mark set ct mark']
    case 'set-connection-mark':
      return [`ct mark set ct mark & ${hex(FULL_MASK - action.mask)} | ${hex(action.value)}`]
    case 'zone':
      return [`ct zone set ${action.zone}`]
    case 'tproxy':
      return []
  }
}

function hex(n: number): string {
  return `0x${n.toString(16)}`
}

function no(not: boolean): string {
  return not ? '!= ' : ''
}
