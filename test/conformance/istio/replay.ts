// Asks all requests of a recording and collects what became of them.
import { eventually, pause } from '../../support/eventually.ts'
import type { AccessLine } from '../../support/proxy.ts'
import type { Teardown } from '../../support/teardown.ts'
import type { Answer } from './ask.ts'
import { ask } from './ask.ts'
import type { Counts, Outcome, RecordedRequest, Recording, SeenRequest } from './recording.ts'
import type { Stubs } from './stub.ts'

const DEFAULT_PORT = 9080
/** Reading a log takes longer than waiting for its next line. */
const READ_AGAIN_MS = 50

/** The proxy that is asked: heddle, or whatever else can be started with a recording. */
export interface Subject {
  /** Where it listens for what a sidecar would have captured on this port. */
  portFor(destinationPort: number): number
  /** Lines of the access log so far, with Istio's JSON keys. */
  accessLog(): readonly AccessLine[]
  stop(): Promise<unknown>
}

export interface Result {
  readonly name: string
  readonly wanted: Outcome | Counts
  readonly found: Outcome | Counts
  readonly ignore: readonly string[]
}

/** An answer, and how many before it came to the same port of a client: the system gives ports again. */
type Numbered = Answer & { readonly nth: number }

interface Asked {
  readonly request: RecordedRequest
  readonly wanted: Outcome | Counts
  readonly answers: readonly Numbered[]
  readonly upstream: readonly SeenRequest[]
  /** Which of the proxies, as requests may ask for a fresh one. */
  readonly proxy: Subject
}

/** Asks all requests of a folder, and reads the access log at the end. */
export class Replay {
  private readonly t: Teardown
  private readonly recording: Recording
  private readonly stubs: Stubs
  private readonly start: (recording: Recording) => Promise<Subject>
  private readonly clients: Map<Subject, Map<string, number>>
  private proxy: Subject | null

  constructor(t: Teardown, recording: Recording, stubs: Stubs, start: (recording: Recording) => Promise<Subject>) {
    this.t = t
    this.recording = recording
    this.stubs = stubs
    this.start = start
    this.clients = new Map()
    this.proxy = null
  }

  /** `only`: part of a name; the other requests are left out. */
  async run(only: string): Promise<Result[]> {
    const asked: Asked[] = []
    for (const request of this.recording.requests) {
      const asks = request.path !== undefined || request.raw !== undefined
      if (asks && !request.name.includes(only)) continue
      if (request.down !== undefined) await this.stubs.close(request.down)
      if (request.up !== undefined) await this.stubs.open(request.up)
      if (request.pauseMs !== undefined) await pause(request.pauseMs)
      if (request.restart === true || this.proxy === null) this.proxy = await this.fresh()
      if (!asks) continue
      const wanted = this.recording.expected.get(request.name)
      if (wanted === undefined) throw new Error(`no outcome recorded for ${request.name}`)
      const port = request.port ?? DEFAULT_PORT
      if (!this.recording.ports.includes(port)) continue // the recorded sidecar had no listener to ask either
      asked.push(await this.askOne(this.proxy, request, wanted, port))
    }
    const logs = new Map([...this.clients.keys()].map((proxy) => [proxy, new LogIndex(proxy)]))
    return Promise.all(asked.map((a) => this.result(a, logs.get(a.proxy) as LogIndex)))
  }

  private async fresh(): Promise<Subject> {
    await this.proxy?.stop()
    this.stubs.disconnect()
    return this.start(this.recording)
  }

