// The usual expressions of access logs (CEL, Telemetry accessLogging.filter): comparisons of the status, the method, the host, the path and headers with
// constants, and whether there is mutual TLS, joined by `&&`, `||`, `!` and parentheses. What else CEL can say is not understood here.
import type { AccessLogFilter, Comparison } from '../../state/access-log.ts'
import type { HeaderMatch, StringMatch } from '../../state/route.ts'

/** null: it says more than is understood. */
export function celLogFilter(expression: string): AccessLogFilter | null {
  const tokens = tokensOf(expression)
  if (tokens === null) return null
  const parser = new Parser(tokens)
  const filter = parser.either()
  return parser.atEnd ? filter : null
}

const TOKEN =
  /\s*(?:("(?:[^"\\]*)"|'(?:[^'\\]*)')|([0-9]+)|([A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*)|(&&|\|\||[=!<>]=|[<>!()[\]]))/y

/** null: there is something that is no token of ours. */
function tokensOf(text: string): readonly string[] | null {
  const tokens: string[] = []
  const end = text.trimEnd().length
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < end) {
    const found = TOKEN.exec(text)
    if (found === null) return null
    tokens.push(found[0].trim())
  }
  return tokens
}

const COMPARISONS: Readonly<Record<string, Comparison>> = { '==': 'EQ', '!=': 'NE', '>=': 'GE', '<=': 'LE', '>': 'GT', '<': 'LT' }

/** No header: without the query. */
const URL_PATH = '/'

const HEADERS: Readonly<Record<string, string>> = {
  'request.method': ':method',
  'request.host': ':authority',
  'request.scheme': ':scheme',
  'request.path': ':path',
  'request.url_path': URL_PATH,
  'request.useragent': 'user-agent',
  'request.referer': 'referer',
  'request.id': 'x-request-id',
}

const METHODS: Readonly<Record<string, StringMatch['kind']>> = { startsWith: 'prefix', endsWith: 'suffix', contains: 'contains' }

/** Each method takes what it understands, or gives null; who gets null gives up. */
class Parser {
  readonly #tokens: readonly string[]
  #at: number

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens
    this.#at = 0
  }

  get atEnd(): boolean {
    return this.#at === this.#tokens.length
  }

  either(): AccessLogFilter | null {
    return this.#joined('||', 'or', () => this.#both())
  }

  #both(): AccessLogFilter | null {
    return this.#joined('&&', 'and', () => this.#one())
  }

  #joined(sign: string, kind: 'and' | 'or', part: () => AccessLogFilter | null): AccessLogFilter | null {
    const filters: AccessLogFilter[] = []
    do {
      const filter = part()
      if (filter === null) return null
      filters.push(filter)
    } while (this.#took(sign))
    return filters.length === 1 ? (filters[0] as AccessLogFilter) : { kind, filters }
  }

  #one(): AccessLogFilter | null {
    if (this.#took('!')) {
      const filter = this.#one()
      return filter === null ? null : { kind: 'not', filter }
    }
    if (this.#took('(')) {
      const filter = this.either()
      return this.#took(')') ? filter : null
    }
    return this.#peek() === 'response.code' ? this.#status() : this.#text()
  }

  #status(): AccessLogFilter | null {
    this.#next()
    const op = COMPARISONS[this.#next()]
    const value = this.#next()
    if (op === undefined || !/^[0-9]+$/.test(value)) return null
    const holds: AccessLogFilter = { kind: 'status', op, value: Number(value) }
    // Without an answer there is no code, and what is asked of it does not hold.
    return { kind: 'and', filters: [{ kind: 'status', op: 'NE', value: 0 }, holds] }
  }

  #text(): AccessLogFilter | null {
    if (this.#took('connection.mtls')) return { kind: 'mtls' }
    const [name = '', method = ''] = this.#subject()
    if (name === '') return null
    if (method !== '') {
      const value = this.#took('(') ? constant(this.#next()) : null
      const kind = METHODS[method]
      return value === null || kind === undefined || !this.#took(')')
        ? null
        : header(name, { kind, value, ignoreCase: false }, false)
    }
    const sign = this.#next()
    const value = constant(this.#next())
    if (value === null || (sign !== '==' && sign !== '!=')) return null
    return header(name, { kind: 'exact', value, ignoreCase: false }, sign === '!=')
  }

  /** The header that is asked, and the method behind it; nothing: it is none. */
  #subject(): readonly [name: string, method: string] | readonly [] {
    const word = this.#next()
    if (word === 'request.headers') {
      const name = this.#took('[') ? constant(this.#next()) : null
      if (name === null || !this.#took(']')) return []
      return [name.toLowerCase(), '']
    }
    const direct = HEADERS[word]
    if (direct !== undefined) return [direct, '']
    const dot = word.lastIndexOf('.')
    const name = HEADERS[word.slice(0, Math.max(0, dot))]
    return name === undefined ? [] : [name, word.slice(dot + 1)]
  }

  #peek(): string {
    return this.#tokens[this.#at] ?? ''
  }

  #next(): string {
    return this.#tokens[this.#at++] ?? ''
  }

  #took(token: string): boolean {
    if (this.#peek() !== token) return false
    this.#at++
    return true
  }
}

/** null: it is no text. */
function constant(token: string): string | null {
  return /^["']/.test(token) ? token.slice(1, -1) : null
}

function header(name: string, match: StringMatch, invert: boolean): AccessLogFilter {
  if (name === URL_PATH) {
    const filter: AccessLogFilter = { kind: 'path', match }
    return invert ? { kind: 'not', filter } : filter
  }
  const field: HeaderMatch['field'] = `headers[${name}]`
  return { kind: 'header', match: { name, field, match, invert, missingIsEmpty: false } }
}
