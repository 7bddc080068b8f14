// The configuration in force, and what became of newer ones. Objects are judged one by one: the loader keeps the last good text of
// one that is refused, and the rest of a reload takes effect. Only a reading that failed as a whole leaves everything as it was.
import { UNENFORCED } from '../resources/kinds.ts'
import type { LoadResult } from '../resources/load.ts'
import type { ResourceNote, ResourceStatus, Snapshot } from '../state/snapshot.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Credential } from '../transport/secrets.ts'
import type { ConfigSource } from './config-source.ts'
import { shareSnapshot } from './share-snapshot.ts'
import { StartError } from './start-error.ts'

export interface Loader {
  /** Rejects only where a bug does: then everything stays as it was. */
  load(): LoadResult | Promise<LoadResult>
}

/** Lines of the log for one reload; `heddle check` shows all. */
const MAX_LOGGED = 20

export class ConfigStore implements ConfigSource {
  /** Version that all workers have put in force; 0: none yet. */
  appliedVersion: number
  readonly #loader: Loader
  readonly #log: Logger
  #good: LoadResult | null
  #problems: readonly string[]
  /** What was logged last, so that a reload that finds the same faults says nothing new. */
  #logged: string

  constructor(loader: Loader, log: Logger) {
    this.appliedVersion = 0
    this.#loader = loader
    this.#log = log
    this.#good = null
    this.#problems = []
    this.#logged = ''
  }

  /** The newest that may be in force. */
  get snapshot(): Snapshot {
    if (this.#good === null) throw new Error('no configuration has been loaded')
    return this.#good.snapshot
  }

  /** Of the Secrets that `snapshot` names. */
  get credentials(): readonly Credential[] {
    return this.#good?.credentials ?? []
  }

  get statuses(): readonly ResourceStatus[] {
    return this.#good?.statuses ?? []
  }

  /** Objects that are refused. */
  get refused(): number {
    return this.statuses.filter((status) => status.state === 'refused').length
  }

  /** What of the newest files is not in force, and why; empty when all of it is. */
  get problems(): readonly string[] {
    return this.#problems
  }

  /** True: for something of the newest files its last good version serves, or nothing. */
  get lastGood(): boolean {
    return this.#problems.length > 0
  }

  /** Rejects with StartError when the reading failed as a whole: there is no last good configuration to go on with. */
  async loadFirst(): Promise<void> {
    const result = await this.#loader.load()
    if (result.fatal !== null) throw new StartError('config', result.fatal)
    this.#accept(result)
  }

  /** False: the reading failed as a whole and `snapshot` is what it was. */
  async reload(why: string): Promise<boolean> {
    const result = await this.#loader.load()
    if (result.fatal === null) {
      this.#accept(result)
      return true
    }
    this.#problems = [result.fatal, ...result.problems.map(problemLine).filter((line) => line !== result.fatal)]
    this.#log.error(`the new configuration (${why}) is refused; the last good one stays in force`)
    this.#logAll(this.#problems, 'error')
    this.#logged = ''
    return false
  }

  /** What reads is the thread's own. */
  async close(): Promise<void> {}

  #accept(result: LoadResult): void {
    const before = this.#good
    // What did not change is the same object as before: the workers are told differences.
    this.#good = before === null ? result : { ...result, snapshot: shareSnapshot(before.snapshot, result.snapshot) }
    this.#problems = [
      ...result.problems.map(problemLine),
      ...result.statuses.filter((s) => s.state === 'refused').map(statusLine),
    ]
    const warnings = [
      ...result.statuses.filter((s) => s.state === 'partly' || s.reason === UNENFORCED).map(statusLine),
      // Those about objects are said when it comes to it.
      ...result.notes.filter((note) => note.kind === 'bootstrap').map(noteLine),
    ]
    const text = [...this.#problems, '', ...warnings].join('\n')
    if (text === this.#logged) return
    this.#logged = text
    this.#logAll(this.#problems, 'error')
    this.#logAll(warnings, 'warning')
  }

  #logAll(lines: readonly string[], level: 'error' | 'warning'): void {
    for (const line of lines.slice(0, MAX_LOGGED)) this.#log[level](line)
    if (lines.length > MAX_LOGGED) this.#log[level](`and ${lines.length - MAX_LOGGED} more; heddle check lists them all`)
  }
}

function problemLine(p: LoadResult['problems'][number]): string {
  return p.line === 0 ? `${p.file}: ${p.message}` : `${p.file}:${p.line}:${p.column}: ${p.message}`
}

function noteLine(n: ResourceNote): string {
  return `${n.file}:${n.line}:${n.column}: ${n.name}: ${n.message}`
}

function statusLine(s: ResourceStatus): string {
  const what = s.kind === '' ? 'this document' : `${s.kind} ${s.namespace === '' ? '' : `${s.namespace}/`}${s.name}`
  return `${s.file}:${s.line}:${s.column}: ${what} is ${s.state === 'partly' ? 'partly in force' : s.state}: ${s.reason}`
}
