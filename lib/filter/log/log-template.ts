// Texts of access log formats: literal text and operators, `%COMMAND(parameter):length%` (Envoy substitution formatter). What is no operator is told and stands
// for nothing: a format never keeps a listener from serving.
import { didYouMean } from '../../base/nearest.ts'
import { logCommands, type Reader, readerOf } from './log-operators.ts'

export interface LogOperator {
  /** null: it says nothing here. */
  readonly reader: Reader | null
  /** Characters to keep; -1: all. */
  readonly maxLength: number
}

export interface LogTemplate {
  /** One more than `operators`. */
  readonly texts: readonly string[]
  readonly operators: readonly LogOperator[]
  /** Clauses: `%X% is no operator`. */
  readonly problems: readonly string[]
  /** Operators that Envoy has and that say nothing here, as they are written. */
  readonly silent: readonly string[]
}

/** `%%` is a percent sign. */
export function parseLogTemplate(format: string): LogTemplate {
  const texts: string[] = []
  const operators: LogOperator[] = []
  const problems: string[] = []
  const silent: string[] = []
  let text = ''
  for (let i = 0; i < format.length; ) {
    const end = format.charAt(i) !== '%' ? i : format.charAt(i + 1) === '%' ? i + 1 : operatorEnd(format, i + 1)
    if (end <= i) {
      if (end < 0) problems.push(`the % at character ${i + 1} begins no operator; %% is a percent sign`)
      text += format.charAt(i++)
    } else if (end === i + 1) {
      text += '%'
      i += 2
    } else {
      const written = format.substring(i, end + 1)
      const operator = parseOperator(written, problems)
      if (operator.reader === null && !problems.some((p) => p.startsWith(written))) silent.push(written)
      texts.push(text)
      operators.push(operator)
      text = ''
      i = end + 1
    }
  }
  texts.push(text)
  return { texts, operators, problems, silent }
}

/** Index of the closing percent sign; those inside of parentheses belong to the parameter. */
function operatorEnd(format: string, from: number): number {
  let depth = 0
  for (let i = from; i < format.length; i++) {
    const c = format.charAt(i)
    if (c === '(') depth++
    else if (c === ')') depth--
    else if (c === '%' && depth <= 0) return i
  }
  return -1
}

function parseOperator(written: string, problems: string[]): LogOperator {
  const parts = /^%([A-Z0-9_]+)(?:\((.*)\))?(?::([0-9]{1,6}))?%$/s.exec(written)
  if (parts === null) {
    problems.push(`${written} is not of the form %COMMAND%, %COMMAND(parameter)% or %COMMAND(parameter):length%`)
    return { reader: null, maxLength: -1 }
  }
  const [, command = '', argument = null, length] = parts
  const reader = readerOf(command, argument)
  if (reader === undefined) problems.push(`${written} is no operator that is known${didYouMean(command, logCommands())}`)
  return { reader: reader ?? null, maxLength: length === undefined ? -1 : Number(length) }
}
