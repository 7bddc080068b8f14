// iptables, of either kind, with its IPv6 half.
import { comparable, GUARD_CHAIN, guardText, parseSaved, removalText, type SavedTable, wantedLines } from './iptables-saved.ts'
import { restoreText } from './iptables-text.ts'
import { type Inspection, inspectionOf, type PacketFilter } from './packet-filter.ts'
import { FAMILIES, type Family, type RuleSet } from './rule.ts'
import { complaint, InterceptionError, mustRun, type RunCommand } from './system-command.ts'

export type IptablesVariant = 'nft' | 'legacy'

/** Programs of one kind of iptables. */
export interface IptablesPrograms {
  /** `iptables-nft` */
  readonly name: string
  /** `iptables-nft-`, or `iptables-` where the system's choice is of that kind. */
  readonly prefix: string
}

export class IptablesFilter implements PacketFilter {
  readonly name: string
  private readonly prefix: string
  private readonly run: RunCommand

  constructor(programs: IptablesPrograms, run: RunCommand) {
    this.name = programs.name
    this.prefix = programs.prefix
    this.run = run
  }

  async inspect(set: RuleSet | null): Promise<Inspection> {
    const found: string[] = []
    const wanted: string[] = []
    for (const family of FAMILIES) {
      found.push(...comparable(await this.saved(family)).map((line) => `${family} ${line}`))
      if (set?.families.includes(family)) wanted.push(...wantedLines(set, family).map((line) => `${family} ${line}`))
    }
    return inspectionOf(found, set === null ? null : wanted)
  }

  async apply(set: RuleSet): Promise<void> {
    for (const family of set.families) await this.restore(family, restoreText(set, family))
  }

  async clean(): Promise<void> {
    for (const family of FAMILIES) {
      const tables = (await this.saved(family)).filter(({ chains }) => !chains.includes(GUARD_CHAIN))
      if (tables.length > 0) await this.restore(family, removalText(tables))
    }
  }

  async guard(families: readonly Family[]): Promise<void> {
    await this.unguard()
    for (const family of families) await this.restore(family, guardText())
  }

  async unguard(): Promise<void> {
    for (const family of FAMILIES) {
      const tables = (await this.saved(family)).filter(({ chains }) => chains.includes(GUARD_CHAIN))
      if (tables.length > 0) await this.restore(family, removalText(tables))
    }
  }

  /** Tables that nobody has used are not listed, and asking does not create them. Without ip6tables there is nothing in IPv6. */
  private async saved(family: Family): Promise<readonly SavedTable[]> {
    const program = this.program(family, 'save')
    const result = await this.run(program, [])
    if (result.code === 0) return parseSaved(result.stdout)
    if (family === 'ipv6') return []
    throw new InterceptionError(result.code === null ? `${program} is not installed here` : `${program}: ${complaint(result)}`)
  }

  private async restore(family: Family, text: string): Promise<void> {
    const program = this.program(family, 'restore')
    const result = await this.run(program, ['--noflush', ...(this.name === 'iptables-legacy' ? ['-w', '30'] : [])], text)
    if (result.code === 0) return
    if (result.code === null) {
      const how = family === 'ipv6' ? '; --ipv6 off leaves IPv6 alone' : ''
      throw new InterceptionError(`${program} is not installed here${how}`)
    }
    const said = complaint(result)
    const line = /\bline:? (\d+)/.exec(`${result.stderr}`)?.[1]
    const rule = line === undefined ? '' : `; line ${line} is \`${text.split('\n')[Number(line) - 1] ?? ''}\``
    throw new InterceptionError(`${program}: ${said}${rule}`)
  }

  private program(family: Family, verb: 'save' | 'restore'): string {
    return `${family === 'ipv6' ? this.prefix.replace(/^iptables/, 'ip6tables') : this.prefix}${verb}`
  }
}

/** Those that are installed, the system's choice first. */
export async function findIptables(run: RunCommand): Promise<readonly IptablesPrograms[]> {
  const found: IptablesPrograms[] = []
  const add = (programs: IptablesPrograms) => {
    if (!found.some(({ name }) => name === programs.name)) found.push(programs)
  }
  const chosen = await run('iptables', ['-V'])
  if (chosen.code === 0) add({ name: `iptables-${/nf_tables/.test(chosen.stdout) ? 'nft' : 'legacy'}`, prefix: 'iptables-' })
  for (const variant of ['nft', 'legacy'] as const) {
    if ((await run(`iptables-${variant}`, ['-V'])).code === 0)
      add({ name: `iptables-${variant}`, prefix: `iptables-${variant}-` })
  }
  return found
}

/** Why it cannot be used here, though it is installed; null when it can. Makes the kernel set up the table nat. */
export async function unusable({ prefix }: IptablesPrograms, run: RunCommand): Promise<string | null> {
  const program = prefix.replace(/-$/, '')
  try {
    await mustRun(run, program, ['-t', 'nat', '-S', 'OUTPUT'])
    return null
  } catch (error) {
    return (error as Error).message
  }
}
