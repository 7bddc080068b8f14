// Hot lane: texts of identities and claims. Most of the patterns that Istio writes for them say no more than "not empty" or "has this in it", and
// are asked without an engine for patterns, which takes memory in each thread that loads it.

import type { StringMatch } from '../state/route.ts'
import { CompiledString } from './conditions.ts'

const STRING = 0
/** `.+` */
const NOT_EMPTY = 1
/** `.*text.*` */
const HAS = 2

export class CompiledText {
  readonly kind: number
  readonly text: string
  readonly string: CompiledString | null

  constructor(match: StringMatch) {
    const has = match.kind === 'regex' ? /^\.\*([\w/-]+)\.\*$/.exec(match.value) : null
    this.kind = match.kind === 'regex' && match.value === '.+' ? NOT_EMPTY : has !== null ? HAS : STRING
    this.text = has?.[1] ?? ''
    this.string = this.kind === STRING ? new CompiledString(match) : null
  }

  holds(value: string): boolean {
    switch (this.kind) {
      case NOT_EMPTY:
        // RE2's dot is no line break.
        return value !== '' && !value.includes('\n')
      case HAS:
        return value.includes(this.text) && !value.includes('\n')
      default:
        return (this.string as CompiledString).holds(value)
    }
  }
}
