// Tells when files changed. What counts is a fingerprint of all files (following links); fs.watch only says when
// to look. Kubernetes swaps a symlink beside the files, editors rename over them, network file systems tell nothing: so it is
// looked at twice a second in any case.
import { type FSWatcher, readdirSync, statSync, watch } from 'node:fs'
import { dirname, join } from 'node:path'

export interface FileWatchOptions {
  /** Absolute; files and folders. One that is missing is waited for. */
  readonly paths: readonly string[]
  readonly onChange: () => void
  /** Milliseconds without further events before the files are read. 50. */
  readonly debounceMs?: number
  /** Milliseconds between looks when nothing is told. 500; 0: never. */
  readonly rescanMs?: number
}

/** Editors write in steps; but a file that changes all the time must not hold up the others. */
const MAX_DEBOUNCE_MS = 400
/** Looking costs at most this share of the main thread. */
const MAX_SHARE = 0.02

export class FileWatch {
  readonly #options: FileWatchOptions
  readonly #watchers: Map<string, FSWatcher>
  #fingerprint: string
  #rescan: NodeJS.Timeout | null
  #debounce: NodeJS.Timeout | null
  #firstEventMs: number

  constructor(options: FileWatchOptions) {
    this.#options = options
    this.#watchers = new Map()
    this.#fingerprint = ''
    this.#rescan = null
    this.#debounce = null
    this.#firstEventMs = 0
  }

  /** Call it before the first reading of the files: a change between the two is then not missed. */
  start(): void {
    this.#fingerprint = this.#look()
    this.#scheduleRescan(0)
  }

  close(): void {
    if (this.#rescan !== null) clearTimeout(this.#rescan)
    if (this.#debounce !== null) clearTimeout(this.#debounce)
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
  }

  #compare(): void {
    const fingerprint = this.#look()
    if (fingerprint === this.#fingerprint) return
    this.#fingerprint = fingerprint
    this.#options.onChange()
  }

  #scheduleRescan(lookMs: number): void {
    const { rescanMs = 500 } = this.#options
    if (rescanMs === 0) return
    this.#rescan = setTimeout(
      () => {
        const begin = performance.now()
        // While events come, the debounce decides when to look.
        if (this.#debounce === null) this.#compare()
        this.#scheduleRescan(performance.now() - begin)
      },
      Math.max(rescanMs, lookMs / MAX_SHARE),
    )
    this.#rescan.unref()
  }

  #onEvent(): void {
    const { debounceMs = 50 } = this.#options
    const now = performance.now()
    if (this.#debounce === null) this.#firstEventMs = now
    else clearTimeout(this.#debounce)
    const waitMs = Math.max(0, Math.min(debounceMs, this.#firstEventMs + MAX_DEBOUNCE_MS - now))
    this.#debounce = setTimeout(() => {
      this.#debounce = null
      this.#compare()
    }, waitMs)
    this.#debounce.unref()
  }

  /** The fingerprint; also sees to it that each folder on the way is watched. */
  #look(): string {
    const folders = new Set<string>()
    const parts: string[] = []
    for (const path of this.#options.paths) {
      folders.add(dirname(path))
      collect(path, folders, parts, 0)
    }
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue
      watcher.close()
      this.#watchers.delete(folder)
    }
    for (const folder of folders) if (!this.#watchers.has(folder)) this.#watch(folder)
    return parts.join('\n')
  }

  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#onEvent())
      // The folder is gone, or the system has no more watches: the rescan goes on.
      watcher.on('error', () => this.#unwatch(folder, watcher))
      this.#watchers.set(folder, watcher)
    } catch {
      // As above.
    }
  }

  #unwatch(folder: string, watcher: FSWatcher): void {
    watcher.close()
    if (this.#watchers.get(folder) === watcher) this.#watchers.delete(folder)
    this.#onEvent()
  }
}

/** A link that leads to itself ends somewhere. */
const MAX_DEPTH = 20

function collect(path: string, folders: Set<string>, parts: string[], depth: number): void {
  try {
    const stat = statSync(path)
    if (!stat.isDirectory()) {
      parts.push(`${path} ${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`)
      return
    }
    folders.add(path)
    if (depth === MAX_DEPTH) return
    for (const name of readdirSync(path).sort()) {
      // `..data` and `..2026_01_01…` of a ConfigMap hold the targets of links that are looked at themselves.
      if (!name.startsWith('.')) collect(join(path, name), folders, parts, depth + 1)
    }
  } catch (error) {
    parts.push(`${path} ${(error as NodeJS.ErrnoException).code}`)
  }
}
