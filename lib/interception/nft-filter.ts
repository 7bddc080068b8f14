// nft, with tables of our own.
import { NFT_TABLES, type NftFamily, type NftTable, nftScript, nftTables } from './nft-text.ts'
import { type Inspection, inspectionOf, type PacketFilter } from './packet-filter.ts'
import type { Family, RuleSet } from './rule.ts'
import { mustRun, type RunCommand } from './system-command.ts'

interface TableName {
  readonly family: NftFamily
  readonly name: string
}

const GUARD: TableName = { family: 'inet', name: 'heddle-guard' }

export class NftFilter implements PacketFilter {
  readonly name = 'nft'
  private readonly run: RunCommand

  constructor(run: RunCommand) {
    this.run = run
  }

  async inspect(set: RuleSet | null): Promise<Inspection> {
    const found: string[] = []
    const texts = new Map<string, string>()
    for (const { family, name } of await this.tables([...NFT_TABLES, GUARD.name]))
      found.push(...parseNftTable(await this.nft(['list', 'table', family, name]), texts))
    const wanted = set === null ? [] : nftTables(set)
    for (const { rules } of wanted.flatMap(({ chains }) => chains)) for (const r of rules) texts.set(r.fingerprint, r.text)
    const { verdict, details } = inspectionOf(found, set === null ? null : wanted.flatMap(linesOf).sort(byTable))
    return { verdict, details: details.map((line) => line.replace(/ [0-9a-f]{16}$/, (f) => ` ${texts.get(f.trim()) ?? f}`)) }
  }

  async apply(set: RuleSet): Promise<void> {
    await this.nft(['-f', '-'], nftScript(nftTables(set), []))
  }

  async clean(): Promise<void> {
    const tables = await this.tables(NFT_TABLES)
    if (tables.length > 0) await this.nft(['-f', '-'], nftScript([], tables))
  }

  async guard(families: readonly Family[]): Promise<void> {
    await this.unguard()
    const { family, name } = GUARD
    const rules = families.map((f) => `meta nfproto ${f} drop`).join('; ')
    const chains = ['input', 'forward', 'output'].map(
      (hook) => `chain ${hook} { type filter hook ${hook} priority -400; policy accept; ${rules}; }`,
    )
    await this.nft(['-f', '-'], `table ${family} ${name} {\n${chains.join('\n')}\n}\n`)
  }

  async unguard(): Promise<void> {
    for (const { family, name } of await this.tables([GUARD.name])) await this.nft(['delete', 'table', family, name])
  }

  /** Those of the names that exist, in whatever family. */
  private async tables(names: readonly string[]): Promise<readonly TableName[]> {
    const text = await this.nft(['list', 'tables'])
    return [...text.matchAll(/^table (ip|ip6|inet) (\S+)/gm)]
      .map((m): TableName => ({ family: m[1] as NftFamily, name: m[2]! }))
      .filter(({ name }) => names.includes(name))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  private nft(args: readonly string[], input?: string): Promise<string> {
    return mustRun(this.run, 'nft', args, input)
  }
}

/**
 * Lines to compare, of what `nft list table` shows: chains with their hooks, and rules by the fingerprints in their comments, since
 * versions of nft list the same rule in different words. `texts` gets these words, by fingerprint.
 */
export function parseNftTable(text: string, texts: Map<string, string>): readonly string[] {
  const lines: string[] = []
  let table = ''
  let chain = ''
  let declared = -1
  for (const line of text.split('\n').map((l) => l.trim())) {
    const head = /^(table|chain) (.*) \{$/.exec(line)
    if (head?.[1] === 'table') {
      table = head[2]!
    } else if (head !== null) {
      chain = head[2]!
      declared = lines.push(`${table} chain ${chain}`) - 1
    } else if (/^type \w+ hook /.test(line)) {
      lines[declared] += ` ${/^type \w+ hook \w+/.exec(line)![0]}`
    } else if (line !== '' && line !== '}' && !line.startsWith('#')) {
      const rule = /^(.*) comment "heddle ([0-9a-f]{16})"$/.exec(line)
      if (rule !== null) texts.set(rule[2]!, rule[1]!)
      lines.push(`${table} ${chain} ${rule?.[2] ?? line}`)
    }
  }
  return lines
}

function linesOf({ family, name, chains }: NftTable): string[] {
  return chains.flatMap((chain) => [
    `${family} ${name} chain ${chain.name}${chain.hook === null ? '' : ` ${chain.hook.replace(/ priority.*/, '')}`}`,
    ...chain.rules.map(({ fingerprint }) => `${family} ${name} ${chain.name} ${fingerprint}`),
  ])
}

/** Stable: the order within a table stays. */
function byTable(a: string, b: string): number {
  const [left, right] = [a.split(' ')[1]!, b.split(' ')[1]!]
  return left < right ? -1 : left > right ? 1 : 0
}
