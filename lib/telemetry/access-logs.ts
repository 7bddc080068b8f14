// The files of access logs of one worker, by path: opened when configuration names one, closed when it does not any more. Of this file only `write` is on the
// hot lane. The log that heddle.yaml asks for is one of them, and has a way of its own.
import { AccessLog, type AccessLogOptions, type WriteCall } from './access-log.ts'

/** Where lines are counted. */
export type LogCounters = Pick<AccessLogOptions, 'values' | 'linesSlot' | 'droppedSlot'>

export interface OwnLog {
  readonly path: string
  readonly log: AccessLog
  /** Nobody has named the path: it is heddle's default, and gives way to whoever does. */
  readonly isDefault: boolean
}

export interface AccessLogsOptions {
  /** Asked when the first file is named. */
  readonly counters: () => LogCounters
  /** As of an `AccessLog`. */
  readonly write?: WriteCall
  /** A file could not be opened or written. */
  readonly onError: (path: string, error: Error) => void
  /** The log of heddle.yaml; null: there is none. */
  readonly own: OwnLog | null
}

/** A file that lines go to, while it can be opened. */
export class LogFile {
  readonly path: string
  /** It is the one of heddle.yaml. */
  readonly own: boolean
  log: AccessLog | null
  private readonly counters: LogCounters

  constructor(path: string, own: boolean, log: AccessLog | null, counters: LogCounters) {
    this.path = path
    this.own = own
    this.log = log
    this.counters = counters
  }

  write(line: string): void {
    if (this.log !== null) this.log.write(line)
    else this.counters.values[this.counters.droppedSlot]! += 1
  }
}

export class AccessLogs {
  readonly #options: AccessLogsOptions
  readonly #files: Map<string, LogFile>
  #counters: LogCounters | null
  /** Writing what is left. */
  readonly #closing: Set<Promise<void>>

  constructor(options: AccessLogsOptions) {
    this.#options = options
    this.#files = new Map()
    this.#counters = null
    this.#closing = new Set()
  }

  /** Those that configuration names. */
  get size(): number {
    return this.#files.size
  }

  /**
   * The file that configuration names. null: heddle.yaml names the same one, and on one file there is one form of lines: the one that was set for this process.
   * Never throws: a file that cannot be opened drops its lines until `reopen`.
   */
  at(path: string): LogFile | null {
    const { own } = this.#options
    if (own !== null && own.path === path) return own.isDefault ? this.#known(path, true, own.log) : null
    return this.#files.get(path) ?? this.#known(path, false, this.#open(path))
  }

  #known(path: string, own: boolean, log: AccessLog | null): LogFile {
    const known = this.#files.get(path)
    if (known !== undefined) return known
    const file = new LogFile(path, own, log, this.#slots())
    this.#files.set(path, file)
    return file
  }

  #open(path: string): AccessLog | null {
    const { onError, write } = this.#options
    try {
      const options = { ...this.#slots(), path, format: 'text', onError: (error: Error) => onError(path, error) } as const
      return new AccessLog(write === undefined ? options : { ...options, write })
    } catch (error) {
      onError(path, ((error as Error).cause ?? error) as Error)
      return null
    }
  }

  #slots(): LogCounters {
    this.#counters ??= this.#options.counters()
    return this.#counters
  }

  /** Closes all but these. */
  keep(paths: ReadonlySet<string>): void {
    for (const [path, file] of this.#files) {
      if (paths.has(path)) continue
      this.#files.delete(path)
      if (file.log === null || file.own) continue
      const closing: Promise<void> = file.log.close().then(() => {
        this.#closing.delete(closing)
      })
      this.#closing.add(closing)
    }
  }

  /** As of an `AccessLog`. */
  tick(): void {
    for (const { log, own } of this.#files.values()) if (log !== null && !own) log.tick()
  }

  /** Also opens those that could not be opened before. */
  reopen(): void {
    for (const file of this.#files.values()) {
      if (file.log === null) file.log = this.#open(file.path)
      else if (!file.own) file.log.reopen()
    }
  }

  async close(): Promise<void> {
    this.keep(new Set())
    await Promise.all(this.#closing)
  }
}
