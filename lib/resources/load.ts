// From files to a Snapshot, again and again: each object is judged alone, and what was good stays in force while its newer
// text is not.
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { ResourceNote, ResourceStatus, Snapshot } from '../state/snapshot.ts'
import { EMPTY_WORLD } from '../state/workload-world.ts'
import type { Credential } from '../transport/secrets.ts'
import { type Compiled, compile } from './compile/compile.ts'
import type { Verdicts } from './compile/verdicts.ts'
import { Document } from './document.ts'
import { DocumentReader, type PlacedDocument, type UnreadableFile } from './documents.ts'
import { type Finding, type Path, pathText } from './finding.ts'
import { writtenKind } from './kinds.ts'
import { identityOf, type ObjectOutcome, readObjects } from './read-objects.ts'
import { identityKey, type ObjectIdentity, ObjectSource, ResourceObject } from './resource-object.ts'
import { WorldLoader, type WorldMemory, type WorldResult } from './ztunnel-file/load.ts'

/** What is wrong with something that is no object: a folder, a file. */
export interface ResourceProblem {
  readonly file: string
  /** 0 when there is no line. */
  readonly line: number
  readonly column: number
  readonly message: string
}

export interface LoadResult {
  /** With `fatal` the last good one, or one without any object when there is none. */
  readonly snapshot: Snapshot
  /** Every object in exactly one state, sorted by file and line. */
  readonly statuses: readonly ResourceStatus[]
  /** Files and folders that could not be read. Refused objects are in `statuses`. */
  readonly problems: readonly ResourceProblem[]
  /** For `heddle check`, and those about heddle.yaml for the log: they change no state. Sorted by file and line. */
  readonly notes: readonly ResourceNote[]
  /** What the Secrets that the snapshot names hold: never to be shown. */
  readonly credentials: readonly Credential[]
  /** Why the reading as a whole is not to be put in force, such as a folder that is not there; null when it is. */
  readonly fatal: string | null
}

/** The last text of an object that was valid. */
interface LastGood {
  readonly object: ResourceObject
  readonly since: Date
}

/** What a loader knows of its readings as plain data, enough for another one to go on where this one was: the last good texts. */
export interface LoaderMemory {
  readonly version: number
  readonly texts: readonly string[]
  readonly objects: readonly RememberedObject[]
  readonly world: WorldMemory
}

interface RememberedObject {
  readonly file: string
  readonly linesBefore: number
  /** Index in `texts`. */
  readonly text: number
  readonly path: Path
  readonly since: Date
}

const NO_WORLD: WorldResult = { world: EMPTY_WORLD, statuses: [], notes: [], fatal: null }

/** One outcome with its place. */
interface Read {
  readonly source: ObjectSource
  readonly outcome: ObjectOutcome
}

/** Loads the resources of a bootstrap configuration. Synchronous: meant for a thread that carries no traffic. */
export class ResourceLoader {
  private readonly bootstrap: BootstrapConfig
  private readonly reader: DocumentReader
  /** Of role `node`; null for the others. */
  private readonly worldLoader: WorldLoader | null
  private outcomes: WeakMap<Document, readonly ObjectOutcome[]>
  private lastGood: Map<string, LastGood>
  private lastSnapshot: Snapshot | null
  private lastCredentials: readonly Credential[]
  private version: number

  constructor(bootstrap: BootstrapConfig) {
    this.bootstrap = bootstrap
    this.reader = new DocumentReader(bootstrap.resources)
    const { node, identity } = bootstrap
    this.worldLoader = bootstrap.role === 'node' ? new WorldLoader(node.workloads, identity.trustDomain) : null
    this.outcomes = new WeakMap()
    this.lastGood = new Map()
    this.lastSnapshot = null
    this.lastCredentials = []
    this.version = 0
  }

  /** Reads everything anew. Nothing that an operator wrote makes it throw. */
  load(): LoadResult {
    const { documents, unreadable } = this.reader.read()
    const problems = unreadable.map(toProblem)
    const missing = unreadable.find((u) => u.root)
    if (missing !== undefined) return this.fatal(`${missing.file}: ${missing.message}`, problems)
    const round = new Round(this.lastGood, new Set(unreadable.map((u) => u.file)))
    for (const placed of documents) this.take(placed, round)
    round.keepWhatCannotBeRead()
    const compiled = this.compile([...round.good.values()])
    if (compiled instanceof Error)
      return this.fatal(`cannot be compiled, which is a bug of heddle: ${compiled.stack ?? compiled.message}`, problems)
    const world = this.worldLoader?.load() ?? NO_WORLD
    if (world.fatal !== null) return this.fatal(world.fatal, problems)
    const { verdicts, credentials } = compiled
    const snapshot = { ...compiled.snapshot, world: world.world }
    this.version++
    this.lastSnapshot = snapshot
    this.lastCredentials = credentials
    this.lastGood = round.remembered()
    const statuses = [...round.statuses(verdicts), ...world.statuses].sort(byPlace)
    return { snapshot, statuses, problems, notes: [...compiled.notes, ...world.notes].sort(byPlace), credentials, fatal: null }
  }

