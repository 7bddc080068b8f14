// What is wrong with a document or an object, and where: collected, never thrown, so that an operator sees all of it at once.

/** Keys and indices from the root of a document or an object: `['spec', 'http', 0, 'match']`. */
export type Path = readonly (string | number)[]

/** 1-based. */
export interface Place {
  readonly line: number
  readonly column: number
}

export interface Finding {
  /** From the root of the object that the finding is about. */
  readonly path: Path
  /** The key itself is wrong (a misspelling), not its value. */
  readonly onKey: boolean
  /** What is wrong, what was expected and what to write instead. */
  readonly message: string
}

/** Notes one finding. */
export type Report = (path: Path, message: string, onKey?: boolean) => void

/** `spec.http[0].match[1].headers["x.y"]`. */
export function pathText(path: Path): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (/^[\w-]+$/.test(part)) text += text === '' ? part : `.${part}`
    else text += `["${part}"]`
  }
  return text
}
