// One file of ztunnel's: its lists, and of each object in them either a noun or what is wrong with it, with places.
import * as v from 'valibot'
import { didYouMean } from '../../base/nearest.ts'
import { type Authorization, policyKey } from '../../state/authorization.ts'
import { type MeshService, serviceKey } from '../../state/mesh-service.ts'
import type { Origin } from '../../state/origin.ts'
import type { Workload } from '../../state/workload.ts'
import { Document } from '../document.ts'
import { splitDocuments } from '../documents.ts'
import { type Finding, type Path, type Place, pathText } from '../finding.ts'
import { found } from '../schema/fields.ts'
import { localPolicy, localService, localWorkload } from './schema.ts'
import { TAGS } from './tags.ts'
import { toAuthorization, toService, toWorkload } from './to-nouns.ts'

export type FileNoun =
  | { readonly kind: 'Workload'; readonly key: string; readonly noun: Workload }
  | { readonly kind: 'Service'; readonly key: string; readonly noun: MeshService }
  | { readonly kind: 'Authorization'; readonly key: string; readonly noun: Authorization }

/** An object of a list, or what stands where one should be (kind empty). */
export interface FileObject {
  readonly kind: FileNoun['kind'] | ''
  readonly namespace: string
  readonly name: string
  /** What two of a kind cannot share; empty: it does not say. */
  readonly key: string
  readonly origin: Origin
  /** null: refused. */
  readonly good: FileNoun | null
  /** Empty unless refused; findings joined with `; `. */
  readonly reason: string
  /** Of the first finding, else of the object. */
  readonly place: Place
  /** As it is written, for what can be told of an object that is refused. */
  readonly value: Readonly<Record<string, unknown>>
}

const LISTS = { workloads: 'Workload', services: 'Service', policies: 'Authorization' } as const
type ListName = keyof typeof LISTS
const LIST_NAMES = Object.keys(LISTS) as ListName[]

/** `trustDomain`: of workloads that name none. */
export function readFile(file: string, text: string, trustDomain: string): FileObject[] {
  return splitDocuments(text).flatMap(({ text: part, linesBefore }) =>
    readDocument(new Source(file, linesBefore, new Document(part, TAGS)), trustDomain),
  )
}

/** A document in its file. */
class Source {
  readonly file: string
  readonly document: Document
  private readonly linesBefore: number

  constructor(file: string, linesBefore: number, document: Document) {
    this.file = file
    this.linesBefore = linesBefore
    this.document = document
  }

  placeOf(path: Path, onKey: boolean): Place {
    return this.inFile(this.document.placeOf(path, onKey))
  }

  inFile({ line, column }: Place): Place {
    return { line: line + this.linesBefore, column }
  }
}

function readDocument(source: Source, trustDomain: string): FileObject[] {
  const { document } = source
  if (document.problem !== null) return [notAnObject(source, document.problem.message, source.inFile(document.problem))]
  const lists = document.value
  if (lists === null) return []
  if (!isMap(lists)) {
    const message = `expected a map with ${LIST_NAMES.join(', ')}, found ${found(lists)}`
    return [notAnObject(source, message, source.placeOf([], false))]
  }
  return Object.entries(lists).flatMap(([name, items]): FileObject[] => {
    if (!isListName(name)) {
      const known = didYouMean(name, LIST_NAMES) || `; known here: ${LIST_NAMES.join(', ')}`
      return [notAnObject(source, `unknown field \`${name}\`${known}`, source.placeOf([name], true))]
    }
    if (items === null) return []
    if (!Array.isArray(items))
      return [notAnObject(source, `expected a list, found ${found(items)}`, source.placeOf([name], false))]
    return items.map((item, i) => readItem(source, LISTS[name], item, [name, i], trustDomain))
  })
}

function readItem(source: Source, kind: FileNoun['kind'], item: unknown, at: Path, trustDomain: string): FileObject {
  const findings: Finding[] = []
  const value = withoutNulls(item, [], findings)
  const raw = isMap(value) ? value : {}
  const identity = identityOf(kind, raw)
  const placeOf = (path: Path): Origin => {
    const { key: _, ...named } = identity
    return { kind, ...named, file: source.file, ...source.placeOf([...at, ...path], false) }
  }
  const parsed = v.safeParse(SCHEMAS[kind], value)
  if (!parsed.success) findings.push(...parsed.issues.map(toFinding).sort(missingLast))
  const good = parsed.success && findings.length === 0 ? toNoun(kind, parsed.output, trustDomain, placeOf, findings) : null
  const [first] = findings
  return {
    kind,
    ...identity,
    origin: placeOf([]),
    good: findings.length > 0 ? null : good,
    reason: findings.map((f) => findingText(f, source, at)).join('; '),
    place: source.placeOf([...at, ...(first?.path ?? [])], first?.onKey ?? false),
    value: raw,
  }
}