  memory(): LoaderMemory {
    const texts = new Map<string, number>()
    const objects = [...this.lastGood.values()].map(({ object, since }): RememberedObject => {
      const { file, linesBefore, document, path } = object.source
      const text = texts.get(document.text) ?? texts.size
      texts.set(document.text, text)
      return { file, linesBefore, text, path, since }
    })
    return { version: this.version, texts: [...texts.keys()], objects, world: this.worldLoader?.memory() ?? [] }
  }

  /** Goes on where the loader was whose memory this is. For a loader that has read nothing. */
  recall(memory: LoaderMemory): void {
    this.version = memory.version
    this.worldLoader?.recall(memory.world)
    const documents = memory.texts.map((text) => new Document(text))
    for (const document of documents) this.reader.remember(document)
    for (const { file, linesBefore, text, path, since } of memory.objects) {
      const document = documents[text] as Document
      // What was valid then is valid now: an outcome depends on the text alone.
      const outcome = this.outcomesOf(document).find((o) => o.state === 'valid' && pathText(o.path) === pathText(path))
      if (outcome?.state !== 'valid') continue
      const object = new ResourceObject(outcome.facts, new ObjectSource(file, linesBefore, document, path))
      this.lastGood.set(identityKey(object), { object, since })
    }
  }

  private outcomesOf(document: Document): readonly ObjectOutcome[] {
    let outcomes = this.outcomes.get(document)
    if (outcomes === undefined) {
      outcomes = readObjects(document)
      this.outcomes.set(document, outcomes)
    }
    return outcomes
  }

  private take(placed: PlacedDocument, round: Round): void {
    const { file, linesBefore, document } = placed
    if (document.problem !== null) {
      round.brokenDocument(new ObjectSource(file, linesBefore, document, []))
      return
    }
    for (const outcome of this.outcomesOf(document))
      round.add({ source: new ObjectSource(file, linesBefore, document, outcome.path), outcome })
  }

