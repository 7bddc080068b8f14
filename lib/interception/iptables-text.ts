// A rule set in the language of iptables-restore, written as iptables-save writes it, so that what is found can be compared with what
// is wanted. The same text does for iptables-legacy, iptables-nft and, with the other family's addresses, ip6tables.
import { chainsOf, type Family, FULL_MASK, isHook, type Match, type Rule, type RuleSet, rulesOf, type Table } from './rule.ts'

/** Marks those of our rules that stand in a chain of the system and lead to none of ours. */
export const COMMENT = 'heddle'

/** Input of `iptables-restore --noflush`: each table is one transaction. `withReasons` puts comments between the rules. */
export function restoreText(set: RuleSet, family: Family, withReasons = false): string {
  return set.tables.map((table) => tableText(table, family, withReasons)).join('')
}

function tableText(table: Table, family: Family, withReasons: boolean): string {
  const chains = chainsOf(table, family)
  if (chains.length === 0) return ''
  const lines = [`*${table.name}`, ...chains.filter((c) => !isHook(c.name)).map((c) => `:${c.name} - [0:0]`)]
  for (const chain of chains) {
    let inserted = 0
    for (const rule of rulesOf(chain, family)) {
      if (withReasons) lines.push(`# ${rule.why}`)
      // Those that come first keep their order among themselves.
      lines.push(rule.first ? `-I ${chain.name} ${++inserted} ${specOf(chain.name, rule)}` : ruleLine(chain.name, rule))
    }
  }
  return `${[...lines, 'COMMIT'].join('\n')}\n`
}

/** `-A CHAIN ...`, as iptables-save shows it. */
export function ruleLine(chain: string, rule: Rule): string {
  const spec = specOf(chain, rule)
  return `-A ${chain} ${spec}`
}

function specOf(chain: string, rule: Rule): string {
  const { match, action } = rule
  const words = ORDER.flatMap((kind) => match.filter((m) => orderOf(m) === kind).map(matchWords))
  // iptables-save shows the protocol once, before what belongs to it.
  const protocol = match.find((m) => m.kind === 'protocol' || m.kind === 'port')
  const at = words.findIndex((w) => w.startsWith('-m '))
  if (protocol !== undefined) words.splice(at < 0 ? words.length : at, 0, `-p ${protocol.protocol}`)
  const ownChain = action.kind === 'jump' || !(chain === 'PREROUTING' || chain === 'OUTPUT')
  if (!ownChain) words.push(`-m comment --comment ${COMMENT}`)
  return [...words.filter((w) => w !== ''), actionWords(rule)].join(' ')
}

const ORDER = ['source', 'destination', 'in', 'out', 'module'] as const

function orderOf(match: Match): (typeof ORDER)[number] {
  return match.kind === 'address' || match.kind === 'interface' ? match.side : 'module'
}

function matchWords(match: Match): string {
  switch (match.kind) {
    case 'protocol':
      return ''
    case 'port': {
      const { protocol, ports, side, not } = match
      const option = side === 'source' ? '--sport' : '--dport'
      const [module, name] = ports.length === 1 ? [protocol, option] : ['multiport', `${option}s`]
      return `-m ${module} ${no(not)}${name} ${ports.join(',')}`
    }
    case 'interface':
      return `${no(match.not)}${match.side === 'in' ? '-i' : '-o'} ${match.name}`
    case 'address':
      return `${no(match.not)}${match.side === 'source' ? '-s' : '-d'} ${match.address}`
    case 'owner':
      return `-m owner ${no(match.not)}--${match.by}-owner ${match.id}`
    case 'mark':
      return `-m ${match.of === 'packet' ? 'mark' : 'connmark'} ${no(match.not)}--mark ${markText(match.value, match.mask)}`
    case 'state':
      return `-m conntrack --ctstate ${match.states.join(',')}`
  }
}

function actionWords({ action }: Rule): string {
  switch (action.kind) {
    case 'return':
    case 'accept':
    case 'drop':
      return `-j ${action.kind.toUpperCase()}`
    case 'jump':
      return `-j ${action.chain}`
    case 'redirect':
      return `-j REDIRECT --to-ports ${action.port}`
    case 'tproxy':
      return `-j TPROXY --on-port ${action.port} --tproxy-mark ${hex(action.mark)}/${hex(FULL_MASK)}`
    case 'set-mark':
      return `-j MARK --set-xmark ${hex(action.value)}/${hex(FULL_MASK)}`
    case 'save-mark':
    case 'restore-mark':
      return `-j CONNMARK --${action.kind} --nfmask ${hex(FULL_MASK)} --ctmask ${hex(FULL_MASK)}`
    case 'set-connection-mark':
      return `-j CONNMARK --set-xmark ${hex(action.value)}/${hex(action.mask)}`
    case 'zone':
      return `-j CT --zone ${action.zone}`
  }
}

function markText(value: number, mask: number): string {
  return mask === FULL_MASK ? hex(value) : `${hex(value)}/${hex(mask)}`
}

function hex(n: number): string {
  return `0x${n.toString(16)}`
}

function no(not: boolean): string {
  return not ? '! ' : ''
}
