// What the compiler found out about each valid object: in force unless something is noted here.
import type { ResourceState } from '../../state/snapshot.ts'
import { type Path, pathText } from '../finding.ts'
import type { ResourceObject } from '../resource-object.ts'
import { DerivedObject } from './gateway-api/derived.ts'

export interface Verdict {
  readonly state: ResourceState
  readonly reason: string
  readonly line: number
  readonly column: number
}

interface Part {
  readonly text: string
  readonly line: number
  readonly column: number
}

/** Filled during one compilation. An object that is shadowed or waiting as a whole stays so, whatever is noted of its parts. */
export class Verdicts {
  private readonly wholes: Map<ResourceObject, { state: 'shadowed' | 'waiting'; reason: string }>
  private readonly parts: Map<ResourceObject, Part[]>

  constructor() {
    this.wholes = new Map()
    this.parts = new Map()
  }

  shadowed(object: ResourceObject, reason: string): void {
    if (object instanceof DerivedObject) object.lose('shadowed', reason)
    else if (!this.wholes.has(object)) this.wholes.set(object, { state: 'shadowed', reason })
  }

  waiting(object: ResourceObject, reason: string): void {
    if (object instanceof DerivedObject) object.lose('waiting', reason)
    else if (!this.wholes.has(object)) this.wholes.set(object, { state: 'waiting', reason })
  }

  /** A part of the spec cannot take effect. The same note twice counts once. */
  partly(object: ResourceObject, path: Path, reason: string, onKey = false): void {
    const { object: written, path: at } = object.writtenAt(path)
    this.note(written, [...written.specPath, ...at], reason, onKey)
  }

  /** One that is there and does not take effect. */
  annotation(object: ResourceObject, name: string, reason: string): void {
    this.note(object, ['metadata', 'annotations', name], reason, true)
  }

  private note(object: ResourceObject, full: Path, reason: string, onKey: boolean): void {
    const { line, column } = object.source.placeOf(full, onKey)
    const text = `line ${line}: ${pathText(full)}: ${reason}`
    const parts = this.parts.get(object) ?? []
    if (parts.some((part) => part.text === text)) return
    parts.push({ text, line, column })
    this.parts.set(object, parts)
  }

  of(object: ResourceObject): Verdict {
    const whole = this.wholes.get(object)
    const { line, column } = object.source.placeOf([], false)
    if (whole !== undefined) return { ...whole, line, column }
    const parts = (this.parts.get(object) ?? []).toSorted((a, b) => a.line - b.line)
    const first = parts[0]
    if (first === undefined) return { state: 'in-force', reason: '', line, column }
    return { state: 'partly', reason: parts.map((part) => part.text).join('; '), line: first.line, column: first.column }
  }
}