  /** The compiler is not expected to throw; if it does, what is in force must go on serving. */
  private compile(objects: readonly ResourceObject[]): Compiled | Error {
    try {
      return compile(this.bootstrap, objects, this.version + 1)
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  private fatal(message: string, problems: readonly ResourceProblem[]): LoadResult {
    const snapshot = this.lastSnapshot ?? compile(this.bootstrap, [], 0).snapshot
    const told = problems.length > 0 ? problems : [{ file: this.bootstrap.file, line: 0, column: 0, message }]
    return { snapshot, statuses: [], problems: told, notes: [], credentials: this.lastCredentials, fatal: message }
  }
}

/** One reading: who is good, who is not, and who stays in force from before. */
class Round {
  /** In force or waiting to be judged by the compiler, by identity. */
  readonly good: Map<string, ResourceObject>
  private readonly before: ReadonlyMap<string, LastGood>
  private readonly unreadable: ReadonlySet<string>
  /** Statuses that the compiler has no say in. */
  private readonly decided: ResourceStatus[]
  /** Identities of `good` that are of an earlier reading. */
  private readonly kept: Set<string>
  private readonly brokenFiles: Map<string, string>
  private readonly seen: Set<string>

  constructor(before: ReadonlyMap<string, LastGood>, unreadable: ReadonlySet<string>) {
    this.good = new Map()
    this.before = before
    this.unreadable = unreadable
    this.decided = []
    this.kept = new Set()
    this.brokenFiles = new Map()
    this.seen = new Set()
  }

  add({ source, outcome }: Read): void {
    if (outcome.state === 'waiting') this.decide(outcome.identity, 'waiting', outcome.reason, source, [], false)
    else if (outcome.state === 'refused') this.refuse(outcome.identity, outcome.findings, source)
    else this.addValid(new ResourceObject(outcome.facts, source))
  }

  /** A document that does not parse names its object if enough of it can be read. */
  brokenDocument(source: ObjectSource): void {
    const problem = source.document.problem
    if (problem === null) return
    const identity = identityOf(source.document.remains)
    const place = { line: problem.line + source.linesBefore, column: problem.column }
    const named = identity.kind !== '' && identity.name !== ''
    if (!named) this.brokenFiles.set(source.file, problem.message)
    const suffix = named ? this.keep(identity) : ''
    this.decided.push({
      ...identity,
      kind: writtenKind(identity.kind),
      namespace: named ? identity.namespace : '',
      state: 'refused',
      reason: `${problem.message}${suffix}`,
      file: source.file,
      ...place,
    })
  }

  /** Objects of a file that cannot be read, or of whose documents one does not say what it was, stay in force. */
  keepWhatCannotBeRead(): void {
    for (const [key, last] of this.before) {
      const file = last.object.source.file
      const why = this.brokenFiles.get(file)
      if (this.seen.has(key) || this.good.has(key) || (why === undefined && !this.isUnreadable(file))) continue
      this.good.set(key, last.object)
      this.kept.add(key)
      this.decide(
        last.object,
        'refused',
        `its file cannot be read${why === undefined ? '' : ` (${why})`}; ${keeps(last)}`,
        last.object.source,
        [],
        false,
      )
    }
  }

  remembered(): Map<string, LastGood> {
    const now = new Date()
    return new Map(
      [...this.good].map(([key, object]) => {
        const last = this.before.get(key)
        const same = last !== undefined && last.object.source.document === object.source.document
        return [key, { object, since: same ? last.since : now }]
      }),
    )
  }

  statuses(verdicts: Verdicts): readonly ResourceStatus[] {
    const judged = [...this.good].flatMap(([key, object]): ResourceStatus[] => {
      if (this.kept.has(key)) return []
      const { kind, namespace, name } = object
      return [{ kind: writtenKind(kind), namespace, name, ...verdicts.of(object), file: object.source.file }]
    })
    return [...judged, ...this.decided].sort(byPlace)
  }

  private addValid(object: ResourceObject): void {
    const key = identityKey(object)
    this.seen.add(key)
    const first = this.good.get(key)
    if (first !== undefined && !this.kept.has(key)) {
      const { line } = first.source.placeOf([], false)
      this.decide(
        object,
        'shadowed',
        `shadowed by the same object at ${first.source.file}:${line}; the first one counts, remove one of the two`,
        object.source,
        [],
        false,
      )
      return
    }
    this.kept.delete(key)
    this.good.set(key, object)
  }

  private refuse(identity: ObjectIdentity, findings: readonly Finding[], source: ObjectSource): void {
    const [first] = findings
    const reason = findings.map((f) => findingText(f, source)).join('; ')
    this.decide(identity, 'refused', reason + this.keep(identity), source, first?.path ?? [], first?.onKey ?? false)
  }

  /** Puts the last good text of an object back in force; what to say about it. */
  private keep(identity: ObjectIdentity): string {
    const key = identityKey(identity)
    this.seen.add(key)
    const last = this.before.get(key)
    if (last === undefined || this.good.has(key)) return ''
    this.good.set(key, last.object)
    this.kept.add(key)
    return `; ${keeps(last)}`
  }

  private decide(
    identity: ObjectIdentity,
    state: ResourceStatus['state'],
    reason: string,
    source: ObjectSource,
    path: Finding['path'],
    onKey: boolean,
  ): void {
    const { kind, namespace, name } = identity
    this.decided.push({
      kind: writtenKind(kind),
      namespace,
      name,
      state,
      reason,
      file: source.file,
      ...source.placeOf(path, onKey),
    })
  }

  private isUnreadable(file: string): boolean {
    return this.unreadable.has(file) || [...this.unreadable].some((u) => file.startsWith(`${u}/`))
  }
}

/** The place of the first finding is the status's own; those of the others stand in the text. */
function findingText(finding: Finding, source: ObjectSource): string {
  const { line, column } = source.placeOf(finding.path, finding.onKey)
  return `line ${line}:${column}: ${finding.path.length === 0 ? '' : `${pathText(finding.path)}: `}${finding.message}`
}

function keeps(last: LastGood): string {
  return `the version of ${last.since.toISOString()} keeps serving, the last good one`
}

function toProblem(unreadable: UnreadableFile): ResourceProblem {
  return { file: unreadable.file, line: 0, column: 0, message: unreadable.message }
}

function byPlace(a: ResourceStatus | ResourceNote, b: ResourceStatus | ResourceNote): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1
  return a.line - b.line || a.column - b.column
}
