// A real ztunnel for one test, in a network namespace that stands for its node: fed by the fake control plane, certified by the fake CA, handed its pods by the fake agent.
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { eventually } from './eventually.ts'
import type { FakeControlPlane } from './fake-control-plane.ts'
import { NODE_TOKEN } from './fed-node.ts'
import { CA_SERVER_NAME, type IstioCaServer } from './istio-ca-server.ts'
import type { Namespace, Running } from './netns.ts'
import type { SigningCa } from './signing-ca.ts'
import type { Teardown } from './teardown.ts'
import { ZdsAgent } from './zds-agent.ts'

/** Path of the program, and why a test that needs it is skipped; said on standard error too. */
export function findZtunnel(): { readonly program: string; readonly skip: string } {
  const program = process.env['ZTUNNEL'] ?? ''
  const skip = program === '' ? 'NOT RUN: set ZTUNNEL to the path of a ztunnel (test/README.md)' : whyNot(program)
  if (skip !== '') process.stderr.write(`SKIPPED: a real ztunnel: ${skip}\n`)
  return { program, skip }
}

function whyNot(program: string): string {
  try {
    accessSync(program, constants.X_OK)
    return ''
  } catch (error) {
    return `NOT RUN: ZTUNNEL: ${(error as Error).message}`
  }
}

export interface ZtunnelOptions {
  /** Of its node: it sees nothing but its own loopback, and what it is handed. */
  readonly namespace: Namespace
  readonly plane: FakeControlPlane
  readonly ca: IstioCaServer
  /** Whose root it is told to trust for both. */
  readonly authority: SigningCa
  readonly env?: Readonly<Record<string, string>>
}

/** A line of its log. */
export type ZtunnelLine = Readonly<Record<string, unknown>>

/** Where istiod is, to it. */
const [PLANE_PORT, CA_PORT] = [15_010, 15_012]

export class Ztunnel {
  readonly agent: ZdsAgent
  private readonly options: ZtunnelOptions
  private readonly folder: string
  private child: Running | null
  private output: string

  private constructor(options: ZtunnelOptions, folder: string, agent: ZdsAgent) {
    this.options = options
    this.folder = folder
    this.agent = agent
    this.child = null
    this.output = ''
  }

