// The books of a run: what was asked, what was written to upstreams, what the proxy says it did. At the end they must agree.
import type { AccessLine } from '../support/proxy.ts'
import type { Act } from './act.ts'
import type { Fate } from './chaos-client.ts'
import type { Write } from './hostile-upstream.ts'
import { isSafeToRepeat } from './request-plan.ts'

/** A worker was made to die: what it carried has no log line, and lines that it had not written yet are gone. */
export interface Crash {
  readonly fromMs: number
  toMs: number
}

export interface LedgerOptions {
  /** Attempts beyond the first that the policy of a host allows; and whether the guard holds for it. */
  readonly retriesOf: (host: string) => { readonly attempts: number; readonly guarded: boolean }
  readonly act: (id: number, attempt: number) => Act
  /** Upstreams speak HTTP/2. */
  readonly endsLate: boolean
}

/** Kept for a message; a run that fails everywhere needs no thousand lines. */
const MAX_FAULTS = 40
/** A worker writes its log five times a second; where many share a core, later. */
const LOG_FLUSH_MS = 2000
const LATE = /^(downstream_remote_disconnect|upstream_reset_after_response_started|response_timeout|stream_idle_timeout)/

export class Ledger {
  readonly faults: string[]
  readonly crashes: Crash[]
  /** Requests that reached the proxy. */
  heard: number
  answered: number
  local: number
  cut: number
  left: number
  /** Heads that arrived at upstreams, without copies. */
  writes: number
  /** Requests that were written more than once. */
  repeated: number
  private readonly options: LedgerOptions
  private readonly fates: Map<number, Fate>
  private readonly written: Map<number, number>
  /** Requests without a log line, for a reason that is none of the proxy's. */
  unread: number
  private faultCount: number

  constructor(options: LedgerOptions) {
    this.faults = []
    this.crashes = []
    this.heard = 0
    this.answered = 0
    this.local = 0
    this.cut = 0
    this.left = 0
    this.writes = 0
    this.repeated = 0
    this.options = options
    this.fates = new Map()
    this.written = new Map()
    this.unread = 0
    this.faultCount = 0
  }

  get failed(): boolean {
    return this.faultCount > 0
  }

  wrong(what: string): void {
    this.faultCount++
    if (this.faults.length < MAX_FAULTS) this.faults.push(what)
  }

  noteWrite(write: Write): void {
    if (write.copy) return
    this.writes++
    this.written.set(write.id, (this.written.get(write.id) ?? 0) + 1)
  }

  noteFate(fate: Fate): void {
    const { plan } = fate
    this.fates.set(plan.id, fate)
    if (fate.wrong !== '') this.wrong(`request ${plan.id}: ${fate.wrong}`)
    if (fate.end === 'unheard') return
    this.heard++
    if (fate.end === 'answered') this.answered++
    else if (fate.end === 'local') this.local++
    else if (fate.end === 'cut') this.cut++
    else this.left++
    if (fate.end === 'answered') this.judgeLength(fate)
  }

  /** A body that ends with its connection looks complete when FIN came too early, and never when it was RST. */
  private judgeLength({ plan, attempt, bodyBytes, status }: Fate): void {
    const act = this.options.act(plan.id, attempt)
    if (act.shape !== 'until-close' || plan.method === 'HEAD' || status === 204 || status === 304) return
    const short = bodyBytes < plan.answerLength
    if (short && !(act.upTo < 1 && act.cut === 'fin'))
      this.wrong(
        `request ${plan.id}: complete with ${bodyBytes} of ${plan.answerLength} bytes, although it was not ended by FIN: ${JSON.stringify(act)}`,
      )
  }

