// Child processes of the benchmark: pinned to a core, their output kept for error messages, and never left behind.
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { processTree } from './cpu-time.ts'

export interface Child {
  readonly pid: number
  /** The last output of both kinds, at most 4 KB. */
  tail(): string
  readonly exited: Promise<number>
  hasExited(): boolean
  /** Lines of standard output, as they come. */
  onLine(listener: (line: string) => void): void
  /** SIGTERM, and SIGKILL to what is left of the tree three seconds later. */
  stop(): Promise<void>
}

export interface ChildOptions {
  readonly command: string
  readonly args: readonly string[]
  /** null: not pinned. */
  readonly core: number | null
  /** Default: the environment of this process. */
  readonly env?: NodeJS.ProcessEnv
}

const running = new Set<ChildProcess>()
const folders = new Set<string>()

/** Starts a process. taskset executes the command in its own place, so the pid is the command's. */
export function startChild(options: ChildOptions): Child {
  const pinned = options.core !== null
  const command = pinned ? 'taskset' : options.command
  const args = pinned ? ['-c', String(options.core), options.command, ...options.args] : [...options.args]
  const child = spawn(command, args, { env: options.env ?? process.env, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  let output = ''
  const listeners: ((line: string) => void)[] = []
  let partial = ''
  const keepTail = (text: string): void => {
    output = (output + text).slice(-4096)
  }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    keepTail(text)
    const lines = (partial + text).split('\n')
    partial = lines.pop() ?? ''
    for (const line of lines) for (const listener of listeners) listener(line)
  })
  child.stderr.setEncoding('utf8').on('data', keepTail)
  let ended = false
  const exited = new Promise<number>((resolve) => {
    const end = (code: number): void => {
      ended = true
      running.delete(child)
      resolve(code)
    }
    child.on('error', (error) => {
      keepTail(error.message)
      end(127)
    })
    child.on('close', (code) => end(code ?? 128))
  })
  return {
    pid: child.pid ?? 0,
    tail: () => output.trim(),
    exited,
    hasExited: () => ended,
    onLine: (listener) => {
      listeners.push(listener)
    },
    stop: async () => {
      if (ended) return
      child.kill('SIGTERM')
      const timer = setTimeout(() => killTree(child), 3000)
      await exited
      clearTimeout(timer)
    },
  }
}

/** Runs a process to its end and gives its standard output; rejects when it fails or takes longer than `limitMs`. */
export async function runChild(options: ChildOptions, limitMs: number): Promise<string> {
  const child = startChild(options)
  let output = ''
  child.onLine((line) => {
    output += `${line}\n`
  })
  const timer = setTimeout(() => void child.stop(), limitMs)
  const code = await child.exited
  clearTimeout(timer)
  if (code !== 0) throw new Error(`${options.command} ended with ${code}: ${child.tail()}`)
  return output
}

/** A new folder that is removed at the end. Readable by all, since a root nginx serves as another user. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-bench-'))
  chmodSync(folder, 0o755)
  folders.add(folder)
  return folder
}

/** Makes sure that nothing outlives this process, whichever way it ends. */
export function cleanUpAtExit(): void {
  process.on('exit', () => {
    for (const child of running) killTree(child)
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  })
  process.on('SIGINT', () => process.exit(130))
  process.on('SIGTERM', () => process.exit(143))
  process.on('SIGHUP', () => process.exit(129))
}

function killTree(child: ChildProcess): void {
  if (child.pid === undefined) return
  for (const pid of processTree(child.pid).reverse()) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // it ended first
    }
  }
}
