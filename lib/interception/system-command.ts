// The programs that change a packet filter, run for their output.
import { spawn } from 'node:child_process'

/** What the operator has to change or install: shown without a stack. */
export class InterceptionError extends Error {}

export interface CommandResult {
  /** Null where the program is not there. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export type RunCommand = (program: string, args: readonly string[], input?: string) => Promise<CommandResult>

/** `networkNamespace`: a file such as /proc/42/ns/net, in which the programs run; null for our own. Never rejects. */
export function systemCommands(networkNamespace: string | null): RunCommand {
  return (program, args, input = '') => {
    if (networkNamespace === null) return execute(program, args, input)
    return execute('nsenter', [`--net=${networkNamespace}`, '--', program, ...args], input)
  }
}

function execute(program: string, args: readonly string[], input: string): Promise<CommandResult> {
  return new Promise((resolve) => {
    // Administrators' programs are often not on the path of a container's user.
    const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`
    const child = spawn(program, args, { stdio: 'pipe', env: { ...process.env, PATH: path, LC_ALL: 'C' } })
    const said = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said.stderr += text
    })
    child.once('error', (error) => resolve({ code: null, stdout: '', stderr: error.message }))
    // nsenter and env end with 127 where the program is not there.
    child.once('close', (code) => resolve({ code: code === 127 ? null : (code ?? 1), ...said }))
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

/** The first line that says what went wrong. */
export function complaint({ stderr, stdout }: CommandResult): string {
  const lines = `${stderr}\n${stdout}`.split('\n').map((line) => line.trim())
  return lines.find((line) => line !== '' && !line.startsWith('#') && !line.startsWith('Warning')) ?? 'no reason given'
}

/** Throws InterceptionError where the command fails. */
export async function mustRun(run: RunCommand, program: string, args: readonly string[], input?: string): Promise<string> {
  const result = await run(program, args, input)
  if (result.code === 0) return result.stdout
  if (result.code === null) throw new InterceptionError(`${program} is not installed here`)
  throw new InterceptionError(`${program} ${args.join(' ')}: ${complaint(result)}`)
}
