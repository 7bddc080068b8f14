// Hot lane: the conditions of a route, evaluated for each request until a route fits. Compiled to small objects with integer
// kinds; exact and prefix conditions compare in place and allocate nothing.
import { compileRegex, type Regex } from '../base/regex.ts'
import type { HeaderMatch, PathMatch, QueryMatch, StringMatch } from '../state/route.ts'
import { isJoined } from './joined-headers.ts'
import type { HeaderView, RequestView } from './request-view.ts'

const EXACT = 0
const PREFIX = 1
const SUFFIX = 2
const CONTAINS = 3
const REGEX = 4
const PRESENT = 5
/** Gateway API PathPrefix: by whole segments. */
const SEGMENTS = 6
/** A pattern that does not compile; the resource was refused before it could get here. */
const NEVER = 7

const KINDS = { exact: EXACT, prefix: PREFIX, suffix: SUFFIX, contains: CONTAINS, regex: REGEX, present: PRESENT } as const

/** One StringMatch. */
export class CompiledString {
  readonly kind: number
  /** Lower case when `ignoreCase`. */
  readonly value: string
  readonly ignoreCase: boolean
  readonly regex: Regex | null

  constructor(match: StringMatch) {
    const regex = match.kind === 'regex' ? regexOf(match.value) : null
    this.kind = match.kind === 'regex' && regex === null ? NEVER : KINDS[match.kind]
    // ignoreCase has no effect on a pattern.
    this.ignoreCase = match.ignoreCase && match.kind !== 'regex'
    this.value = this.ignoreCase ? match.value.toLowerCase() : match.value
    this.regex = regex
  }

  holds(text: string): boolean {
    switch (this.kind) {
      case EXACT:
        return this.ignoreCase ? text.length === this.value.length && foldedPrefix(text, this.value) : text === this.value
      case PREFIX:
        return this.ignoreCase ? foldedPrefix(text, this.value) : beginsWith(text, this.value)
      case SUFFIX:
        return (this.ignoreCase ? text.toLowerCase() : text).endsWith(this.value)
      case CONTAINS:
        return (this.ignoreCase ? text.toLowerCase() : text).includes(this.value)
      case REGEX:
        return (this.regex as Regex).matchesWhole(text)
      case PRESENT:
        return true
      default:
        return false
    }
  }
}

/** A condition on the path. */
export class CompiledPath {
  readonly kind: number
  /** Lower case when `ignoreCase`; without its trailing slash for SEGMENTS. */
  readonly value: string
  readonly ignoreCase: boolean
  readonly regex: Regex | null

  constructor(match: PathMatch) {
    const regex = match.kind === 'regex' ? regexOf(match.value) : null
    this.kind = match.kind === 'pathPrefix' ? SEGMENTS : match.kind === 'regex' && regex === null ? NEVER : KINDS[match.kind]
    this.ignoreCase = match.ignoreCase && match.kind !== 'regex'
    const value = this.ignoreCase ? match.value.toLowerCase() : match.value
    // Gateway API: a trailing slash in a PathPrefix is ignored.
    this.value = match.kind === 'pathPrefix' && value.endsWith('/') ? value.substring(0, value.length - 1) : value
    this.regex = regex
  }

  holds(path: string): boolean {
    const value = this.value
    switch (this.kind) {
      case EXACT:
        return this.ignoreCase ? path.length === value.length && foldedPrefix(path, value) : path === value
      case PREFIX:
        return this.ignoreCase ? foldedPrefix(path, value) : beginsWith(path, value)
      case SEGMENTS:
        if (!(this.ignoreCase ? foldedPrefix(path, value) : beginsWith(path, value))) return false
        return path.length === value.length || path.charCodeAt(value.length) === 0x2f
      case REGEX:
        return (this.regex as Regex).matchesWhole(path)
      default:
        return false
    }
  }

  /** Characters of a matching path that the condition covers, all of it for exact and regex: what a rewrite replaces. */
  matchedLength(path: string): number {
    return this.kind === PREFIX || this.kind === SEGMENTS ? this.value.length : path.length
  }

  isExact(): boolean {
    return this.kind === EXACT && !this.ignoreCase
  }

  /** What every matching path begins with, null when that cannot be said. */
  literalPrefix(): string | null {
    return (this.kind === EXACT || this.kind === PREFIX || this.kind === SEGMENTS) && !this.ignoreCase ? this.value : null
  }
}

const HEADER = 0
const METHOD = 1
const SCHEME = 2
const AUTHORITY = 3
const PATH = 4
/** In a routing table `host` sees the authority. */
const PSEUDO: Readonly<Record<string, number>> = {
  ':method': METHOD,
  ':scheme': SCHEME,
  ':authority': AUTHORITY,
  host: AUTHORITY,
  ':path': PATH,
}

/** A condition on a header or pseudo-header. */
export class CompiledHeader {
  readonly config: HeaderMatch
  readonly source: number
  readonly name: string
  readonly match: CompiledString
  readonly invert: boolean
  readonly missingIsEmpty: boolean
  /** In a request its values are one text. */
  readonly joined: boolean

