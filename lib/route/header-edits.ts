// Hot lane in `applyEdits`: runs for each request and response of a route that edits headers. `compileEdits` runs when
// configuration changes. Order as in Envoy's HeaderParser: removals first, then every template is evaluated against what is
// there, and only then does the first value go in, so that no edit sees the work of another one of its list.
import type { HeaderEdit } from '../state/route.ts'
import { type EditContext, evaluate, type HeaderTemplate, parseTemplate } from './header-template.ts'
import type { EditableHeaders } from './request-view.ts'

/** How long a message is, is said by the codec alone: an edit could only make the next hop read a body as a message. */
const FRAMING: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding'])

/** One compiled set or add. */
interface Value {
  readonly add: boolean
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
  /** In the order of the configuration. */
  readonly values: readonly Value[]
  /** No value has an operator: nothing of the context is read. */
  readonly constant: boolean
}

/**
 * null when there is nothing to do. An edit whose template is faulty is left out: the resource that holds it was refused
 * by `checkTemplate` before it could get here.
 */
export function compileEdits(edits: readonly HeaderEdit[]): CompiledEdits | null {
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
    values.push({ add: edit.op === 'add', name, text, template: constant ? null : parsed.template })
  }
  if (removes.length === 0 && values.length === 0) return null
  return { removes, values, constant: values.every((v) => v.template === null) }
}

/** Applies one level. `ctx` is not looked at when `edits.constant`. */
export function applyEdits(edits: CompiledEdits, target: EditableHeaders, ctx: EditContext): void {
  const removes = edits.removes
  for (let i = 0; i < removes.length; i++) target.remove(removes[i] as string)
  const values = edits.values
  if (!edits.constant) {
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
    texts.push(value.template === null ? value.text : evaluate(value.template, ctx))
  }
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as Value
    const text = texts[i] as string
    if (text === '') continue
    if (value.add) target.add(value.name, text)
    else target.set(value.name, text)
  }
}
