// Hot lane: a condition on what a filter in front has found out, a claim of a verified token (Envoy RouteMatch.dynamic_metadata). Runs for routes that have one.
import type { JsonValue } from '../base/json-value.ts'
import type { MetadataMatch } from '../state/route.ts'
import { CompiledValue, valueAt } from './compiled-value.ts'
import type { RequestView } from './request-view.ts'

export class CompiledMetadata {
  readonly config: MetadataMatch
  private readonly value: CompiledValue

  constructor(config: MetadataMatch) {
    this.config = config
    this.value = new CompiledValue(config.value)
  }

  holds(view: RequestView): boolean {
    return this.value.holds(this.seen(view)) !== this.config.invert
  }

  /** undefined: nothing, which fits no value. */
  seen({ metadata }: RequestView): JsonValue | undefined {
    if (metadata === null) return undefined
    const { filter, path } = this.config
    return valueAt(metadata.get(filter) ?? null, path)
  }
}
