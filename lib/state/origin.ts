/**
 * Where a compiled noun came from. Every noun of a Snapshot carries one, so that `explain`, `check` and the access log
 * can name the object and the line that an operator wrote.
 */
export interface Origin {
  /** Kubernetes kind, `VirtualService`; `default` for what no object asked for; `bootstrap` for heddle.yaml. */
  readonly kind: string
  readonly namespace: string
  readonly name: string
  /** Path as given on the command line or in `resources`; empty when there is no file. */
  readonly file: string
  /** 1-based; 0 when there is no file. */
  readonly line: number
  readonly column: number
}

/** The origin of what nobody wrote. */
export const BUILT_IN: Origin = { kind: 'default', namespace: '', name: '', file: '', line: 0, column: 0 }

/** `VirtualService default/reviews (mesh/reviews.yaml:7:3)`. */
export function originText(o: Origin): string {
  const object = o.kind === 'default' ? 'built-in default' : `${o.kind} ${o.namespace === '' ? '' : `${o.namespace}/`}${o.name}`
  return o.file === '' ? object : `${object} (${o.file}:${o.line}:${o.column})`
}
