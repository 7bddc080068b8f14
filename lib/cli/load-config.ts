// heddle.yaml for a command: its problems are printed as every command prints them.
import { existsSync } from 'node:fs'
import { relative } from 'node:path'
import type { FlagValues } from '../bootstrap/flags.ts'
import type { LoadedBootstrap } from '../bootstrap/load.ts'
import { type ConfigProblem, problemText } from '../bootstrap/problem.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import { type Arguments, type CommandIo, UsageError } from './command.ts'
import { type Output, type Paint, paintFor } from './terminal.ts'

/** `--config`, HEDDLE_CONFIG or null. */
export function namedConfigFile(args: Arguments, io: CommandIo): string | null {
  return args.text('config') ?? (io.env['HEDDLE_CONFIG'] || null)
}

/** As `namedConfigFile`, or heddle.yaml in the working directory, or null. */
export function configFile(args: Arguments, io: CommandIo): string | null {
  return namedConfigFile(args, io) ?? (existsSync('heddle.yaml') ? 'heddle.yaml' : null)
}

/** As `configFile`; throws UsageError when there is none. */
export function requiredConfigFile(args: Arguments, io: CommandIo): string {
  const file = configFile(args, io)
  if (file === null)
    throw new UsageError('no configuration: give --config FILE, set HEDDLE_CONFIG or have heddle.yaml in this folder')
  return file
}

/** Arguments of `loadBootstrap`. */
export type BootstrapReader = (file: string | null, env: CommandIo['env'], flags: FlagValues) => Promise<LoadedBootstrap>

/** For commands that end soon: the modules that read YAML stay in memory. */
const readHere: BootstrapReader = async (file, env, flags) =>
  (await import('../bootstrap/load.ts')).loadBootstrap(file, env, flags)

/** null: errors were printed. Warnings are printed in any case. */
export async function loadOrReport(
  file: string | null,
  flags: FlagValues,
  io: CommandIo,
  read: BootstrapReader = readHere,
): Promise<BootstrapConfig | null> {
  const result = await read(file, io.env, flags)
  const paint = paintFor(io.stderr, io.env)
  for (const warning of result.warnings) io.stderr.write(`${paint('yellow', 'warning')} ${problemText(warning)}\n`)
  if (result.ok) return result.config
  reportProblems(result.errors, io.stderr, paint)
  return null
}

export function reportProblems(problems: readonly ConfigProblem[], output: Output, paint: Paint): void {
  for (const problem of problems) output.write(`${paint('red', 'error')} ${problemText(problem)}\n`)
}

/** A path as somebody in the working directory would write it; outside of it absolute. */
export function shownPath(file: string): string {
  if (file === '') return ''
  const path = relative(process.cwd(), file)
  return path.startsWith('..') ? file : path
}
