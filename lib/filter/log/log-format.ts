// Hot lane: a format of access logs as what makes its lines. Compiled when configuration changes. Lines are pure ASCII but for what the format itself says in
// UTF-8, one character for each byte, so that the length of a line is its size.

import type { LogLineFormat } from '../../state/access-log.ts'
import { joined, jsonText, phrase } from '../../telemetry/access-format.ts'
import type { LogContext } from './log-context.ts'
import { ALWAYS, type Changes, type Read, SELDOM } from './log-operators.ts'
import { type LogTemplate, parseLogTemplate } from './log-template.ts'

type Value = string | null

/** What a value becomes in the line. */
type Render = (value: Value) => string

interface Piece {
  readonly read: Read
  readonly render: Render
  readonly changes: Changes
}

/**
 * Texts and pieces by turns. What one line has in common with the one before it is rendered and joined once: most of a line is the same for all requests of a
 * route, and each `+` of two long strings is an object that has to be copied out later.
 */
class Run {
  private readonly texts: readonly string[]
  private readonly pieces: readonly Piece[]
  /** What was joined is part of many lines. */
  private readonly keeps: boolean
  private readonly last: Value[]
  private text: string

  constructor(texts: readonly string[], pieces: readonly Piece[]) {
    this.texts = texts
    this.pieces = pieces
    this.keeps = pieces.every((p) => p.changes === SELDOM)
    this.last = pieces.map(() => null)
    this.text = this.joinedText()
  }

  of(c: LogContext): string {
    const { pieces, last } = this
    let same = true
    for (let i = 0; i < pieces.length; i++) {
      const value = (pieces[i] as Piece).read(c)
      if (value === last[i]) continue
      last[i] = value
      same = false
    }
    if (!same) this.text = this.keeps ? joined(this.joinedText()) : this.joinedText()
    return this.text
  }

  private joinedText(): string {
    const { texts, pieces, last } = this
    let text = texts[0] as string
    for (let i = 0; i < pieces.length; i++) text += (pieces[i] as Piece).render(last[i] as Value) + (texts[i + 1] as string)
    return text
  }
}

export class LogFormat {
  private readonly runs: readonly Run[]
  private readonly omitting: OmittingObject | null

  constructor(format: LogLineFormat) {
    const builder = new RunBuilder()
    this.omitting = null
    if (format.kind === 'text') addText(builder, format.text, format.omitsEmpty)
    else if (format.omitsEmpty) this.omitting = new OmittingObject(format.fields)
    else {
      addJson(builder, format.fields)
      builder.text('\n')
    }
    this.runs = builder.done()
  }

  /** With its newline, where the format has one. */
  line(c: LogContext): string {
    if (this.omitting !== null) return `${this.omitting.of(c)}\n`
    const { runs } = this
    let line = (runs[0] as Run).of(c)
    for (let i = 1; i < runs.length; i++) line += (runs[i] as Run).of(c)
    return line
  }
}

/** Neighbours that change as often as each other are one run. */
class RunBuilder {
  private readonly runs: Run[]
  private texts: string[]
  private pieces: Piece[]
  private pending: string

  constructor() {
    this.runs = []
    this.texts = []
    this.pieces = []
    this.pending = ''
  }

  text(text: string): void {
    this.pending += text
  }

  piece(piece: Piece): void {
    const before = this.pieces.at(-1)
    if (before !== undefined && before.changes !== piece.changes) this.close(before.changes !== ALWAYS)
    this.texts.push(this.pending)
    this.pieces.push(piece)
    this.pending = ''
  }

  done(): readonly Run[] {
    this.close(true)
    return this.runs
  }

  /** `withText`: the text behind the last piece is joined to this run, and not to the next one. */
  private close(withText: boolean): void {
    this.texts.push(withText ? this.pending : '')
    if (withText) this.pending = ''
    this.runs.push(new Run(this.texts, this.pieces))
    this.texts = []
    this.pieces = []
  }
}

// ---- text ----------------------------------------------------------------------------------------------------------------

function addText(builder: RunBuilder, format: string, omitsEmpty: boolean): void {
  addTemplate(builder, parseLogTemplate(format), literal, phrase, omitsEmpty)
}

/** Literal text, and operators within it. */
/** A JSON string that texts and values are parts of. */
function addQuoted(builder: RunBuilder, template: LogTemplate, omitsEmpty: boolean): void {
  builder.text('"')
  addTemplate(
    builder,
    template,
    (text) => ascii(text).slice(1, -1),
    (value) => jsonText(value).slice(1, -1),
    omitsEmpty,
  )
  builder.text('"')
}

