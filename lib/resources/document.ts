// One YAML document: parsed once, kept as plain values with the place of every key and value, its syntax tree dropped. A
// document whose text did not change is the same Document after a reload, wherever in its file it moved to.
import type { CollectionTag, Node, Pair, ScalarTag, YAMLMap, YAMLSeq, Document as YamlDocument } from 'yaml'
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { Path, Place } from './finding.ts'

/** Values of one document, anchors expanded. A folder that needs more is an attack or a mistake. */
const MAX_VALUES = 2_000_000
const MAX_DEPTH = 100

export interface SyntaxProblem extends Place {
  readonly message: string
}

/** Lines are counted from the first line of the document; the place in the file is that plus where the document begins. */
export class Document {
  readonly text: string
  /** null when there is a problem, or when the document is empty. */
  readonly value: unknown
  readonly problem: SyntaxProblem | null
  /** What could be read of a document with a problem, to name the object that it was meant to be. */
  readonly remains: unknown
  /** Places in the order of a walk through `value`: for each map entry its key and then its value, for each item its value. */
  private readonly lines: Uint32Array
  private readonly columns: Uint32Array
  /** How many places a map or list takes, found once. */
  private readonly sizes: WeakMap<object, number>

  /** `tags`: those that the format has, such as `!Exact x`; all others are refused. */
  constructor(text: string, tags: readonly (ScalarTag | CollectionTag)[] = []) {
    this.text = text
    const read = readDocument(text, tags)
    this.value = read.value
    this.problem = read.problem
    this.remains = read.remains
    this.lines = Uint32Array.from(read.places, (p) => p.line)
    this.columns = Uint32Array.from(read.places, (p) => p.column)
    this.sizes = new WeakMap()
  }

  /** Place of the value at `path`, or of the last part of the path that exists. `onKey`: of the key instead. */
  placeOf(path: Path, onKey: boolean): Place {
    let value = this.value
    let at = 0
    for (const [i, part] of path.entries()) {
      const step = this.stepTo(value, part, at)
      if (step === null) break
      if (onKey && i === path.length - 1) return this.place(step.keyAt)
      value = step.value
      at = step.valueAt
    }
    return this.place(at)
  }

  private place(at: number): Place {
    return { line: this.lines[at] ?? 1, column: this.columns[at] ?? 1 }
  }

  private stepTo(value: unknown, part: string | number, at: number): { value: unknown; keyAt: number; valueAt: number } | null {
    let next = at + 1
    if (Array.isArray(value)) {
      for (const [i, item] of value.entries()) {
        if (i === part) return { value: item, keyAt: next, valueAt: next }
        next += this.sizeOf(item)
      }
      return null
    }
    if (typeof value !== 'object' || value === null) return null
    for (const [key, item] of Object.entries(value)) {
      if (key === part) return { value: item, keyAt: next, valueAt: next + 1 }
      next += 1 + this.sizeOf(item)
    }
    return null
  }

  private sizeOf(value: unknown): number {
    if (typeof value !== 'object' || value === null) return 1
    const known = this.sizes.get(value)
    if (known !== undefined) return known
    let size = 1
    if (Array.isArray(value)) for (const item of value) size += this.sizeOf(item)
    else for (const item of Object.values(value)) size += 1 + this.sizeOf(item)
    this.sizes.set(value, size)
    return size
  }
}

interface ReadDocument {
  readonly value: unknown
  readonly problem: SyntaxProblem | null
  readonly remains: unknown
  readonly places: readonly Place[]
}

function readDocument(text: string, tags: readonly (ScalarTag | CollectionTag)[]): ReadDocument {
  const lines = new LineCounter()
  try {
    // YAML 1.2 core schema, as Kubernetes tooling nearly does; merge keys because people use them in files.
    const doc = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      strict: true,
      uniqueKeys: true,
      merge: true,
      customTags: [...tags],
      logLevel: 'silent',
    })
    const error = doc.errors[0] ?? doc.warnings[0]
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0])
      return {
        value: null,
        problem: { line, column: col, message: syntaxMessage(text, error.code, error.message) },
        remains: salvage(doc),
        places: [],
      }
    }
    // An unresolved alias and the guard against alias bombs throw here, not above.
    const value: unknown = doc.toJS({ maxAliasCount: 100 })
    const places: Place[] = []
    const place = (offset: number): void => {
      if (places.length >= MAX_VALUES) throw new Error(`more than ${MAX_VALUES} values`)
      const { line, col } = lines.linePos(offset)
      places.push({ line, column: col })
    }
    walk(doc, doc.contents, value, place, 0)
    return { value, problem: null, remains: null, places }
  } catch (error) {
    const message = error instanceof RangeError ? 'nested too deeply' : error instanceof Error ? error.message : String(error)
    return {
      value: null,
      problem: { line: 1, column: 1, message: `not usable YAML: ${isSecret(text) ? HIDDEN : message}` },
      remains: null,
      places: [],
    }
  }
}

const SECRET = /\bkind["']?\s*:\s*["']?Secret\b/
const HIDDEN = 'something in it cannot be resolved; what, is not shown, because it is a Secret'

/** Some messages quote what they are about. */
function isSecret(text: string): boolean {
  return SECRET.test(text)
}

function syntaxMessage(text: string, code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'the same key is written twice in one map; remove one of the two'
  if (isSecret(text) && /[*!&:]/.test(message)) return `not valid YAML: ${HIDDEN}`
  if (code === 'TAG_RESOLVE_FAILED') return `${message}; tags of your own are not supported, write the plain value`
  return `not valid YAML: ${message}`
}

function salvage(doc: YamlDocument): unknown {
  try {
    return doc.toJS({ maxAliasCount: 100 })
  } catch {
    return null
  }
}

/** Notes the place of `node` and of all below it, in the order of the keys of the plain value (which puts numbers first). */
function walk(
  doc: YamlDocument,
  node: Node | null | undefined,
  value: unknown,
  place: (offset: number) => void,
  depth: number,
): void {
  if (depth > MAX_DEPTH) throw new Error(`nested more than ${MAX_DEPTH} levels deep`)
  const target = isAlias(node) ? node.resolve(doc) : node
  place(node?.range?.[0] ?? 0)
  if (Array.isArray(value)) {
    const items = isSeq(target) ? (target as YAMLSeq<Node>).items : []
    for (const [i, item] of value.entries()) walk(doc, items[i] ?? node, item, place, depth + 1)
  } else if (typeof value === 'object' && value !== null) {
    const pairs = isMap(target) ? pairsByKey(target as YAMLMap<Node, Node>) : new Map<string, Pair<Node, Node>>()
    for (const [key, item] of Object.entries(value)) {
      // A key that came in through a merge has no pair of its own here: it is shown where the map is.
      const pair = pairs.get(key)
      place(pair?.key.range?.[0] ?? node?.range?.[0] ?? 0)
      walk(doc, pair === undefined ? node : (pair.value ?? pair.key), item, place, depth + 1)
    }
  }
}

function pairsByKey(map: YAMLMap<Node, Node>): Map<string, Pair<Node, Node>> {
  const pairs = new Map<string, Pair<Node, Node>>()
  for (const pair of map.items) if (isScalar(pair.key)) pairs.set(String(pair.key.value), pair)
  return pairs
}