  private async askOne(proxy: Subject, request: RecordedRequest, wanted: Outcome | Counts, port: number): Promise<Asked> {
    const before = this.stubs.seen.length
    const times = request.repeat ?? 1
    const width = Math.min(times, request.concurrency ?? 8)
    const answers: Numbered[] = []
    while (answers.length < times) {
      const batch = Array.from({ length: Math.min(width, times - answers.length) }, () =>
        ask(this.t, proxy.portFor(port), request),
      )
      answers.push(...(await Promise.all(batch)).map((a) => ({ ...a, nth: this.number(proxy, a.client) })))
    }
    // Copies and attempts may still be on their way; what comes although it was not recorded comes within a moment.
    const due = 'upstream' in wanted ? wanted.upstream?.length : undefined
    if (due !== undefined) {
      const came = () => this.stubs.seen.length - before >= due
      await eventually('the upstream', came, 500).catch(() => {})
      await pause(2)
    }
    return { request, wanted, answers, upstream: this.stubs.seen.slice(before), proxy }
  }

  private number(proxy: Subject, client: string): number {
    const of = this.clients.get(proxy) ?? new Map<string, number>()
    this.clients.set(proxy, of)
    const nth = of.get(client) ?? 0
    of.set(client, nth + 1)
    return nth
  }

  private async result({ request, wanted, answers, upstream }: Asked, log: LogIndex): Promise<Result> {
    const lines = await Promise.all(answers.map((a) => log.lineOf(a)))
    const found =
      request.repeat === undefined
        ? outcome(request.name, answers[0] as Numbered, lines[0] ?? null, upstream)
        : counts(request.name, answers, lines)
    const chance = 'cluster' in wanted && this.recording.manyEndpoints.has(wanted.cluster ?? '') ? ['upstreamHost'] : []
    return { name: request.name, wanted, found, ignore: [...(request.ignore ?? []), ...chance] }
  }
}

/** The lines of one proxy by client; read again when one is missing, but not for each that is. */
class LogIndex {
  private readonly proxy: Subject
  private lines: Map<string, AccessLine[]>
  private readMs: number

  constructor(proxy: Subject) {
    this.proxy = proxy
    this.lines = new Map()
    this.readMs = Number.NEGATIVE_INFINITY
  }

  async lineOf({ client, nth }: Numbered): Promise<AccessLine | null> {
    const find = () => this.lines.get(client)?.[nth] ?? this.again().get(client)?.[nth]
    return (await eventually(`line ${nth} of ${client}`, find, 3000).catch(() => null)) ?? null
  }

  private again(): ReadonlyMap<string, AccessLine[]> {
    if (performance.now() - this.readMs < READ_AGAIN_MS) return this.lines
    this.lines = new Map()
    for (const line of this.proxy.accessLog()) {
      const client = String(line['downstream_remote_address'])
      const list = this.lines.get(client)
      if (list === undefined) this.lines.set(client, [line])
      else list.push(line)
    }
    this.readMs = performance.now()
    return this.lines
  }
}

function outcome(name: string, answer: Answer, line: AccessLine | null, upstream: readonly SeenRequest[]): Outcome {
  const textOf = (key: string) => (line?.[key] ?? null) as string | null
  return {
    name,
    ...answer,
    flags: textOf('response_flags'),
    details: textOf('response_code_details'),
    cluster: textOf('upstream_cluster'),
    route: textOf('route_name'),
    upstreamHost: textOf('upstream_host'),
    upstream,
    log:
      line === null
        ? null
        : { logged: Number(line['response_code']), authority: textOf('authority'), protocol: textOf('protocol') },
  }
}

function counts(name: string, answers: readonly Answer[], lines: readonly (AccessLine | null)[]): Counts {
  return {
    name,
    repeat: answers.length,
    statuses: tally(answers.map((a) => String(a.status))),
    clusters: tally(lines.map((l) => String(l?.['upstream_cluster'] ?? null))),
    flags: tally(lines.map((l) => String(l?.['response_flags'] ?? null))),
    hosts: tally(lines.map((l) => String(l?.['upstream_host'] ?? null))),
  }
}

function tally(values: readonly string[]): Record<string, number> {
  const out: Record<string, number> = {}
  for (const v of values) out[v] = (out[v] ?? 0) + 1
  return out
}