const SCHEMAS = { Workload: localWorkload, Service: localService, Authorization: localPolicy } as const

function toNoun(
  kind: FileNoun['kind'],
  output: unknown,
  trustDomain: string,
  placeOf: (path: Path) => Origin,
  findings: Finding[],
): FileNoun {
  const report = (path: Path, message: string, onKey = false): void => {
    findings.push({ path, onKey, message })
  }
  switch (kind) {
    case 'Workload': {
      const noun = toWorkload(output as v.InferOutput<typeof localWorkload>, trustDomain, placeOf, report)
      return { kind, key: noun.uid, noun }
    }
    case 'Service': {
      const noun = toService(output as v.InferOutput<typeof localService>, placeOf, report)
      return { kind, key: serviceKey(noun), noun }
    }
    case 'Authorization': {
      const noun = toAuthorization(output as v.InferOutput<typeof localPolicy>, placeOf, report)
      return { kind, key: policyKey(noun), noun }
    }
  }
}

/** As far as it says, valid or not: the key is the one that its noun would have. */
function identityOf(kind: FileNoun['kind'], raw: Readonly<Record<string, unknown>>) {
  const say = (field: string): string => (typeof raw[field] === 'string' ? raw[field] : '')
  const namespace = say('namespace')
  const name = say('name') || (kind === 'Service' ? say('hostname') : say('uid'))
  if (kind === 'Workload') {
    const made = name === '' ? '' : `${say('clusterId') || 'Kubernetes'}//Pod/${namespace}/${name}`
    return { namespace, name, key: say('uid') || made }
  }
  const last = kind === 'Service' ? say('hostname').toLowerCase() : name
  return { namespace, name, key: namespace === '' || last === '' ? '' : `${namespace}/${last}` }
}

function notAnObject({ file }: Source, reason: string, place: Place): FileObject {
  const named = { kind: '', namespace: '', name: '' } as const
  return { ...named, key: '', origin: { ...named, file, ...place }, good: null, reason, place, value: {} }
}

/** The place of the first finding is the object's own in statuses; those of the others stand in the text. */
function findingText({ path, onKey, message }: Finding, source: Source, at: Path): string {
  const { line, column } = source.placeOf([...at, ...path], onKey)
  return `line ${line}:${column}: ${path.length === 0 ? '' : `${pathText(path)}: `}${message}`
}

function toFinding(issue: v.BaseIssue<unknown>): Finding {
  const items = issue.path ?? []
  const path = items.map((item) => (typeof item.key === 'number' ? item.key : String(item.key)))
  const last = items.at(-1)
  const unknown = last !== undefined && 'origin' in last && last.origin === 'key' && issue.expected === 'never'
  const missing = issue.received === 'undefined' && !unknown
  // A missing field has no place of its own: the map that lacks it is shown.
  return { path: missing ? path.slice(0, -1) : path, onKey: unknown, message: issue.message }
}

/** A misspelt field is told before the one that is missing because of it. */
function missingLast(a: Finding, b: Finding): number {
  return Number(a.message.includes('required and missing')) - Number(b.message.includes('required and missing'))
}

/** A field without a value is one that is not there. */
function withoutNulls(value: unknown, path: Path, findings: Finding[]): unknown {
  if (Array.isArray(value)) return value.map((item, i) => withoutNulls(item, [...path, i], findings))
  if (!isMap(value)) return value
  const copy: Record<string, unknown> = {}
  for (const [name, item] of Object.entries(value)) {
    if (name === '__proto__')
      findings.push({ path: [...path, name], onKey: true, message: `\`${name}\` cannot be the name of a field` })
    else if (item !== null) copy[name] = withoutNulls(item, [...path, name], findings)
  }
  return copy
}

function isListName(name: string): name is ListName {
  return Object.hasOwn(LISTS, name)
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
