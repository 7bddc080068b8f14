// The configuration in force, and what became of newer ones. A reload that fails leaves everything as it was but the problems.
import type { LoadResult } from '../resources/load.ts'
import type { ResourceStatus, Snapshot } from '../state/snapshot.ts'
import type { Logger } from '../telemetry/logger.ts'
import { StartError } from './start-error.ts'

export interface Loader {
  /** Reads all resources anew. `fatal`: something could not be read at all, so that the snapshot must not be put in force. */
  load(): LoadResult
}

/** Lines of the log for one reload; `heddle check` shows all. */
const MAX_LOGGED = 20

export class ConfigStore {
  /** Version that all workers have put in force; 0: none yet. */
  appliedVersion: number
  readonly #loader: Loader
  readonly #log: Logger
  #good: LoadResult | null
  #problems: readonly string[]
  /** What was logged last, so that a file saved again with the same faults says nothing new. */
  #logged: string

  constructor(loader: Loader, log: Logger) {
    this.appliedVersion = 0
    this.#loader = loader
    this.#log = log
    this.#good = null
    this.#problems = []
    this.#logged = ''
  }

  /** The last good one. */
  get snapshot(): Snapshot {
    if (this.#good === null) throw new Error('no configuration has been loaded')
    return this.#good.snapshot
  }

  get statuses(): readonly ResourceStatus[] {
    return this.#good?.statuses ?? []
  }

  /** Objects that are refused. */
  get refused(): number {
    return this.statuses.filter((status) => status.state === 'refused').length
  }

  /** Why the newest configuration is not in force; empty when it is. */
  get problems(): readonly string[] {
    return this.#problems
  }

  get lastGood(): boolean {
    return this.#problems.length > 0
  }

  /** Without a last good configuration one that cannot be read is a reason not to start. */
  loadFirst(): void {
    const result = this.#loader.load()
    if (result.fatal) throw new StartError('config', result.problems.map(problemLine).join('\n'))
    this.#accept(result)
  }

  /** False: the new one is refused as a whole and the last good one stays. */
  reload(why: string): boolean {
    const result = this.#loader.load()
    if (!result.fatal) {
      this.#accept(result)
      return true
    }
    this.#problems = result.problems.map(problemLine)
    this.#log.error(`the new configuration (${why}) is refused; the last good one, ${this.snapshot.version}, stays in force`)
    for (const problem of this.#problems.slice(0, MAX_LOGGED)) this.#log.error(problem)
    this.#logged = ''
    return false
  }

  #accept(result: LoadResult): void {
    this.#good = result
    this.#problems = []
    const lines = result.statuses.filter((s) => s.state === 'refused' || s.state === 'partly').map(statusLine)
    const text = lines.join('\n')
    if (text === this.#logged) return
    this.#logged = text
    for (const line of lines.slice(0, MAX_LOGGED)) this.#log.warning(line)
    if (lines.length > MAX_LOGGED) this.#log.warning(`and ${lines.length - MAX_LOGGED} more; heddle check lists them all`)
  }
}

function problemLine(p: LoadResult['problems'][number]): string {
  return p.line === 0 ? `${p.file}: ${p.message}` : `${p.file}:${p.line}:${p.column}: ${p.message}`
}

function statusLine(s: ResourceStatus): string {
  return `${s.file}:${s.line}:${s.column}: ${s.kind} ${s.namespace}/${s.name} is ${s.state === 'partly' ? 'partly in force' : s.state}: ${s.reason}`
}
