// Files of ztunnel's to a world, again and again: each object is judged alone, and what was good stays in force while its newer
// text is not.
import { readFileSync } from 'node:fs'
import { type Authorization, denyInstead } from '../../state/authorization.ts'
import type { ResourceNote, ResourceStatus } from '../../state/snapshot.ts'
import type { WorkloadWorld } from '../../state/workload-world.ts'
import { danglingNotes } from './dangling.ts'
import { type FileNoun, type FileObject, readFile } from './read-file.ts'

export interface WorldResult {
  readonly world: WorkloadWorld
  /** Every object in exactly one state, sorted by file and line. */
  readonly statuses: readonly ResourceStatus[]
  /** Names that nobody has; they change no state. */
  readonly notes: readonly ResourceNote[]
  /** Why the first reading is not to be put in force: a file cannot be read at all. null: it is. */
  readonly fatal: string | null
}

interface LastGood {
  readonly good: FileNoun
  readonly since: Date
}

/** What was good last, by kind and key, as plain data: enough for another loader to go on where this one was. */
export type WorldMemory = readonly (readonly [key: string, last: LastGood])[]

/** Synchronous: meant for a thread that carries no traffic. */
export class WorldLoader {
  readonly #files: readonly string[]
  readonly #trustDomain: string
  /** By kind and key. */
  #last: Map<string, LastGood>
  /** By file: the text that was read, and its objects. */
  readonly #read: Map<string, { readonly text: string; readonly objects: readonly FileObject[] }>

  /** `trustDomain`: of workloads that name none. */
  constructor(files: readonly string[], trustDomain: string) {
    this.#files = files
    this.#trustDomain = trustDomain
    this.#last = new Map()
    this.#read = new Map()
  }

  memory(): WorldMemory {
    return [...this.#last]
  }

  /** Goes on where the loader was whose memory this is. For a loader that has read nothing. */
  recall(memory: WorldMemory): void {
    this.#last = new Map(memory)
  }

  load(): WorldResult {
    const round = new Round(this.#last)
    let fatal: string | null = null
    for (const file of this.#files) {
      const text = readText(file)
      if (text.ok) for (const object of this.#objectsOf(file, text.text)) round.add(object)
      else {
        round.unreadable(file, text.error)
        if (this.#last.size === 0) fatal ??= `${file}: ${text.error}`
      }
    }
    const good = round.finish()
    const now = new Date()
    const last = this.#last
    this.#last = new Map([...good].map(([key, noun]) => [key, sameAs(last.get(key), noun) ?? { good: noun, since: now }]))
    const world = withStandIns(worldOf([...good.values()]), round.standIns)
    return { world, statuses: round.statuses(), notes: danglingNotes(world), fatal }
  }

  #objectsOf(file: string, text: string): readonly FileObject[] {
    const known = this.#read.get(file)
    if (known?.text === text) return known.objects
    const objects = readFile(file, text, this.#trustDomain)
    this.#read.set(file, { text, objects })
    return objects
  }
}

/** One reading. */
class Round {
  /** Policies that take the place of refused ones that nobody has seen a good text of. */
  readonly standIns: Authorization[]
  readonly #before: ReadonlyMap<string, LastGood>
  readonly #good: Map<string, FileNoun>
  readonly #statuses: ResourceStatus[]
  /** Of a file that cannot be read, or of which a part does not say what it was meant to be: why. */
  readonly #broken: Map<string, string>
  readonly #seen: Set<string>

  constructor(before: ReadonlyMap<string, LastGood>) {
    this.standIns = []
    this.#before = before
    this.#good = new Map()
    this.#statuses = []
    this.#broken = new Map()
    this.#seen = new Set()
  }

  add(object: FileObject): void {
    const key = `${object.kind} ${object.good?.key ?? object.key}`
    if (object.good === null) this.#refuse(object, key)
    else {
      const first = this.#good.get(key)
      this.#seen.add(key)
      if (first === undefined) {
        this.#good.set(key, object.good)
        this.#say(object, 'in-force', '')
      } else {
        const { file, line } = first.noun.origin
        this.#say(
          object,
          'shadowed',
          `shadowed by the same object at ${file}:${line}; the first one counts, remove one of the two`,
        )
      }
    }
  }

  unreadable(file: string, error: string): void {
    this.#broken.set(file, error)
    this.#statuses.push({ kind: '', namespace: '', name: '', state: 'refused', reason: error, file, line: 0, column: 0 })
  }

  /** What a broken file had stays in force. */
  finish(): ReadonlyMap<string, FileNoun> {
    for (const [key, last] of this.#before) {
      const { origin } = last.good.noun
      const why = this.#broken.get(origin.file)
      if (why === undefined || this.#good.has(key) || this.#seen.has(key)) continue
      this.#good.set(key, last.good)
      const { kind, namespace, name, file, line, column } = origin
      const reason = `its file cannot be read (${why}); ${keeps(last)}`
      this.#statuses.push({ kind, namespace, name, state: 'refused', reason, file, line, column })
    }
    return this.#good
  }

  statuses(): readonly ResourceStatus[] {
    return this.#statuses.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column))
  }

  #refuse(object: FileObject, key: string): void {
    if (object.kind === '') this.#broken.set(object.origin.file, object.reason)
    const last = object.key === '' ? undefined : this.#before.get(key)
    this.#seen.add(key)
    if (last !== undefined && !this.#good.has(key)) {
      this.#good.set(key, last.good)
      this.#say(object, 'refused', `${object.reason}; ${keeps(last)}`)
    } else if (object.kind === 'Authorization' && object.key !== '' && !this.#good.has(key)) {
      this.standIns.push(standIn(object))
      this.#say(object, 'refused', `${object.reason}; until it can be read, nobody may connect to the workloads that it is for`)
    } else this.#say(object, 'refused', object.reason)
  }

  #say({ kind, namespace, name, origin, place }: FileObject, state: ResourceStatus['state'], reason: string): void {
    this.#statuses.push({ kind, namespace, name, state, reason, file: origin.file, ...place })
  }
}

/** What does not say what it is for is for its namespace. */
function standIn({ namespace, name, origin, value }: FileObject): Authorization {
  const scope = value['scope'] === 'Global' ? 'GLOBAL' : value['scope'] === 'WorkloadSelector' ? 'WORKLOAD_SELECTOR' : 'NAMESPACE'
  return denyInstead({ name, namespace, scope, dryRun: value['dryRun'] === true, origin })
}

function worldOf(nouns: readonly FileNoun[]): WorkloadWorld {
  return {
    workloads: nouns.flatMap((n) => (n.kind === 'Workload' ? n.noun : [])),
    services: nouns.flatMap((n) => (n.kind === 'Service' ? n.noun : [])),
    policies: nouns.flatMap((n) => (n.kind === 'Authorization' ? n.noun : [])),
  }
}

function withStandIns(world: WorkloadWorld, standIns: readonly Authorization[]): WorkloadWorld {
  return standIns.length === 0 ? world : { ...world, policies: [...world.policies, ...standIns] }
}

function sameAs(last: LastGood | undefined, noun: FileNoun): LastGood | undefined {
  return last?.good === noun ? last : undefined
}

function keeps({ since }: LastGood): string {
  return `the version of ${since.toISOString()} keeps serving, the last good one`
}

type Text = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly error: string }

function readText(file: string): Text {
  try {
    return { ok: true, text: readFileSync(file, 'utf8') }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') return { ok: false, error: 'no such file' }
    if (code === 'EACCES' || code === 'EPERM') return { ok: false, error: 'not readable: permission denied' }
    return { ok: false, error: error instanceof Error ? error.message : String(error) }
  }
}
