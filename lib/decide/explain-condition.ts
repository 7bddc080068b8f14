// Which condition of a route failed, what was there and what was asked for, in the operator's words.

import type { CompiledRoute } from '../route/compiled-route.ts'
import type { CompiledHeader, CompiledQuery } from '../route/conditions.ts'
import { pathWithQuery, queryParameter, queryValue } from '../route/conditions.ts'
import type { CompiledMetadata } from '../route/metadata-condition.ts'
import type { HeaderView, RequestView } from '../route/request-view.ts'
import type { PathMatch, StringMatch, ValueMatch } from '../state/route.ts'
import type { ExplainedCondition } from './explanation.ts'

/** Condition `failed` of a route, numbered as `CompiledRoute.failedCondition` numbers them. */
export function failedConditionOf(route: CompiledRoute, failed: number, request: RequestView): ExplainedCondition {
  if (failed === 0) {
    const path = route.config.match.path
    const field = route.config.origin.kind === 'VirtualService' ? 'uri' : 'path'
    return { field, seen: quoted(request.path), wanted: path === null ? 'anything' : pathWanted(path) }
  }
  const header = route.headers[failed - 1]
  if (header !== undefined) return headerCondition(header, request)
  const query = route.query[failed - 1 - route.headers.length]
  if (query !== undefined) return queryCondition(query, request)
  const at = failed - 1 - route.headers.length - route.query.length
  const metadata = route.metadata[at]
  return metadata === undefined ? lastCondition(route, at - route.metadata.length) : metadataCondition(metadata, request)
}

function lastCondition({ share, certificate }: CompiledRoute, at: number): ExplainedCondition {
  if (at === 0 && share !== null)
    return { field: 'share of requests', seen: 'another draw', wanted: `${share.part} of ${share.of}` }
  return certificate
    ? { field: 'client certificate', seen: 'none', wanted: 'a trusted one' }
    : { field: 'client certificate', seen: 'a trusted one', wanted: 'none' }
}

function headerCondition(header: CompiledHeader, request: RequestView): ExplainedCondition {
  const { field, match, invert } = header.config
  return { field, seen: headerSeen(header.name, request), wanted: stringWanted(match, invert) }
}

function queryCondition(query: CompiledQuery, request: RequestView): ExplainedCondition {
  const text = request.query
  const at = text === null ? -1 : queryParameter(text, query.name)
  const seen = text === null || at < 0 ? 'nothing' : quoted(queryValue(text, query.name, at))
  return { field: query.config.field, seen, wanted: stringWanted(query.config.match, false) }
}

/** Which claim made a route fit. */
export function metadataText(metadata: CompiledMetadata, request: RequestView): string {
  const { field, seen, wanted } = metadataCondition(metadata, request)
  return `${field}: seen ${seen}, wanted ${wanted}`
}

/** What a token claims is told, as it is in a refusal by a policy; the token is not. */
function metadataCondition(metadata: CompiledMetadata, request: RequestView): ExplainedCondition {
  const { field, value, invert } = metadata.config
  const seen = metadata.seen(request)
  return { field, seen: seen === undefined ? 'nothing' : JSON.stringify(seen), wanted: valueWanted(value, invert) }
}

/** Of a list and of a text the same is asked. */
function valueWanted(value: ValueMatch, invert: boolean): string {
  const not = invert ? 'not ' : ''
  switch (value.kind) {
    case 'text':
      return stringWanted(value.match, invert)
    case 'element':
      return valueWanted(value.of, invert)
    case 'or':
      return [...new Set(value.of.map((v) => valueWanted(v, invert)))].join(invert ? ' and ' : ' or ')
    case 'present':
      return value.value === invert ? 'nothing' : 'any value'
    case 'null':
      return `${not}null`
    case 'bool':
      return `${not}${value.value}`
    case 'number':
      return `${not}${value.first === value.end ? value.first : `from ${value.first} to below ${value.end}`}`
  }
}

function headerSeen(name: string, request: RequestView): string {
  switch (name) {
    case ':method':
      return quoted(request.method)
    case ':scheme':
      return quoted(request.scheme)
    case ':authority':
    case 'host':
      return quoted(request.authority)
    case ':path':
      return quoted(pathWithQuery(request))
    default:
      return allValues(name, request.headers)
  }
}

function allValues(name: string, headers: HeaderView): string {
  const values: string[] = []
  for (let at = headers.indexOf(name, 0); at >= 0; at = headers.indexOf(name, at + 1)) values.push(quoted(headers.valueAt(at)))
  return values.length === 0 ? 'nothing' : values.join(', ')
}

function pathWanted(path: PathMatch): string {
  const kind = path.kind === 'pathPrefix' ? 'prefix by segments' : path.kind
  return `${kind} ${quoted(path.value)}${anyCase(path)}`
}

function stringWanted(match: StringMatch, invert: boolean): string {
  if (match.kind === 'present') return invert ? 'no such header' : 'any value'
  return `${invert ? 'not ' : ''}${match.kind} ${quoted(match.value)}${anyCase(match)}`
}

function anyCase(match: { readonly ignoreCase: boolean; readonly kind: string }): string {
  return match.ignoreCase && match.kind !== 'regex' ? ' in any case' : ''
}

function quoted(text: string): string {
  return JSON.stringify(text)
}
