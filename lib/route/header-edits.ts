// Hot lane in `applyEdits`: runs for each request and response of a route that edits headers. `compileEdits` runs when
// configuration changes. Order as in Envoy's HeaderParser: removals first, then every template is evaluated against what is
// there, and only then does the first value go in, so that no edit sees the work of another one of its list.
import type { HeaderEdit } from '../state/route.ts'
import type { EditContext } from './header-operators.ts'
import { evaluate, type HeaderTemplate, parseTemplate } from './header-template.ts'
import type { EditableHeaders } from './request-view.ts'

/** How long a message is, is said by the codec alone: an edit could only make the next hop read a body as a message. */
const ALWAYS = 0
const ABSENT = 1
const PRESENT = 2

const FRAMING: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding'])

/** One compiled set or add. */
interface Value {
  readonly add: boolean
  readonly when: number
  /** As sent, lower case: Envoy knows no other. */
  readonly name: string
  /** The value when `template` is null; never empty. */
  readonly text: string
  readonly template: HeaderTemplate | null
}

/** One level's edits, never empty. */
export interface CompiledEdits {
  /** Lower-case names. */
  readonly removes: readonly string[]
  /** What is set, then what is added, each in the order of the configuration. */
  readonly values: readonly Value[]
  /** No value has an operator: nothing of the context is read. */
  readonly constant: boolean
  /** Some are for headers that are there, or are not. */
  readonly conditional: boolean
  /** Of the next level; null: there is none. */
  readonly next: CompiledEdits | null
}

/**
 * null when there is nothing to do. An edit whose template is faulty is left out: the resource that holds it was refused
 * by `checkTemplate` before it could get here.
 */
export function compileEdits(edits: readonly HeaderEdit[]): CompiledEdits | null {
  const end = edits.findIndex((e) => e.op === 'then')
  if (end < 0) return compileLevel(edits, null)
  const next = compileEdits(edits.slice(end + 1))
  return compileLevel(edits.slice(0, end), next) ?? next
}

function compileLevel(edits: readonly HeaderEdit[], next: CompiledEdits | null): CompiledEdits | null {
  const removes: string[] = []
  const values: Value[] = []
  for (const edit of edits) {
    const name = edit.name.toLowerCase()
    if (FRAMING.has(name)) continue
    if (edit.op === 'remove') {
      removes.push(name)
      continue
    }
    const parsed = parseTemplate(edit.value)
    if (!parsed.ok) continue
    const constant = parsed.template.operators.length === 0
    const text = constant ? (parsed.template.texts[0] as string) : ''
    // An empty value is never added, and set to it leaves what is there (Envoy: "empty result").
    if (constant && text === '') continue
    const add = edit.op === 'add' || edit.op === 'addIfAbsent'
    const when = edit.op === 'addIfAbsent' ? ABSENT : edit.op === 'setIfPresent' ? PRESENT : ALWAYS
    values.push({ add, when, name, text, template: constant ? null : parsed.template })
  }
  if (removes.length === 0 && values.length === 0) return null
  const constant = values.every((v) => v.template === null)
  // Of one list all that is set goes before all that is added, as Envoy does it.
  const inOrder = [...values.filter((v) => !v.add), ...values.filter((v) => v.add)]
  return { removes, values: inOrder, constant, conditional: values.some((v) => v.when !== ALWAYS), next }
}

/** Applies each level. `ctx` is not looked at by those that are `constant`. */
export function applyEdits(edits: CompiledEdits, target: EditableHeaders, ctx: EditContext): void {
  for (let level: CompiledEdits | null = edits; level !== null; level = level.next) applyLevel(level, target, ctx)
}

function applyLevel(edits: CompiledEdits, target: EditableHeaders, ctx: EditContext): void {
  const removes = edits.removes
  for (let i = 0; i < removes.length; i++) target.remove(removes[i] as string)
  const values = edits.values
  if (!edits.constant || edits.conditional) {
    applyEvaluated(values, target, ctx)
    return
  }
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as Value
    if (value.add) target.add(value.name, value.text)
    else target.set(value.name, value.text)
  }
}

function applyEvaluated(values: readonly Value[], target: EditableHeaders, ctx: EditContext): void {
  const texts: string[] = []
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as Value
    if (value.when !== ALWAYS && target.indexOf(value.name, 0) >= 0 !== (value.when === PRESENT)) texts.push('')
    else texts.push(value.template === null ? value.text : evaluate(value.template, ctx))
  }
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as Value
    const text = texts[i] as string
    if (text === '') continue
    if (value.add) target.add(value.name, text)
    else target.set(value.name, text)
  }
}

/** All levels are: nothing of a context is read. */
export function isConstant(edits: CompiledEdits): boolean {
  for (let level: CompiledEdits | null = edits; level !== null; level = level.next) if (!level.constant) return false
  return true
}

/** Some level may change the header of this lower-case name. */
export function mayEdit(edits: CompiledEdits, name: string): boolean {
  for (let level: CompiledEdits | null = edits; level !== null; level = level.next)
    if (level.removes.includes(name) || level.values.some((v) => v.name === name)) return true
  return false
}
