// The real heddle for one test: `heddle run` as a child process, configured from strings, on ports that the system chooses.
import type { ChildProcessByStdio } from 'node:child_process'
import { spawn } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { eventually, within } from './eventually.ts'
import { freePort } from './free-port.ts'
import { Metrics } from './metrics.ts'
import type { As, Namespace } from './netns.ts'
import type { Teardown } from './teardown.ts'

/** Folder with package.json: the compiled kit lies in build/test/support. */
export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..')
export const BIN = path.join(ROOT, 'bin/heddle')

/** An entry of `listeners:` in heddle.yaml. */
export interface ListenerSpec {
  readonly name: string
  readonly direction?: 'inbound' | 'outbound'
  readonly protocol?: 'http' | 'http1' | 'http2' | 'tcp'
  readonly address?: string
  readonly port?: number
  readonly destination?: string
  readonly forwardTo?: string
  readonly destinationPort?: number
  readonly connect?: 'refuse' | 'tunnel'
}

export interface ProxyOptions {
  /** YAML documents: one text, or file name → text. They become files of a folder that the proxy watches. */
  readonly resources?: string | Readonly<Record<string, string>>
  /** Existing files or folders beside these. */
  readonly resourcePaths?: readonly string[]
  /** Default: one outbound HTTP listener `out`. Address 127.0.0.1 and port 0 unless given. */
  readonly listeners?: readonly ListenerSpec[]
  /** Merged into heddle.yaml, objects key by key. */
  readonly bootstrap?: Readonly<Record<string, unknown>>
  readonly env?: Readonly<Record<string, string>>
  /** More arguments of `heddle run`. */
  readonly args?: readonly string[]
  /** Arguments of node itself. */
  readonly nodeArgs?: readonly string[]
  /** Default: bin/heddle of this tree. */
  readonly bin?: string
  /** Runs it in a network namespace, and asks its admin port there. */
  readonly namespace?: Namespace
  /** Who runs it there; default root. */
  readonly as?: As
  /** 15000 */
  readonly readyBudgetMs?: number
}

export interface AdminAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: string
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A line of the JSON access log, with Istio's keys. */
export type AccessLine = Readonly<Record<string, string | number | null>>

export class HeddleProcess {
  /** Folder with heddle.yaml, `mesh/` and access.log; gone after the test. */
  readonly dir: string
  readonly configFile: string
  readonly adminPort: number
  /** Resolves when the process has ended. */
  readonly exited: Promise<Exit>
  private readonly child: ChildProcessByStdio<null, Readable, Readable>
  private readonly ports: Map<string, number>
  private readonly namespace: Namespace | null
  private readonly output: { stdout: string; stderr: string }
  private exit: Exit | null

