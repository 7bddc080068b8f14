// What is asked for: `to` and what `when` says of the destination, as istiod makes permissions of it (pilot/pkg/security/authz/model).
import { headerField } from '../../../policy/rbac-fields.ts'
import type { RbacMatch } from '../../../state/rbac.ts'
import type { ValueMatch } from '../../../state/route.ts'
import { isPathTemplate } from '../../validate/authorization-values.ts'
import type { Generator } from './condition.ts'
import { oneOf } from './principals.ts'
import { headerTextOf, prefixOf, textOf } from './texts.ts'

export const destinationIp: Generator = any((value) => ({ kind: 'destinationIp', prefix: prefixOf(value) }))
export const destinationPort: Generator = any((value) => ({ kind: 'destinationPort', first: Number(value), last: Number(value) }))
export const serverName: Generator = any((value) => ({ kind: 'requestedServerName', match: textOf(value) }))

/** With its port, if the client has written one. */
export const host: Generator = http((value) => header(':authority', value, true))
export const method: Generator = http((value) => header(':method', value, false))
export const path: Generator = http((value) =>
  isPathTemplate(value)
    ? { kind: 'pathTemplate', template: value.replaceAll('{*}', '*').replaceAll('{**}', '**') }
    : { kind: 'path', match: textOf(value) },
)

/** `experimental.envoy.filters.http.x[key]`; `[value]` is one of a list. */
export function filterMetadata(key: string): Generator {
  const open = key.indexOf('[')
  const filter = key.slice('experimental.'.length, open)
  const name = key.slice(open + 1, -1)
  const together = (values: readonly string[]): RbacMatch => {
    const value = oneOf(values.map(metadataValue))
    return { kind: 'metadata', filter, path: [name], value, invert: false }
  }
  return { httpOnly: false, one: null, together }
}

function metadataValue(value: string): ValueMatch {
  const list = value.startsWith('[') && value.endsWith(']')
  const of: ValueMatch = { kind: 'text', match: textOf(list ? value.replace(/^[[\]]+|[[\]]+$/g, '') : value) }
  return list ? { kind: 'element', of } : of
}

function header(name: string, value: string, ignoreCase: boolean): RbacMatch {
  const match = headerTextOf(value, ignoreCase)
  return { kind: 'header', header: { name, field: headerField(name), match, invert: false, missingIsEmpty: false } }
}

function any(one: (value: string) => RbacMatch): Generator {
  return { httpOnly: false, one, together: null }
}

function http(one: (value: string) => RbacMatch): Generator {
  return { httpOnly: true, one, together: null }
}
