// Clients that keep asking, each over one connection, and account for every request.
import { type AnyClient, connectAny } from './any-client.ts'
import { pause } from './eventually.ts'
import { header, type ResponseMessage } from './h1-reader.ts'
import type { RequestSpec } from './raw-client.ts'
import type { Teardown } from './teardown.ts'

export interface LoadOptions {
  readonly port: number
  /** One request at a time each. */
  readonly clients: number
  /** `n` counts over all clients. */
  readonly request: (n: number) => RequestSpec
  /** Looks at an answer while the world is still as it was when it came; `before` is what `atSend` returned. */
  readonly onAnswer?: (answer: ResponseMessage, before: number) => void
  /** Called before each request. */
  readonly atSend?: () => number
  /** Of each client after each answer: 10. Clients that never pause take all cores for as long as the test waits for something else. */
  readonly pauseMs?: number
  /** A client that lost its connection, or was told that an answer is the last on it, opens another one; else it is done. */
  readonly reconnect?: boolean
}

export class Load {
  /** Complete answers. */
  answered: number
  /** Status → how many. */
  readonly statuses: Map<number, number>
  /** Value of `x-upstream` → how many. */
  readonly upstreams: Map<string, number>
  /** One line for each request without a complete answer. */
  readonly lost: string[]
  /** The connections, also those that were lost. */
  readonly clients: AnyClient[]
  private readonly options: LoadOptions
  private readonly pauseMs: number
  private readonly t: Teardown
  private sent: number
  private stopping: boolean
  private readonly running: Promise<void>[]

  private constructor(t: Teardown, options: LoadOptions) {
    this.answered = 0
    this.statuses = new Map()
    this.upstreams = new Map()
    this.lost = []
    this.clients = []
    this.options = options
    this.pauseMs = options.pauseMs ?? 10
    this.t = t
    this.sent = 0
    this.stopping = false
    this.running = []
  }

  /** Resolves when every client is connected; from then on they ask. */
  static async start(t: Teardown, options: LoadOptions): Promise<Load> {
    const load = new Load(t, options)
    const clients = await Promise.all(Array.from({ length: options.clients }, () => load.connect()))
    load.running.push(...clients.map((c) => load.run(c)))
    t.teardown(() => load.stop())
    return load
  }

  /** Every request that was sent has been answered or lost. */
  get settled(): boolean {
    return this.sent === this.answered + this.lost.length
  }

  /** Connections that the other side closed. */
  get cut(): number {
    return this.clients.filter((c) => c.closedBy !== null).length
  }

  /** No new requests; resolves when those under way have their answers. */
  async stop(): Promise<void> {
    this.stopping = true
    await Promise.all(this.running)
  }

  private async connect(): Promise<AnyClient> {
    const client = await connectAny(this.t, this.options.port)
    this.clients.push(client)
    return client
  }

  private async run(first: AnyClient): Promise<void> {
    let client = first
    while (!this.stopping) {
      const before = this.options.atSend?.() ?? 0
      const n = this.sent++
      try {
        const answer = await client.ask(this.options.request(n))
        this.note(answer, before)
        if (this.pauseMs > 0) await pause(this.pauseMs)
        if (this.options.reconnect === true && header(answer, 'connection') === 'close') {
          client.destroy()
          client = await this.connect()
        }
      } catch (error) {
        this.lost.push(`request ${n}: ${(error as Error).message}`)
        if (this.options.reconnect !== true) return
        client.destroy()
        const again = await this.connect().catch((e: Error) => e)
        if (again instanceof Error) {
          this.lost.push(`no connection: ${again.message}`)
          this.sent++
          return
        }
        client = again
      }
    }
  }

  private note(answer: ResponseMessage, before: number): void {
    this.answered++
    this.statuses.set(answer.status, (this.statuses.get(answer.status) ?? 0) + 1)
    const upstream = header(answer, 'x-upstream') ?? ''
    this.upstreams.set(upstream, (this.upstreams.get(upstream) ?? 0) + 1)
    this.options.onAnswer?.(answer, before)
  }
}
