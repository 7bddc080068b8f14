/** One thing that is wrong with the bootstrap configuration. */
export interface ConfigProblem {
  /** Path of heddle.yaml, or `environment HEDDLE_ADMIN_PORT`, or `flag --admin-port`. */
  readonly file: string
  /** 1-based; 0 when there is no line. */
  readonly line: number
  readonly column: number
  readonly message: string
}

/** `heddle.yaml:3:1: unknown field …`. */
export function problemText(p: ConfigProblem): string {
  return p.line === 0 ? `${p.file}: ${p.message}` : `${p.file}:${p.line}:${p.column}: ${p.message}`
}
