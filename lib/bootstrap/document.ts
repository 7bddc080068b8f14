// heddle.yaml as plain data that still knows where each thing stood.
import { type Document, isMap, isNode, isSeq, LineCounter, type Node, parseDocument, visit } from 'yaml'
import type { ConfigProblem } from './problem.ts'

export type DocumentPath = readonly (string | number)[]

export interface YamlDocument {
  /** The top-level mapping; empty when the file holds nothing. */
  readonly value: Record<string, unknown>
  readonly problems: readonly ConfigProblem[]
  /** Where the path stands; of the nearest enclosing thing when the path itself is not written. */
  locate(path: DocumentPath, part: 'key' | 'value'): { readonly line: number; readonly column: number }
}

/** Never throws: what YAML itself does not accept is in `problems`. */
export function readYamlDocument(source: string, file: string): YamlDocument {
  const lines = new LineCounter()
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const problems: ConfigProblem[] = [...document.errors, ...document.warnings].map((e) => ({
    file,
    ...at(e.pos[0]),
    message: `not valid YAML: ${e.message}`,
  }))
  let value: unknown = null
  try {
    // Unresolved and exploding aliases are found only here, by throwing.
    if (problems.length === 0) value = document.toJS()
  } catch (error) {
    problems.push({ file, ...at(firstAlias(document)), message: `not valid YAML: ${(error as Error).message}` })
  }
  if (value !== null && (typeof value !== 'object' || Array.isArray(value))) {
    const where = at(document.contents?.range?.[0] ?? 0)
    problems.push({ file, ...where, message: 'expected a mapping with fields such as `role`, `resources` and `listeners`' })
    value = null
  }
  return {
    value: (value ?? {}) as Record<string, unknown>,
    problems,
    locate: (path, part) => at(offsetOf(document, path, part)),
  }
}

/** Only aliases make `toJS` throw. The first that leads nowhere, else (an explosion of them) the first. */
function firstAlias(document: Document): number {
  const offsets: number[] = []
  let dangling: number | null = null
  visit(document, {
    Alias: (_, alias) => {
      offsets.push(startOf(alias, 0))
      if (dangling === null && alias.resolve(document) === undefined) dangling = startOf(alias, 0)
    },
  })
  return dangling ?? offsets[0] ?? 0
}

function offsetOf(document: Document, path: DocumentPath, part: 'key' | 'value'): number {
  let node: unknown = document.contents
  let offset = startOf(node, 0)
  for (const [depth, step] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String(isNode(item.key) ? item.key : '') === String(step))
      if (pair === undefined) return offset
      const wanted = depth === path.length - 1 && part === 'key' ? pair.key : pair.value
      // `port:` with nothing behind it: a null without a position of its own is shown at its key.
      offset = startOf(wanted, startOf(pair.key, offset))
      node = pair.value
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step]
      offset = startOf(node, offset)
    } else return offset
  }
  return offset
}

function startOf(node: unknown, otherwise: number): number {
  return isNode(node) ? ((node as Node).range?.[0] ?? otherwise) : otherwise
}
