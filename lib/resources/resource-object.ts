// One object of a document: what it is called, what it says, and where each part of it stands.
import type { Origin } from '../state/origin.ts'
import type { Document } from './document.ts'
import type { Path, Place } from './finding.ts'
import { type Kind, type KindSpecs, writtenKind } from './kinds.ts'

/** What two objects cannot share. */
export interface ObjectIdentity {
  /** Of `Kind` where it is one that is known. */
  readonly kind: string
  readonly namespace: string
  readonly name: string
}

export function identityKey(o: ObjectIdentity): string {
  return `${o.kind}/${o.namespace}/${o.name}`
}

/** `VirtualService default/reviews`. */
export function identityText(o: ObjectIdentity): string {
  if (o instanceof ResourceObject && o.written !== o) return identityText(o.written)
  return `${writtenKind(o.kind)} ${o.namespace === '' ? '' : `${o.namespace}/`}${o.name}`
}

/** Where an object stands: its document, the way to it from the root of the document, and the document's place in its file. */
export class ObjectSource {
  readonly file: string
  readonly linesBefore: number
  readonly document: Document
  readonly path: Path

  constructor(file: string, linesBefore: number, document: Document, path: Path) {
    this.file = file
    this.linesBefore = linesBefore
    this.document = document
    this.path = path
  }

  /** In the file. `path` is counted from the object's root. */
  placeOf(path: Path, onKey: boolean): Place {
    const place = this.document.placeOf([...this.path, ...path], onKey)
    return { line: place.line + this.linesBefore, column: place.column }
  }
}

/** Kubernetes OwnerReference; the owner is of the same namespace. */
export interface Owner {
  readonly kind: string
  readonly name: string
}

/** A valid object of kind K. */
export class ResourceObject<K extends Kind = Kind> implements ObjectIdentity {
  readonly kind: K
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** Milliseconds since 1970; without a timestamp before all that have one, as a zero time is in istiod. */
  readonly createdMs: number
  readonly owners: readonly Owner[]
  readonly spec: KindSpecs[K]
  readonly specPath: Path
  readonly source: ObjectSource

  constructor(facts: ObjectFacts<K>, source: ObjectSource) {
    this.kind = facts.kind
    this.namespace = facts.namespace
    this.name = facts.name
    this.labels = facts.labels
    this.annotations = facts.annotations
    this.createdMs = facts.createdMs
    this.owners = facts.owners
    this.spec = facts.spec
    this.specPath = facts.specPath
    this.source = source
  }

  /** What somebody wrote: another object for one that was made of others. */
  get written(): ResourceObject {
    return this
  }

  /** Whose part of the spec at `path` is, and where it is there. */
  writtenAt(path: Path): WrittenPart {
    return { object: this, path }
  }

  /** Of the object, or of a part of its spec. */
  origin(path: Path = []): Origin {
    const { line, column } = this.source.placeOf(path.length === 0 ? [] : [...this.specPath, ...path], false)
    return { kind: writtenKind(this.kind), namespace: this.namespace, name: this.name, file: this.source.file, line, column }
  }
}

/** A part of the spec of an object. */
export interface WrittenPart {
  readonly object: ResourceObject
  readonly path: Path
}

/** What is found out once per text of a document, before it has a place. */
export interface ObjectFacts<K extends Kind = Kind> extends ObjectIdentity {
  readonly kind: K
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly createdMs: number
  readonly owners: readonly Owner[]
  readonly spec: KindSpecs[K]
  readonly specPath: Path
}
