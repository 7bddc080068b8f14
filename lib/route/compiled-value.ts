// Hot lane: JSON values, claims of a token mostly (envoy.type.matcher.v3.ValueMatcher). Runs for routes and policies that ask for them.
import type { JsonObject, JsonValue } from '../base/json-value.ts'
import type { ValueMatch } from '../state/route.ts'
import { CompiledText } from './compiled-text.ts'

const TEXT = 0
const NULL = 1
const BOOL = 2
const NUMBER = 3
const PRESENT = 4
const ELEMENT = 5
const OR = 6

export class CompiledValue {
  readonly kind: number
  readonly text: CompiledText | null
  readonly bool: boolean
  readonly first: number
  readonly end: number
  readonly of: readonly CompiledValue[]

  constructor(match: ValueMatch) {
    this.kind = KINDS[match.kind]
    this.text = match.kind === 'text' ? new CompiledText(match.match) : null
    this.bool = match.kind === 'bool' || match.kind === 'present' ? match.value : false
    this.first = match.kind === 'number' ? match.first : 0
    this.end = match.kind === 'number' ? match.end : 0
    this.of = partsOf(match).map((m) => new CompiledValue(m))
  }

  /** undefined: there is no value. */
  holds(value: JsonValue | undefined): boolean {
    switch (this.kind) {
      case TEXT:
        return typeof value === 'string' && (this.text as CompiledText).holds(value)
      case NULL:
        return value === null
      case BOOL:
        return value === this.bool
      case NUMBER:
        if (typeof value !== 'number') return false
        return this.first === this.end ? value === this.first : value >= this.first && value < this.end
      case PRESENT:
        return this.bool && value !== undefined
      case ELEMENT:
        return Array.isArray(value) && this.anyElement(value as readonly JsonValue[])
      default:
        for (const part of this.of) if (part.holds(value)) return true
        return false
    }
  }

  private anyElement(list: readonly JsonValue[]): boolean {
    const of = this.of[0] as CompiledValue
    for (const value of list) if (of.holds(value)) return true
    return false
  }
}

const KINDS = { text: TEXT, null: NULL, bool: BOOL, number: NUMBER, present: PRESENT, element: ELEMENT, or: OR } as const

function partsOf(match: ValueMatch): readonly ValueMatch[] {
  return match.kind === 'or' ? match.of : match.kind === 'element' ? [match.of] : []
}

/** The value at the end of a path of names; undefined: there is none. */
export function valueAt(object: JsonObject | null, path: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = object ?? undefined
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
