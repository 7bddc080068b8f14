// Network namespaces as pods and nodes: made for one test, joined by veth pairs or a bridge, with programs inside, and gone after it.
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { within } from './eventually.ts'
import type { Teardown } from './teardown.ts'

const FOLDER = '/run/netns'
const PREFIX = 'heddle-'
/** What the kit runs itself. */
const TOOLS = ['curl', 'ip', 'ip6tables', 'iptables', 'nsenter', 'setpriv', 'sysctl', 'unshare']

/**
 * Why namespaces cannot be made here, for the skip of a test; empty when they can. With HEDDLE_TEST_NETNS=required it throws instead, so that
 * nothing is skipped where everything has to run.
 */
export function canMakeNamespaces(): string {
  const reason = reasonAgainst()
  if (reason !== '' && process.env['HEDDLE_TEST_NETNS'] === 'required') throw new Error(reason)
  return reason
}

function reasonAgainst(): string {
  if (process.platform !== 'linux') return 'network namespaces need Linux'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const folders = (process.env['PATH'] ?? '').split(':')
  const missing = TOOLS.filter((tool) => !folders.some((folder) => existsSync(`${folder}/${tool}`)))
  if (missing.length > 0) return `network namespaces need ${missing.join(', ')}`
  const { status, stderr } = spawnSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up'], { encoding: 'utf8' })
  return status === 0 ? '' : `network namespaces cannot be made: ${stderr.trim()}`
}

/** One end of a veth pair. */
export interface End {
  readonly namespace: Namespace
  /** At most 15 characters. */
  readonly device: string
  /** With their prefix: `10.7.0.1/24`, `fd07::1/64`. */
  readonly addresses: readonly string[]
}

/** A member of a bridged network; its device is `eth0`. */
export interface Member {
  readonly namespace: Namespace
  readonly addresses: readonly string[]
}

/** The namespaces of one test. */
export class Namespaces {
  private readonly made: Namespace[]
  private readonly onExit: () => void

  private constructor() {
    this.made = []
    this.onExit = () => this.removeAll()
    process.on('exit', this.onExit)
  }

  /** First removes what test processes that were killed have left. */
  static make(t: Teardown): Namespaces {
    removeLeftovers()
    const all = new Namespaces()
    t.teardown(async () => {
      for (const namespace of all.made) await namespace.endAll()
      all.removeAll()
      process.off('exit', all.onExit)
    })
    return all
  }

  /** An empty one, with its loopback up. */
  add(name: string): Namespace {
    const full = `${PREFIX}${process.pid}-${this.made.length}-${name}`
    run('ip', ['netns', 'add', full])
    const namespace = new Namespace(name, full)
    this.made.push(namespace)
    namespace.run('ip', 'link', 'set', 'lo', 'up')
    // A link-local address could not be used for its first second, and so no neighbour be found.
    for (const which of ['all', 'default']) namespace.sysctl(`net.ipv6.conf.${which}.accept_dad`, 0)
    return namespace
  }

  /** A cable between two of them; their addresses can be used at once. */
  veth(a: End, b: End): void {
    run('ip', [
      '-n',
      a.namespace.full,
      'link',
      'add',
      a.device,
      'type',
      'veth',
      'peer',
      'name',
      b.device,
      'netns',
      b.namespace.full,
    ])
    for (const { namespace, device, addresses } of [a, b]) {
      for (const address of addresses) namespace.addAddress(address, device)
      namespace.run('ip', 'link', 'set', device, 'up')
    }
    for (const { namespace, device } of [a, b]) namespace.settle(device)
  }

  /** A network of many: a bridge `br0` in the first, as on a node, and `eth0` in each member, as in a pod. The members reach each other and it. */
  bridge({ namespace: node, addresses }: Member, members: readonly Member[]): void {
    node.run('ip', 'link', 'add', 'br0', 'type', 'bridge')
    for (const address of addresses) node.addAddress(address, 'br0')
    node.run('ip', 'link', 'set', 'br0', 'up')
    for (const [i, member] of members.entries()) {
      this.veth({ namespace: node, device: `port${i}`, addresses: [] }, { ...member, device: 'eth0' })
      node.run('ip', 'link', 'set', `port${i}`, 'master', 'br0')
    }
    node.settle('br0')
  }

  private removeAll(): void {
    for (const namespace of this.made.splice(0)) namespace.remove()
  }
}

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Who a program runs as; default root with everything. */
export interface As {
  readonly uid: number
  readonly gid: number
  /** Kept in spite of the uid: `net_admin`, `net_raw`, … */
  readonly capabilities?: readonly string[]
}

export interface SpawnOptions {
  readonly as?: As
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
}

export type Running = ChildProcessByStdio<Writable, Readable, Readable>

export class Namespace {
  /** As the test calls it. */
  readonly name: string
  /** As `ip netns` calls it. */
  readonly full: string
  readonly path: string
  private readonly children: Set<Running>

  constructor(name: string, full: string) {
    this.name = name
    this.full = full
    this.path = `${FOLDER}/${full}`
    this.children = new Set()
  }