  /** Compares with the access log. Returns how many lines there are for requests of this run. */
  judgeLog(lines: readonly AccessLine[]): number {
    const byId = new Map<number, AccessLine[]>()
    let count = 0
    for (const line of lines) {
      const id = Number(/^\/c\/(\d+)$/.exec(String(line['path']))?.[1] ?? Number.NaN)
      if (Number.isNaN(id)) {
        this.wrong(`a log line for a request that nobody made: ${JSON.stringify(line)}`)
        continue
      }
      count++
      const list = byId.get(id)
      if (list === undefined) byId.set(id, [line])
      else list.push(line)
    }
    for (const fate of this.fates.values()) this.judgeLine(fate, byId.get(fate.plan.id) ?? [])
    return count
  }

  private judgeLine(fate: Fate, lines: readonly AccessLine[]): void {
    const { plan, end, status } = fate
    const [line] = lines
    const name = `request ${plan.id} (${plan.method} ${plan.host}, ${end} ${status})`
    if (end === 'unheard') {
      if (lines.length > 0 && !this.crashed(fate)) this.wrong(`${name}: it was logged`)
      return
    }
    if (line === undefined) {
      // Nothing of a request that was reset at once need have been read.
      this.unread++
      const excused =
        (end === 'left' && plan.leavesBy === 'rst') ||
        (status === 0 && (this.stoodBehindEarlyAnswer(fate) || this.stoodBehindLateEnd(fate)))
      if (!excused && !this.crashed(fate))
        this.wrong(`${name}: no log line; ${fate.where}, ${Math.round(fate.endedMs - fate.sentMs)} ms`)
      return
    }
    if (lines.length > 1) this.wrong(`${name}: ${lines.length} log lines`)
    const { response_code: code, response_flags: flags, response_code_details: details } = line
    if (status !== 0 && code !== status) this.wrong(`${name}: the log says ${code}`)
    if (details === null && end !== 'left') this.wrong(`${name}: no reason in the log`)
    if ((end === 'cut' || end === 'local') && flags === '-' && details === 'via_upstream')
      this.wrong(`${name}: the log calls it a success: ${JSON.stringify(line)}`)
    // Over HTTP/2 the end of an answer may come behind its last byte, or never: for a client that knew its length it is whole, for the proxy it is not.
    const late = this.options.endsLate && LATE.test(String(details))
    if (end === 'answered' && details !== 'via_upstream' && !late) this.wrong(`${name}: the log says ${details}`)
  }

  /** An answer that was whole before its request was ends the connection, and could not say so beforehand. */
  private stoodBehindEarlyAnswer({ behind }: Fate): boolean {
    const [id, attempt] = behind.split('.').map(Number)
    if (id === undefined || attempt === undefined) return false
    return this.fates.get(id)?.plan.framing !== 'none' && this.options.act(id, attempt).early
  }

  /** An answer that was whole to its client, and whose stream was then reset before its end came, ends the client's connection. */
  private stoodBehindLateEnd({ behind }: Fate): boolean {
    return this.options.endsLate && behind !== ''
  }

  /** Every request was written as often as its policy allows, and not once more. */
  judgeWrites(): void {
    for (const [id, times] of this.written) {
      const fate = this.fates.get(id)
      if (fate === undefined) {
        this.wrong(`request ${id} was written, but no client has made it`)
        continue
      }
      if (times > 1) this.repeated++
      const { plan, end, attempt } = fate
      const { attempts, guarded } = this.options.retriesOf(plan.host)
      const allowed = guarded && !isSafeToRepeat(plan) ? 1 : attempts + 1
      if (times > allowed)
        this.wrong(`request ${id} (${plan.method} ${plan.host}) was written ${times} times, at most ${allowed} are allowed`)
      if (end === 'unheard' && !this.crashed(fate)) this.wrong(`request ${id} was written, although nobody should have read it`)
      if (attempt > attempts + 1) this.wrong(`request ${id}: answered by attempt ${attempt}`)
    }
    for (const { plan, end } of this.fates.values())
      if (end === 'answered' && !this.written.has(plan.id))
        this.wrong(`request ${plan.id} was answered, but no upstream has seen it`)
  }

  private crashed({ sentMs, endedMs }: Fate): boolean {
    return this.crashes.some((c) => sentMs <= c.toMs && endedMs + LOG_FLUSH_MS >= c.fromMs)
  }
}
