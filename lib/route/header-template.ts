// Values of header edits: text with `%COMMAND(parameter):length%` operators (Envoy substitution formatter). Parsed when
// configuration changes; `evaluate` is the hot half and runs only for values that have an operator at all.
import { didYouMean } from '../base/nearest.ts'
import { type EditContext, PLAIN, WITH_PARAMETER, WITHOUT_VALUE } from './header-operators.ts'

/** One operator. Of headers `argument` and `alternative` are names in lower case. */
interface Operator {
  /** As Envoy calls it. */
  readonly command: string
  readonly reads: Reads
  readonly argument: string
  readonly alternative: string
  /** Characters to keep; -1: all. */
  readonly maxLength: number
}

const REQUEST_HEADER = 0
const RESPONSE_HEADER = 1
/** Without a parameter, and with one. */
const PLAINLY = 2
const BY_PARAMETER = 3
const NOTHING = 4
type Reads = typeof REQUEST_HEADER | typeof RESPONSE_HEADER | typeof PLAINLY | typeof BY_PARAMETER | typeof NOTHING

const OF_HEADERS: Readonly<Record<string, Reads>> = {
  REQ: REQUEST_HEADER,
  REQUEST_HEADER,
  REQ_WITHOUT_QUERY: REQUEST_HEADER,
  RESP: RESPONSE_HEADER,
  RESPONSE_HEADER,
}

/** Text and operators by turns; without operators a constant. */
export interface HeaderTemplate {
  /** One more than `operators`. */
  readonly texts: readonly string[]
  readonly operators: readonly Operator[]
}

export type ParseTemplateResult =
  | { readonly ok: true; readonly template: HeaderTemplate }
  | { readonly ok: false; readonly message: string }

/** Parses a value. `%%` is a percent sign. */
export function parseTemplate(value: string): ParseTemplateResult {
  const texts: string[] = []
  const operators: Operator[] = []
  let text = ''
  for (let i = 0; i < value.length; ) {
    if (value.charAt(i) !== '%') {
      text += value.charAt(i++)
    } else if (value.charAt(i + 1) === '%') {
      text += '%'
      i += 2
    } else {
      const end = operatorEnd(value, i + 1)
      if (end < 0) return { ok: false, message: `un-escaped % at character ${i + 1}; write %% for a percent sign` }
      const operator = parseOperator(value.substring(i + 1, end))
      if (typeof operator === 'string') return { ok: false, message: operator }
      texts.push(text)
      operators.push(operator)
      text = ''
      i = end + 1
    }
  }
  texts.push(text)
  return { ok: true, template: { texts, operators } }
}

/** What is wrong with the value of a header edit, or null. */
export function checkTemplate(value: string): string | null {
  const parsed = parseTemplate(value)
  return parsed.ok ? null : parsed.message
}

/** Operators of a value that are always empty here. */
export function emptyOperators(value: string): readonly string[] {
  if (!value.includes('%')) return NONE
  const parsed = parseTemplate(value)
  return parsed.ok ? parsed.template.operators.filter((o) => o.reads === NOTHING).map((o) => o.command) : NONE
}

const NONE: readonly string[] = []

/** Every command that a template may name. */
export function templateCommands(): readonly string[] {
  return [...Object.keys(OF_HEADERS), ...Object.keys(PLAIN), ...Object.keys(WITH_PARAMETER), ...WITHOUT_VALUE]
}

/** Index of the closing percent sign; those inside parentheses belong to a time format. */
function operatorEnd(value: string, from: number): number {
  let depth = 0
  for (let i = from; i < value.length; i++) {
    const c = value.charAt(i)
    if (c === '(') depth++
    else if (c === ')') depth--
    else if (c === '%' && depth <= 0) return i
  }
  return -1
}

function parseOperator(text: string): Operator | string {
  const parts = /^([A-Z0-9_]+)(?:\(([^)]*)\))?(?::([0-9]{1,6}))?$/.exec(text)
  if (parts === null) return `%${text}% is not of the form %COMMAND%, %COMMAND(parameter)% or %COMMAND(parameter):length%`
  const command = parts[1] as string
  const argument = parts[2]
  const maxLength = parts[3] === undefined ? -1 : Number(parts[3])
  if (Object.hasOwn(OF_HEADERS, command)) {
    const names = /^([^?]+)(?:\?([^?]+))?$/.exec((argument ?? '').toLowerCase())
    if (names === null) return `%${command}% wants a header name, as in %${command}(x-name)% or %${command}(x-name?x-other)%`
    return { command, reads: OF_HEADERS[command] as Reads, argument: names[1] as string, alternative: names[2] ?? '', maxLength }
  }
  const reads = readsOf(command)
  if (reads === null) return `unknown operator %${command}%${didYouMean(command, templateCommands())}`
  if (reads === PLAINLY && argument !== undefined) return `%${command}% takes no parameter`
  return { command, reads, argument: argument ?? '', alternative: '', maxLength }
}

function readsOf(command: string): Reads | null {
  if (Object.hasOwn(PLAIN, command)) return PLAINLY
  if (Object.hasOwn(WITH_PARAMETER, command)) return BY_PARAMETER
  return WITHOUT_VALUE.has(command) ? NOTHING : null
}

/** The value for this request. */
export function evaluate(template: HeaderTemplate, ctx: EditContext): string {
  let out = template.texts[0] as string
  for (let i = 0; i < template.operators.length; i++) {
    const operator = template.operators[i] as Operator
    const value = operatorValue(operator, ctx)
    out += operator.maxLength >= 0 && value.length > operator.maxLength ? value.substring(0, operator.maxLength) : value
    out += template.texts[i + 1] as string
  }
  return out
}

function operatorValue(o: Operator, ctx: EditContext): string {
  switch (o.reads) {
    case REQUEST_HEADER: {
      const value = requestHeader(o.argument, ctx) ?? (o.alternative === '' ? '' : (requestHeader(o.alternative, ctx) ?? ''))
      return o.command === 'REQ_WITHOUT_QUERY' ? (value.split('?', 1)[0] as string) : value
    }
    case RESPONSE_HEADER:
      return responseHeader(o.argument, ctx) ?? (o.alternative === '' ? '' : (responseHeader(o.alternative, ctx) ?? ''))
    case PLAINLY:
      return (PLAIN[o.command] as (c: EditContext) => string)(ctx)
    case BY_PARAMETER:
      return (WITH_PARAMETER[o.command] as (c: EditContext, parameter: string) => string)(ctx, o.argument)
    default:
      return ''
  }
}

function requestHeader(name: string, ctx: EditContext): string | null {
  switch (name) {
    case ':method':
      return ctx.method
    case ':path':
      return ctx.sentPath
    case ':authority':
    case 'host':
      return ctx.authority
    case ':scheme':
      return ctx.scheme
    default:
      return ctx.requestHeaders.get(name)
  }
}

function responseHeader(name: string, ctx: EditContext): string | null {
  if (name === ':status') return ctx.responseCode === 0 ? null : String(ctx.responseCode)
  return ctx.responseHeaders === null ? null : ctx.responseHeaders.get(name)
}
