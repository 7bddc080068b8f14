// What matching and editing need to see of a request. `http/header-map.ts` implements the header part; the explainer brings
// its own. The interfaces are here because `route` may not know `http`.
import type { JsonObject } from '../base/json-value.ts'

export interface HeaderView {
  /** First value of a lower-case name, null when absent. */
  get(name: string): string | null
  /** Index of the next header with this lower-case name at or after `from`; -1 when there is none. */
  indexOf(name: string, from: number): number
  /** Value at an index that `indexOf` returned. */
  valueAt(index: number): string
}

export interface EditableHeaders extends HeaderView {
  /** All values of a lower-case name go. */
  remove(name: string): void
  /** All values of the name go, the new one is appended. The spelling given is the spelling sent. */
  set(name: string, value: string): void
  add(name: string, value: string): void
}

/** One request as routing sees it, after sanitising and path normalisation. */
export interface RequestView {
  readonly method: string
  /** Normalised, without query and fragment; begins with `/`. */
  readonly path: string
  /** Without the `?`; null when the target has none. */
  readonly query: string | null
  readonly scheme: string
  /** As the client wrote it. */
  readonly authority: string
  readonly headers: HeaderView
  /** What filters in front have found out, by their names: of JWT_METADATA `{ "payload": claims }`. null: nothing. */
  readonly metadata: ReadonlyMap<string, JsonObject> | null
}