function addTemplate(
  builder: RunBuilder,
  { texts, operators }: LogTemplate,
  ofText: (text: string) => string,
  ofValue: (value: string) => string,
  omitsEmpty: boolean,
): void {
  const missing = omitsEmpty ? '' : '-'
  builder.text(ofText(texts[0] as string))
  for (const [i, { reader, maxLength }] of operators.entries()) {
    if (reader === null) builder.text(missing)
    else {
      const { read, numeric, changes } = reader
      const plain: Render = (value) => (value === null ? missing : numeric || value === '' ? value : ofValue(value))
      builder.piece({ read, render: cut(plain, maxLength), changes })
    }
    builder.text(ofText(texts[i + 1] as string))
  }
}

function cut(render: Render, maxLength: number): Render {
  if (maxLength < 0) return render
  return (value) => render(value === null ? null : value.substring(0, maxLength))
}

/** One character for each byte of UTF-8. */
function literal(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

// ---- JSON ----------------------------------------------------------------------------------------------------------------

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

function addJson(builder: RunBuilder, value: Json): void {
  if (typeof value === 'string') addJsonText(builder, value)
  else if (Array.isArray(value)) {
    for (const [i, item] of (value as readonly Json[]).entries()) {
      builder.text(i === 0 ? '[' : ',')
      addJson(builder, item)
    }
    builder.text(value.length === 0 ? '[]' : ']')
  } else if (typeof value === 'object' && value !== null) {
    const entries = sorted(value as { readonly [key: string]: Json })
    for (const [i, [key, item]] of entries.entries()) {
      builder.text(`${i === 0 ? '{' : ','}${ascii(key)}:`)
      addJson(builder, item)
    }
    builder.text(entries.length === 0 ? '{}' : '}')
  } else builder.text(JSON.stringify(value))
}

function addJsonText(builder: RunBuilder, format: string): void {
  const template = parseLogTemplate(format)
  const alone = aloneOf(template)
  if (alone === null) {
    addQuoted(builder, template, false)
  } else if (alone.read === null) builder.text('null')
  else builder.piece({ read: alone.read, render: alone.render, changes: alone.changes })
}

interface Alone {
  /** null: always nothing. */
  readonly read: Read | null
  readonly render: Render
  readonly changes: Changes
}

/** The only operator of a text without literal parts, which keeps its type; null: it is not alone. */
function aloneOf({ texts, operators }: LogTemplate): Alone | null {
  const [only] = operators
  if (only === undefined || operators.length > 1 || texts.some((text) => text !== '')) return null
  if (only.reader === null) return { read: null, render: typed, changes: SELDOM }
  const { read, numeric, changes } = only.reader
  return { read, render: cut(numeric ? number : typed, only.maxLength), changes }
}

function typed(value: Value): string {
  return value === null ? 'null' : jsonText(value)
}

function number(value: Value): string {
  return value ?? 'null'
}

/** As Envoy has them: by the bytes of their keys. */
function sorted(object: { readonly [key: string]: Json }): (readonly [string, Json])[] {
  return Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1))
}

function ascii(text: string): string {
  return JSON.stringify(text).replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

// ---- JSON without what is empty ------------------------------------------------------------------------------------------

/** Made anew for each line, since keys come and go. */
class OmittingObject {
  private readonly entries: readonly (readonly [key: string, of: (c: LogContext) => string | null])[]

  constructor(fields: { readonly [key: string]: Json }) {
    this.entries = sorted(fields).map(([key, value]) => [`${ascii(key)}:`, omitting(value)] as const)
  }

  of(c: LogContext): string {
    let text = ''
    for (const [key, of] of this.entries) {
      const value = of(c)
      if (value !== null) text += `${text === '' ? '' : ','}${key}${value}`
    }
    return `{${text}}`
  }
}

/** What gives null is left out. */
function omitting(value: Json): (c: LogContext) => string | null {
  if (value === null) return () => null
  if (typeof value === 'string') return omittingText(value)
  if (Array.isArray(value)) {
    const items = (value as readonly Json[]).map(omitting)
    return (c) => `[${items.flatMap((of) => of(c) ?? []).join()}]`
  }
  if (typeof value === 'object') {
    const object = new OmittingObject(value as { readonly [key: string]: Json })
    return (c) => object.of(c)
  }
  const text = JSON.stringify(value)
  return () => text
}

function omittingText(format: string): (c: LogContext) => string | null {
  const template = parseLogTemplate(format)
  const alone = aloneOf(template)
  if (alone !== null) {
    const { read, render } = alone
    return (c) => {
      const value = read === null ? null : read(c)
      return value === null ? null : render(value)
    }
  }
  const builder = new RunBuilder()
  addQuoted(builder, template, true)
  const runs = builder.done()
  return (c) => runs.map((run) => run.of(c)).join('')
}