  /** Running, and connected to its agent. What it is handed, and when that is all, is the test's to say. */
  static async start(t: Teardown, options: ZtunnelOptions): Promise<Ztunnel> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-ztunnel-'))
    const ztunnel = new Ztunnel(options, folder, await ZdsAgent.start(t))
    t.teardown(async () => {
      await ztunnel.kill()
      rmSync(folder, { recursive: true, force: true })
    })
    writeFileSync(path.join(folder, 'root.pem'), options.authority.rootPem)
    await ztunnel.relay(t)
    await ztunnel.run()
    return ztunnel
  }

  /** Starts the program, and again after its end. */
  async run(): Promise<void> {
    const { namespace, env = {} } = this.options
    const before = this.agent.connections
    const root = path.join(this.folder, 'root.pem')
    const child = namespace.spawn(findZtunnel().program, ['proxy', 'ztunnel'], {
      // It reads files in folders below its own.
      cwd: this.folder,
      env: {
        PATH: process.env['PATH'],
        RUST_LOG: 'info',
        LOG_FORMAT: 'json',
        RUST_BACKTRACE: '1',
        XDS_ADDRESS: `https://localhost:${PLANE_PORT}`,
        XDS_ROOT_CA: root,
        ALT_XDS_HOSTNAME: CA_SERVER_NAME,
        CA_ADDRESS: `https://localhost:${CA_PORT}`,
        CA_ROOT_CA: root,
        ALT_CA_HOSTNAME: CA_SERVER_NAME,
        AUTH_TOKEN: NODE_TOKEN,
        INPOD_UDS: this.agent.socket,
        NODE_NAME: namespace.name,
        POD_NAME: `ztunnel-${namespace.name}`,
        POD_NAMESPACE: 'istio-system',
        SERVICE_ACCOUNT: 'ztunnel',
        INSTANCE_IP: '127.0.0.1',
        ZTUNNEL_WORKER_THREADS: '1',
        ...env,
      },
    })
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    this.child = child
    await this.agent.connected(before + 1).catch((error: Error) => {
      throw new Error(`${error.message}; ztunnel said:\n${this.output.slice(-3000)}`)
    })
  }

  get pid(): number {
    return this.child?.pid ?? 0
  }

  get log(): string {
    return this.output
  }

  get lines(): readonly ZtunnelLine[] {
    return this.output
      .split('\n')
      .filter((l) => l.startsWith('{') && l.endsWith('}'))
      .map((l) => JSON.parse(l) as ZtunnelLine)
  }

  /** The first line of its access log that is so; strings may be patterns. */
  logged(wanted: Readonly<Record<string, string | number | RegExp>>, budgetMs = 10_000): Promise<ZtunnelLine> {
    const isIt = (line: ZtunnelLine) =>
      line['scope'] === 'access' &&
      Object.entries(wanted).every(([k, v]) => (v instanceof RegExp ? v.test(String(line[k])) : line[k] === v))
    return eventually(
      `a line of ztunnel's with ${Object.entries(wanted).map(([k, v]) => `${k}=${v}`)}`,
      () => this.lines.find(isIt) as ZtunnelLine,
      budgetMs,
    ).catch((error: Error) => {
      const access = this.lines.filter((l) => l['scope'] === 'access')
      throw new Error(
        `${error.message}; its last lines:\n${access
          .slice(-6)
          .map((l) => JSON.stringify(l))
          .join('\n')}`,
      )
    })
  }

  /** All that it waits for has come. */
  ready(budgetMs = 10_000): Promise<unknown> {
    const { namespace } = this.options
    return eventually(
      'ztunnel to be ready',
      async () => (await namespace.request(15_021, '/healthz/ready')).status === 200,
      budgetMs,
    )
  }

  /** Its view of the world. */
  async configDump(): Promise<Readonly<Record<string, unknown>>> {
    return JSON.parse((await this.options.namespace.request(15_000, '/config_dump')).body) as Record<string, unknown>
  }

  async metrics(): Promise<string> {
    return (await this.options.namespace.request(15_020, '/stats/prometheus')).body
  }

  /** SIGTERM: it drains. Resolves when it has ended. */
  async stop(budgetMs = 20_000): Promise<void> {
    await this.end('SIGTERM', budgetMs)
  }

  async kill(): Promise<void> {
    await this.end('SIGKILL', 10_000)
  }

  private async end(signal: NodeJS.Signals, budgetMs: number): Promise<void> {
    const { child } = this
    if (child === null) return
    child.kill(signal)
    await eventually('ztunnel to end', () => child.exitCode !== null || child.signalCode !== null, budgetMs)
    this.child = null
  }

  /** Control plane and CA at its loopback. It speaks nothing but TLS; that of the control plane is ended here. */
  private async relay(t: Teardown): Promise<void> {
    const { plane, ca, authority, namespace } = this.options
    const { chain, key } = await authority.issue({ dnsNames: [CA_SERVER_NAME, 'localhost'] })
    const toPlane = tls.createServer({ cert: chain, key, ALPNProtocols: ['h2'] }, (front) =>
      join(front, net.connect(plane.address.port, plane.address.host)),
    )
    toPlane.on('tlsClientError', () => {})
    const toCa = net.createServer((front) => join(front, net.connect(ca.address.port, ca.address.host)))
    const sockets = [
      [toPlane, 'plane.sock', PLANE_PORT],
      [toCa, 'ca.sock', CA_PORT],
    ] as const
    for (const [server, name] of sockets) {
      await new Promise<void>((resolve) => server.listen(path.join(this.folder, name), resolve))
      t.teardown(() => server.close())
    }
    // A socket in the file system is the same in all network namespaces.
    const script = `const net = require('net')
      for (const [path, port] of ${JSON.stringify(sockets.map(([, name, port]) => [path.join(this.folder, name), port]))})
        for (const host of ['127.0.0.1', '::1'])
          net.createServer((s) => {
            const to = net.connect(path)
            s.pipe(to).pipe(s)
            for (const x of [s, to]) x.on('error', () => {}).on('close', () => { s.destroy(); to.destroy() })
          }).on('error', () => {}).listen(port, host, () => console.log('on'))`
    const child = namespace.spawn(process.execPath, ['-e', script])
    let said = ''
    child.stdout.on('data', (d) => {
      said += d
    })
    await eventually('relays', () => said.split('on').length > 3)
  }
}

function join(a: net.Socket, b: net.Socket): void {
  a.pipe(b).pipe(a)
  for (const x of [a, b])
    x.on('error', () => {}).on('close', () => {
      a.destroy()
      b.destroy()
    })
}