  /** A short command to its end: its standard output. Throws with its standard error when it fails. */
  run(command: string, ...args: readonly string[]): string {
    const [program, ...rest] = this.commandLine(command, args)
    return run(program, rest)
  }

  /** A command to its end, while the test goes on; whatever its code. */
  async exec(
    command: string,
    args: readonly string[],
    options: SpawnOptions & { input?: string; budgetMs?: number } = {},
  ): Promise<Finished> {
    const child = this.spawn(command, args, options)
    const output = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output.stderr += text
    })
    child.stdin.on('error', () => {}).end(options.input ?? '')
    const closed = new Promise<number | null>((resolve) => child.on('close', resolve))
    const said = () => `it said: ${output.stdout.slice(-500)}${output.stderr.slice(-500)}`
    const code = await within(`${command} in ${this.name} to end`, closed, options.budgetMs ?? 10_000, said)
    return { code, ...output }
  }

  /** A program that runs until it ends or the test does. */
  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): Running {
    const [program, ...rest] = this.commandLine(command, args, options.as)
    const child = spawn(program, rest, { stdio: 'pipe', cwd: options.cwd, env: options.env ?? process.env })
    this.children.add(child)
    child.on('close', () => this.children.delete(child))
    return child
  }

  /** What makes a program run inside, for those who start it themselves. The program has the id of the process that is started. */
  commandLine(command: string, args: readonly string[], as?: As): [program: string, ...args: string[]] {
    return ['nsenter', `--net=${this.path}`, '--', ...(as === undefined ? [] : setpriv(as)), command, ...args]
  }

  /** A request to a server on the loopback inside, by curl. Rejects when there is no answer. */
  async request(port: number, target: string, method = 'GET'): Promise<HttpAnswer> {
    const url = `http://127.0.0.1:${port}${target}`
    const { code, stdout, stderr } = await this.exec('curl', ['-sS', '-i', '--path-as-is', '-X', method, '--max-time', '5', url])
    if (code !== 0) throw new Error(`curl ${url} in ${this.name}: ${stderr.trim()}`)
    const end = stdout.indexOf('\r\n\r\n')
    const [statusLine = '', ...lines] = stdout.slice(0, end).split('\r\n')
    const headers = Object.fromEntries(
      lines.map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]),
    )
    return { status: Number(statusLine.split(' ')[1]), headers, body: stdout.slice(end + 4) }
  }

  addAddress(address: string, device: string): void {
    // Without `nodad` an IPv6 address cannot be bound for its first second.
    this.run('ip', 'address', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []))
  }

  /** Waits until the kernel has noticed that a device is up. Before that a neighbour's first question is lost, and the next comes a second later. */
  settle(device: string): void {
    const until = performance.now() + 5000
    const unsettled = () =>
      !this.run('ip', 'link', 'show', 'dev', device).includes('state UP') ||
      this.run('ip', '-6', 'address', 'show', 'dev', device, 'tentative') !== ''
    while (unsettled()) {
      if (performance.now() > until) throw new Error(`${device} of ${this.name} does not come up: ${this.run('ip', 'address')}`)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }

  sysctl(key: string, value: string | number): void {
    this.run('sysctl', '-qw', `${key}=${value}`)
  }

  /** Bytes and packets of the iptables rule whose comment this is (`-m comment --comment x`). */
  packets(table: string, comment: string, family: 4 | 6 = 4): number {
    const text = this.run(family === 4 ? 'iptables-save' : 'ip6tables-save', '-c', '-t', table)
    const line = text.split('\n').find((l) => l.includes(`--comment ${comment}`) || l.includes(`--comment "${comment}"`))
    const found = line?.match(/^\[(\d+):\d+\]/)
    if (!found) throw new Error(`no rule with the comment ${comment} in ${table} of ${this.name}:\n${text}`)
    return Number(found[1])
  }

  /** Kills what still runs inside, and waits for it. */
  async endAll(): Promise<void> {
    const ends = [...this.children].map((child) => new Promise((resolve) => child.on('close', resolve)))
    this.kill()
    await Promise.all(ends)
  }

  remove(): void {
    this.kill()
    spawnSync('ip', ['netns', 'delete', this.full])
  }

  private kill(): void {
    for (const child of this.children) child.kill('SIGKILL')
  }
}

function setpriv({ uid, gid, capabilities = [] }: As): string[] {
  const kept = capabilities.map((c) => `+${c}`).join(',')
  return [
    'setpriv',
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    ...(kept === '' ? [] : [`--inh-caps=${kept}`, `--ambient-caps=${kept}`]),
    '--',
  ]
}

/** The names carry the id of the process that made them. */
function removeLeftovers(): void {
  if (!existsSync(FOLDER)) return
  for (const name of readdirSync(FOLDER)) {
    const pid = name.match(/^heddle-(\d+)-/)?.[1]
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) spawnSync('ip', ['netns', 'delete', name])
  }
}

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${stderr.trim()}`)
  return stdout
}