  constructor(dir: string, adminPort: number, child: ChildProcessByStdio<null, Readable, Readable>, namespace: Namespace | null) {
    this.namespace = namespace
    this.dir = dir
    this.configFile = path.join(dir, 'heddle.yaml')
    this.adminPort = adminPort
    this.child = child
    this.ports = new Map()
    this.output = { stdout: '', stderr: '' }
    this.exit = null
    child.stdout.setEncoding('utf8').on('data', (d: string) => {
      this.output.stdout += d
    })
    child.stderr.setEncoding('utf8').on('data', (d: string) => {
      this.output.stderr += d
    })
    this.exited = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        this.exit = { code, signal }
        resolve(this.exit)
      })
    })
  }

  get pid(): number {
    return this.child.pid as number
  }

  get stdout(): string {
    return this.output.stdout
  }

  /** heddle's own log. */
  get stderr(): string {
    return this.output.stderr
  }

  get isRunning(): boolean {
    return this.exit === null
  }

  /** Port of a listener; without a name that of the first. */
  port(name?: string): number {
    const port = name === undefined ? this.ports.values().next().value : this.ports.get(name)
    if (port === undefined) throw new Error(`no listener ${name ?? ''}; there are: ${[...this.ports.keys()].join(', ')}`)
    return port
  }

  /** A request to the admin port. */
  admin(target: string, method = 'GET'): Promise<AdminAnswer> {
    if (this.namespace !== null) return this.namespace.request(this.adminPort, target, method)
    return httpRequest(this.adminPort, target, method)
  }

  async adminJson(target: string): Promise<unknown> {
    const { status, body } = await this.admin(target)
    if (status !== 200) throw new Error(`${target} answered ${status}: ${body}`)
    return JSON.parse(body)
  }

  async metrics(): Promise<Metrics> {
    return new Metrics((await this.admin('/stats/prometheus')).body)
  }

  clusters(): Promise<unknown> {
    return this.adminJson('/clusters?format=json')
  }

  listeners(): Promise<unknown> {
    return this.adminJson('/listeners?format=json')
  }

  /** `heddle explain ID --json` against this proxy. */
  async explain(id: string): Promise<Readonly<Record<string, unknown>>> {
    const { code, stdout, stderr } = await runHeddle(['explain', id, '--config', this.configFile, '--json'], {
      namespace: this.namespace,
    })
    if (code !== 0) throw new Error(`heddle explain ended with ${code}: ${stderr}${stdout}`)
    return JSON.parse(stdout) as Record<string, unknown>
  }

  /** Version of the snapshot that all workers have applied. */
  async version(): Promise<number> {
    const value = (await this.metrics()).value('heddle_config_version')
    if (value === null) throw new Error('no metric heddle_config_version')
    return value
  }

  /** Replaces files in `mesh/` (null removes one), each in one step, as an editor or a volume mount does. */
  writeResources(files: Readonly<Record<string, string | null>>): void {
    for (const [name, text] of Object.entries(files)) {
      const file = path.join(this.dir, 'mesh', name)
      if (text === null) {
        rmSync(file)
        continue
      }
      const partial = path.join(this.dir, `.${name.replaceAll('/', '_')}.partial`)
      writeFileSync(partial, text)
      renameSync(partial, file)
    }
  }

  /** `writeResources`, and waits until a newer snapshot is in force. */
  async reload(files: Readonly<Record<string, string | null>>, budgetMs = 10_000): Promise<void> {
    const before = await this.version()
    this.writeResources(files)
    await eventually('a new snapshot', async () => (await this.version()) > before, budgetMs)
  }

  /** Complete lines of the access log so far. */
  accessLog(): readonly AccessLine[] {
    const text = readFileSync(path.join(this.dir, 'access.log'), { encoding: 'utf8', flag: 'a+' })
    const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
    return lines.filter((l) => l !== '').map((l) => JSON.parse(l) as AccessLine)
  }

  /** The access log line that has these values. */
  logged(wanted: AccessLine, budgetMs = 10_000): Promise<AccessLine> {
    const isIt = (line: AccessLine) => Object.entries(wanted).every(([k, v]) => line[k] === v)
    return eventually(
      `an access log line with ${JSON.stringify(wanted)}`,
      () => this.accessLog().find(isIt) as AccessLine,
      budgetMs,
    )
  }

  /** The first access log line that is as wanted. */
  loggedLike(isIt: (line: AccessLine) => boolean, budgetMs = 10_000): Promise<AccessLine> {
    return eventually('an access log line', () => this.accessLog().find(isIt) as AccessLine, budgetMs)
  }

  /** Waits until heddle's own log matches. */
  async said(what: RegExp, budgetMs = 10_000): Promise<string> {
    await eventually(`the log to say ${what}`, () => what.test(this.stderr) || what.test(this.stdout), budgetMs)
    return this.stderr
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name)
  }

  /** SIGTERM, and waits for the end. */
  async stop(budgetMs = 10000): Promise<Exit> {
    if (this.exit === null) this.child.kill('SIGTERM')
    return within('heddle to end', this.exited, budgetMs, () => this.stderr.slice(-2000))
  }

  /** Reads which ports the listeners got. */
  async learnPorts(): Promise<void> {
    const answer = (await this.listeners()) as ListenersAnswer
    for (const l of answer.listener_statuses) this.ports.set(l.name, l.local_address.socket_address.port_value)
  }

  /** Ends the process group at once and removes the files. */
  async discard(): Promise<void> {
    if (this.exit === null) this.child.kill('SIGKILL')
    await this.exited
    rmSync(this.dir, { recursive: true, force: true })
  }
}

interface ListenersAnswer {
  readonly listener_statuses: readonly {
    readonly name: string
    readonly local_address: { readonly socket_address: { readonly address: string; readonly port_value: number } }
  }[]
}

