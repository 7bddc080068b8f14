// A real istiod, where the environment names its program: fed from a folder, without Kubernetes, in plain text.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { eventually } from './eventually.ts'
import { freePort } from './free-port.ts'
import { httpRequest } from './proxy.ts'
import type { Teardown } from './teardown.ts'

/** An object of Istio's configuration. */
export type IstioObject = Readonly<Record<string, unknown>>

/** What it says of a proxy: type of resource (`Cluster`) → what is sent was acknowledged. */
export type SyncStatus = Readonly<Record<string, boolean>>

/** Path of `pilot-discovery` (up to 1.29; later ones do not start without Kubernetes); empty: there is none. */
export const ISTIOD = process.env['ISTIOD'] ?? ''

export class Istiod {
  readonly xdsPort: number
  readonly #folder: string
  readonly #httpPort: number
  readonly #monitoringPort: number
  #child: ChildProcess | null
  #said: string
  /** Hosts of ServiceEntries among the objects. */
  #hosts: readonly string[]

  private constructor(folder: string, ports: readonly [number, number, number]) {
    this.#folder = folder
    ;[this.xdsPort, this.#httpPort, this.#monitoringPort] = ports
    this.#child = null
    this.#said = ''
    this.#hosts = []
  }

  static async run(t: Teardown, objects: readonly IstioObject[], meshConfig: IstioObject = {}): Promise<Istiod> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-istiod-'))
    const istiod = new Istiod(folder, [await freePort(), await freePort(), await freePort()])
    t.teardown(async () => {
      await istiod.kill()
      rmSync(folder, { recursive: true, force: true })
    })
    mkdirSync(path.join(folder, 'objects'))
    writeFileSync(path.join(folder, 'mesh.yaml'), JSON.stringify(meshConfig))
    istiod.write(objects)
    await istiod.start()
    return istiod
  }

  get address(): string {
    return `127.0.0.1:${this.xdsPort}`
  }

  /** All objects, in place of those before. */
  write(objects: readonly IstioObject[]): void {
    this.#hosts = objects.flatMap((o) =>
      o['kind'] === 'ServiceEntry' ? (o['spec'] as { readonly hosts: readonly string[] }).hosts : [],
    )
    const partial = path.join(this.#folder, 'partial')
    writeFileSync(partial, objects.map((o) => JSON.stringify(o)).join('\n---\n'))
    renameSync(partial, path.join(this.#folder, 'objects', 'all.yaml'))
  }

  /**
   * `maxAgeMs`: how long a connection may live; default: for ever. Now and then one that reads files begins without their services and stays so until they change:
   * then it is begun again. False: that was so, and whom it feeds had no services for a moment.
   */
  async start(maxAgeMs = 0): Promise<boolean> {
    for (let i = 0; i < 5; i++) {
      await this.#begin(maxAgeMs)
      if (await this.#hasServices()) return i === 0
      await this.kill()
    }
    throw new Error(`istiod does not read its files:\n${this.#said}`)
  }

  async #hasServices(): Promise<boolean> {
    for (let i = 0; i < 10; i++) {
      const { body } = await httpRequest(this.#httpPort, '/debug/registryz')
      if (this.#hosts.every((host) => body.includes(JSON.stringify(host)))) return true
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return false
  }

  async #begin(maxAgeMs: number): Promise<void> {
    const at = (port: number) => `127.0.0.1:${port}`
    const child = spawn(
      ISTIOD,
      [
        ...['discovery', '--registries=', '--configDir', path.join(this.#folder, 'objects'), '--ctrlz_port', '0'],
        ...['--meshConfig', path.join(this.#folder, 'mesh.yaml'), '--secureGRPCAddr', '', '--grpcAddr', at(this.xdsPort)],
        ...['--httpAddr', at(this.#httpPort), '--monitoringAddr', at(this.#monitoringPort)],
        ...(maxAgeMs === 0 ? [] : ['--keepaliveMaxServerConnectionAge', `${maxAgeMs}ms`]),
      ],
      {
        cwd: this.#folder,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { CLUSTER_ID: 'Kubernetes', POD_NAMESPACE: 'istio-system', PILOT_DEBOUNCE_AFTER: '10ms' },
      },
    )
    this.#child = child
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-20_000)
      })
    await eventually(
      'istiod to listen',
      async () => {
        if (child.exitCode !== null) throw new Error('it has ended')
        return isListening(this.xdsPort)
      },
      20_000,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\nistiod said:\n${this.#said}`)
    })
  }

  /** Without a word to anybody. */
  async kill(): Promise<void> {
    const child = this.#child
    this.#child = null
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  /** Of the node whose name begins so; null: it does not know it. */
  async syncOf(name: string): Promise<SyncStatus | null> {
    const { body } = await httpRequest(this.#httpPort, '/debug/syncz')
    const known = JSON.parse(body || '[]') as readonly SyncEntry[] | null
    const entry = known?.find(({ proxy }) => proxy.startsWith(name))
    if (entry === undefined) return null
    return Object.fromEntries(
      Object.entries(entry.resources ?? {}).map(([type, { sent, acked }]) => [type.replace(/^.*\./, ''), sent === acked]),
    )
  }

  /** Its log, the last part. */
  get log(): string {
    return this.#said
  }

  /** Until it says that the node has acknowledged all that was sent, of these types at least. */
  async synced(name: string, types: readonly string[]): Promise<void> {
    let last: SyncStatus | null = null
    await eventually(
      `${name} to be in sync`,
      async () => {
        last = await this.syncOf(name)
        return last !== null && types.every((type) => last?.[type] === true) && !Object.values(last).includes(false)
      },
      20_000,
    ).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last)}\nistiod said:\n${this.#said.slice(-3000)}`)
    })
  }
}

interface SyncEntry {
  readonly proxy: string
  readonly resources?: Readonly<Record<string, { readonly sent?: string; readonly acked?: string }>>
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