  constructor(config: HeaderMatch) {
    this.config = config
    this.name = config.name.toLowerCase()
    this.source = Object.hasOwn(PSEUDO, this.name) ? (PSEUDO[this.name] as number) : HEADER
    this.match = new CompiledString(config.match)
    this.invert = config.invert
    this.missingIsEmpty = config.missingIsEmpty
    this.joined = isJoined(this.name)
  }

  holds(view: RequestView): boolean {
    switch (this.source) {
      case HEADER:
        return this.joined ? this.joinedHolds(view.headers) : this.headerHolds(view.headers)
      case METHOD:
        return this.match.holds(view.method) !== this.invert
      case SCHEME:
        return this.match.holds(view.scheme) !== this.invert
      case AUTHORITY:
        return this.match.holds(view.authority) !== this.invert
      default:
        return this.match.holds(pathWithQuery(view)) !== this.invert
    }
  }

  private joinedHolds(headers: HeaderView): boolean {
    const first = headers.indexOf(this.name, 0)
    let next = first < 0 ? -1 : headers.indexOf(this.name, first + 1)
    if (next < 0 || this.match.kind === PRESENT) return this.headerHolds(headers)
    let text = headers.valueAt(first)
    for (; next >= 0; next = headers.indexOf(this.name, next + 1)) {
      const value = headers.valueAt(next)
      // Empty values leave no comma behind (Envoy).
      if (value !== '') text += text === '' ? value : `,${value}`
    }
    return this.match.holds(text) !== this.invert
  }

  /** Whether it holds for the fields alone: of a response, where no name stands for something else. */
  headerHolds(headers: HeaderView): boolean {
    let at = headers.indexOf(this.name, 0)
    if (at < 0) {
      // The empty one is there, too (Envoy).
      if (this.match.kind === PRESENT) return this.missingIsEmpty !== this.invert
      // A missing header fits no value, inverted or not, unless it is to count as the empty one.
      return this.missingIsEmpty && this.match.holds('') !== this.invert
    }
    // Each value stands by itself; one that fits is enough (Envoy match_headers_individually).
    while (at >= 0) {
      if (this.match.holds(headers.valueAt(at))) return !this.invert
      at = headers.indexOf(this.name, at + 1)
    }
    return this.invert
  }
}

export function pathWithQuery(view: RequestView): string {
  return view.query === null ? view.path : `${view.path}?${view.query}`
}

/** A condition on a query parameter: nothing is decoded, the first occurrence counts. */
export class CompiledQuery {
  readonly config: QueryMatch
  readonly name: string
  readonly match: CompiledString

  constructor(config: QueryMatch) {
    this.config = config
    this.name = config.name
    this.match = new CompiledString(config.match)
  }

  holds(query: string | null): boolean {
    if (query === null) return false
    const at = queryParameter(query, this.name)
    if (at < 0) return false
    return this.match.kind === PRESENT || this.match.holds(queryValue(query, this.name, at))
  }
}

/** Index at which the first parameter of that name begins, -1 without one. `k` and `k=` are both the parameter `k`. */
export function queryParameter(query: string, name: string): number {
  let at = 0
  for (;;) {
    if (query.startsWith(name, at)) {
      const end = at + name.length
      const c = end === query.length ? 0x26 : query.charCodeAt(end)
      if (c === 0x3d || c === 0x26) return at
    }
    at = query.indexOf('&', at) + 1
    if (at === 0) return -1
  }
}

/** The value of the parameter that begins at an index that `queryParameter` returned. */
export function queryValue(query: string, name: string, at: number): string {
  const start = at + name.length
  if (start >= query.length || query.charCodeAt(start) !== 0x3d) return ''
  const end = query.indexOf('&', start)
  return query.substring(start + 1, end < 0 ? query.length : end)
}

/**
 * `text.startsWith(prefix)`, sooner done when it does not: what differs between the prefixes of a table is mostly their ends
 * (bench/micro/route/match.ts).
 */
export function beginsWith(text: string, prefix: string): boolean {
  const n = prefix.length
  if (text.length < n) return false
  const tail = n > 4 ? n - 4 : 0
  for (let i = n - 1; i >= tail; i--) {
    if (text.charCodeAt(i) !== prefix.charCodeAt(i)) return false
  }
  return n <= 4 || text.startsWith(prefix)
}

/** Whether `text` begins with `lower`, letters of ASCII taken without case. */
function foldedPrefix(text: string, lower: string): boolean {
  if (text.length < lower.length) return false
  for (let i = 0; i < lower.length; i++) {
    const c = text.charCodeAt(i)
    if ((c >= 0x41 && c <= 0x5a ? c | 0x20 : c) !== lower.charCodeAt(i)) return false
  }
  return true
}

function regexOf(source: string): Regex | null {
  const compiled = compileRegex(source)
  return compiled.ok ? compiled.regex : null
}