/** Starts heddle and waits until it is ready. It ends with the test. */
export async function startProxy(t: Teardown, options: ProxyOptions = {}): Promise<HeddleProcess> {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-test-'))
  const adminPort = await freePort()
  writeConfig(dir, adminPort, options)
  const args = [
    ...(options.nodeArgs ?? []),
    options.bin ?? BIN,
    'run',
    '--config',
    path.join(dir, 'heddle.yaml'),
    ...(options.args ?? []),
  ]
  if (options.as !== undefined) giveTo(options.as, dir)
  const [program, ...rest] = commandLine(options.namespace ?? null, args, options.as)
  const child = spawn(program, rest, {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...cleanEnv(), ...options.env },
  })
  const proxy = new HeddleProcess(dir, adminPort, child, options.namespace ?? null)
  t.teardown(() => proxy.discard())
  await eventually(
    'heddle to be ready',
    async () => {
      if (!proxy.isRunning) return true
      return (await proxy.admin('/ready')).status === 200
    },
    options.readyBudgetMs ?? 15000,
  ).catch((error: Error) => {
    throw new Error(`${error.message}\nheddle said:\n${proxy.stderr.slice(-4000)}`)
  })
  if (!proxy.isRunning) throw new Error(`heddle ended at once:\n${proxy.stderr.slice(-4000)}${proxy.stdout.slice(-2000)}`)
  await proxy.learnPorts()
  return proxy
}

/** Runs a heddle command to its end. */
export async function runHeddle(
  args: readonly string[],
  options: {
    readonly cwd?: string
    readonly env?: Readonly<Record<string, string>>
    readonly budgetMs?: number
    readonly namespace?: Namespace | null
  } = {},
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const [program, ...rest] = commandLine(options.namespace ?? null, [BIN, ...args])
  const child = spawn(program, rest, {
    cwd: options.cwd ?? ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...cleanEnv(), ...options.env },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (d: string) => {
    stdout += d
  })
  child.stderr.setEncoding('utf8').on('data', (d: string) => {
    stderr += d
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)))
  const code = await within(`heddle ${args.join(' ')}`, ended, options.budgetMs ?? 20000, () => {
    child.kill('SIGKILL')
    return stderr
  })
  return { code, stdout, stderr }
}

function commandLine(namespace: Namespace | null, args: readonly string[], as?: As): [program: string, ...args: string[]] {
  return namespace === null ? [process.execPath, ...args] : namespace.commandLine(process.execPath, args, as)
}

/** The folder with all that is in it. */
function giveTo({ uid, gid }: As, dir: string): void {
  for (const file of ['', ...readdirSync(dir, { recursive: true, encoding: 'utf8' })]) chownSync(path.join(dir, file), uid, gid)
}

/** The environment without what would change the configuration under test. */
function cleanEnv(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([k]) => !k.startsWith('HEDDLE_') && k !== 'NODE_OPTIONS'))
}

function writeConfig(dir: string, adminPort: number, options: ProxyOptions): void {
  const mesh = path.join(dir, 'mesh')
  mkdirSync(mesh)
  const files = typeof options.resources === 'string' ? { 'mesh.yaml': options.resources } : (options.resources ?? {})
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(mesh, name)), { recursive: true })
    writeFileSync(path.join(mesh, name), text)
  }
  const base = {
    concurrency: 1,
    admin: { address: '127.0.0.1', port: adminPort },
    health: { address: '127.0.0.1', port: 0 },
    accessLog: { path: path.join(dir, 'access.log'), format: 'json' },
    // Clients of a test know when it ends.
    drain: { accept: '0s' },
    resources: [mesh, ...(options.resourcePaths ?? [])],
    listeners: (options.listeners ?? [{ name: 'out' }]).map((l) => ({
      direction: 'outbound',
      protocol: 'http',
      address: '127.0.0.1',
      port: 0,
      ...l,
    })),
  }
  // JSON is YAML.
  writeFileSync(path.join(dir, 'heddle.yaml'), `${JSON.stringify(merge(base, options.bootstrap ?? {}), null, 2)}\n`)
}

type Tree = Readonly<Record<string, unknown>>

function merge(base: Tree, over: Tree): Tree {
  const out: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const there = out[key]
    out[key] = isTree(there) && isTree(value) ? merge(there, value) : value
  }
  return out
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function httpRequest(port: number, target: string, method = 'GET'): Promise<AdminAnswer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, path: target, method, agent: false, timeout: 5000 }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (d: string) => {
        body += d
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
    })
    request.on('error', reject)
    request.on('timeout', () => request.destroy(new Error(`no answer from port ${port}`)))
    request.end()
  })
}
