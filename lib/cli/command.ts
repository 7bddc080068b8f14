// What a command is, how its arguments are read, and its help. Flags are declared once; reading, suggestions and help follow.
import { parseArgs } from 'node:util'
import { didYouMean } from '../base/nearest.ts'
import { BOOTSTRAP_FLAGS, type FlagValues } from '../bootstrap/flags.ts'
import type { Output } from './terminal.ts'

export interface FlagSpec {
  readonly type: 'boolean' | 'string'
  readonly short?: string
  readonly multiple?: boolean
  /** Other names, understood and not listed. */
  readonly aliases?: readonly string[]
  /** Understood and not listed. */
  readonly hidden?: true
  /** `PATH`; empty for a boolean. */
  readonly value: string
  readonly help: string
}

export interface Command {
  readonly name: string
  readonly summary: string
  /** Each way to call it, without `heddle `. */
  readonly usage: readonly string[]
  /** Paragraphs of its help. */
  readonly description: string
  readonly flags: Readonly<Record<string, FlagSpec>>
  readonly run: (args: Arguments, io: CommandIo) => Promise<number>
}

export interface CommandIo {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface Arguments {
  readonly positionals: readonly string[]
  /** Last value given, or null. */
  text(flag: string): string | null
  /** All values given. */
  texts(flag: string): readonly string[]
  has(flag: string): boolean
}

/** What the operator has to change on the command line. */
export class UsageError extends Error {}

export const HELP_FLAG: FlagSpec = { type: 'boolean', short: 'h', value: '', help: 'this text' }
export const JSON_FLAG: FlagSpec = { type: 'boolean', value: '', help: 'for scripts: one JSON document on standard output' }
export const CONFIG_FLAG: FlagSpec = {
  type: 'string',
  short: 'c',
  value: 'FILE',
  help: 'heddle.yaml; default: HEDDLE_CONFIG, else heddle.yaml in this folder',
}

/** Flags that override a field of heddle.yaml. `only`: those of them that this command takes. */
export function bootstrapFlags(only?: readonly string[]): Record<string, FlagSpec> {
  const chosen = BOOTSTRAP_FLAGS.filter(({ flag }) => only === undefined || only.includes(flag))
  return Object.fromEntries(
    chosen.map(({ flag, value, help }): [string, FlagSpec] => [
      flag,
      { type: 'string', multiple: flag === 'resources', value, help },
    ]),
  )
}

/** Values of those flags for `loadBootstrap`. */
export function bootstrapFlagValues(args: Arguments): FlagValues {
  return Object.fromEntries(
    BOOTSTRAP_FLAGS.filter(({ flag }) => args.has(flag)).map(({ flag }) => [
      flag,
      flag === 'resources' ? args.texts(flag) : (args.text(flag) ?? ''),
    ]),
  )
}

/** Throws UsageError. */
export function readArguments(command: Command, argv: readonly string[]): Arguments {
  const flags: Readonly<Record<string, FlagSpec>> = { ...command.flags, help: HELP_FLAG }
  const options = Object.fromEntries(
    Object.entries(flags).flatMap(([name, { type, short, aliases = [] }]) => [
      [name, short === undefined ? { type, multiple: true } : { type, short, multiple: true }],
      ...aliases.map((alias) => [alias, { type, multiple: true }]),
    ]),
  )
  const names = new Map(Object.entries(flags).flatMap(([name, { aliases = [] }]) => [name, ...aliases].map((n) => [n, name])))
  const { tokens, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true, strict: false, tokens: true })
  const values = new Map<string, string[]>()
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const name = names.get(token.name)
    const flag = name === undefined ? undefined : flags[name]
    if (name === undefined || flag === undefined)
      throw new UsageError(`unknown flag ${token.rawName}${didYouMean(token.name, Object.keys(flags)).replace(/`(.*)`/, '--$1')}`)
    if (flag.type === 'string' && token.value === undefined)
      throw new UsageError(`${token.rawName} needs a value: ${token.rawName} ${flag.value}`)
    if (flag.type === 'boolean' && token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`)
    const list = values.get(name) ?? []
    if (list.length > 0 && flag.type === 'string' && flag.multiple !== true)
      throw new UsageError(`${token.rawName} is given twice`)
    list.push(token.value ?? '')
    values.set(name, list)
  }
  return {
    positionals,
    text: (flag) => values.get(flag)?.at(-1) ?? null,
    texts: (flag) => values.get(flag) ?? [],
    has: (flag) => values.has(flag),
  }
}

export function helpText(command: Command): string {
  const listed = Object.entries({ ...command.flags, help: HELP_FLAG }).filter(([, { hidden }]) => hidden !== true)
  const rows = listed.map(([name, { short, value, help }]): [string, string] => [
    `${short === undefined ? '    ' : `-${short}, `}--${name}${value === '' ? '' : ` ${value}`}`,
    help,
  ])
  const width = Math.max(...rows.map(([left]) => left.length))
  const usage = command.usage.map((line) => `  heddle ${line}`).join('\n')
  const flags = rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n')
  return `heddle ${command.name}: ${command.summary}\n\n${usage}\n\n${command.description.trim()}\n\nFlags:\n${flags}\n`
}
