// Reading iptables-save: which of its rules are ours, in a form that does not depend on the version that wrote them, and how they go away.
import { COMMENT, restoreText } from './iptables-text.ts'
import { CHAINS, type Family, type RuleSet } from './rule.ts'

/** The chain in `filter` that drops everything while rules change. */
export const GUARD_CHAIN = 'HEDDLE_GUARD'
const OURS: ReadonlySet<string> = new Set([...CHAINS, GUARD_CHAIN])

/** What is ours in one table. */
export interface SavedTable {
  readonly name: string
  readonly chains: readonly string[]
  /** `-A CHAIN ...` as they were written: those of our chains, and those elsewhere that lead to one or have our comment. */
  readonly rules: readonly string[]
}

export function parseSaved(text: string): readonly SavedTable[] {
  const tables: { name: string; chains: string[]; rules: string[] }[] = []
  for (const line of text.split('\n')) {
    const table = tables.at(-1)
    if (line.startsWith('*')) tables.push({ name: line.slice(1).trim(), chains: [], rules: [] })
    else if (table === undefined) continue
    else if (line.startsWith(':')) {
      const chain = line.slice(1).split(' ')[0]!
      if (OURS.has(chain)) table.chains.push(chain)
    } else if (line.startsWith('-A ') && isOurs(line)) table.rules.push(line.trim())
  }
  return tables.filter((table) => table.chains.length > 0 || table.rules.length > 0)
}

function isOurs(line: string): boolean {
  if (OURS.has(chainOf(line))) return true
  const target = / -[jg] (\S+)/.exec(line)?.[1] ?? ''
  return OURS.has(target) || new RegExp(` --comment (?:${COMMENT}|"${COMMENT}")( |$)`).test(line)
}

function chainOf(line: string): string {
  return line.split(' ', 2)[1] ?? ''
}

/** Lines to compare: chains, then rules chain by chain, the order of chains being no difference. */
export function comparable(tables: readonly SavedTable[]): readonly string[] {
  const lines = tables.flatMap(({ name, chains, rules }) => {
    const all = [...new Set([...chains, ...rules.map(chainOf)])].sort()
    return all.flatMap((chain) => [
      ...(chains.includes(chain) ? [`${name} chain ${chain}`] : []),
      ...rules.filter((rule) => chainOf(rule) === chain).map((rule) => `${name} ${normalized(rule)}`),
    ])
  })
  // Tables come in any order.
  const tableOf = (line: string) => line.slice(0, line.indexOf(' '))
  return [...new Set(lines.map(tableOf))].sort().flatMap((table) => lines.filter((line) => tableOf(line) === table))
}

/** The same form of what is wanted. */
export function wantedLines(set: RuleSet, family: Family): readonly string[] {
  const asSaved = restoreText(set, family).replace(/^-I (\S+) \d+ /gm, '-A $1 ')
  return comparable(parseSaved(asSaved))
}

/** What versions write differently without meaning anything else. */
function normalized(rule: string): string {
  return rule
    .replaceAll('"', '')
    .replace(/ -m (?:tcp|udp)(?= )/g, '')
    .replace(/(\/0xffffffff)(?= |$)/g, '')
    .replace(/ --on-ip (?:0\.0\.0\.0|::)(?= |$)/, '')
    .replace(/ --set-mark /g, ' --set-xmark ')
    .replace(/ --to-port /g, ' --to-ports ')
    .replace(/ (?:--nfmask|--ctmask) 0xffffffff(?= |$)/g, '')
    .replace(/\/(?:32|128)(?= )/g, '')
    .replace(/ --ctstate ESTABLISHED,RELATED(?= |$)/, ' --ctstate RELATED,ESTABLISHED')
    .replace(/ +/g, ' ')
}

/** Input of iptables-restore that takes them away; empty where nothing is to be done. `only`: a table by name. */
export function removalText(tables: readonly SavedTable[]): string {
  return tables
    .map(({ name, chains, rules }) => {
      const elsewhere = rules.filter((rule) => !OURS.has(chainOf(rule))).map((rule) => rule.replace(/^-A /, '-D '))
      const emptied = chains.map((chain) => `-F ${chain}`)
      const removed = chains.map((chain) => `-X ${chain}`)
      return `${[`*${name}`, ...elsewhere, ...emptied, ...removed, 'COMMIT'].join('\n')}\n`
    })
    .join('')
}

/** Drops everything. In its own chain, so that it is known as ours if nobody is left to take it away. */
export function guardText(): string {
  const hooks = ['INPUT', 'FORWARD', 'OUTPUT'].map((hook) => `-I ${hook} 1 -j ${GUARD_CHAIN}`)
  return `${['*filter', `:${GUARD_CHAIN} - [0:0]`, `-A ${GUARD_CHAIN} -j DROP`, ...hooks, 'COMMIT'].join('\n')}\n`
}
