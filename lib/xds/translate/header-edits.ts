// Headers to add and to remove (envoy.config.core.v3.HeaderValueOption) to edits. At one level Envoy removes first; levels
// follow each other from the most specific one to the route configuration.
import { checkTemplate, emptyOperators } from '../../route/header-template.ts'
import type { HeaderEdit } from '../../state/route.ts'
import type { HeaderValueOption } from '../proto/core.ts'
import type { Findings } from './findings.ts'

const NONE: readonly HeaderEdit[] = []

/** Those of one level. `field` is where they are: `request_headers`. */
export function headerEditsOf(
  toAdd: readonly HeaderValueOption[],
  toRemove: readonly string[],
  field: string,
  findings: Findings,
): readonly HeaderEdit[] {
  if (toAdd.length === 0 && toRemove.length === 0) return NONE
  const removes = toRemove.map((name, i): HeaderEdit => {
    if (isInternal(name)) findings.at(`${field}_to_remove`, i).fault(`${name} cannot be removed`)
    return { op: 'remove', name, value: '' }
  })
  return [...removes, ...toAdd.flatMap((option, i) => editOf(option, findings.at(`${field}_to_add`, i)) ?? [])]
}

function editOf(option: HeaderValueOption, findings: Findings): HeaderEdit | null {
  const { header } = option
  if (header === null) {
    findings.fault('a header is missing')
    return null
  }
  const value = header.raw_value.length > 0 ? Buffer.from(header.raw_value).toString('latin1') : header.value
  const problem = checkTemplate(value)
  if (problem !== null) findings.fault(`the value of ${header.key} is not understood: ${problem}`)
  for (const name of emptyOperators(value)) findings.note(`%${name}% of ${header.key} is always empty here`)
  if (isInternal(header.key)) findings.fault(`${header.key} cannot be set`)
  if (value === '' && option.keep_empty_value) findings.note(`${header.key} is not sent when it is empty`)
  const op = opOf(option)
  if (op === null) findings.fault(`${option.append_action} is not understood`)
  return op === null ? null : { op, name: header.key, value }
}

function opOf({ append, append_action }: HeaderValueOption): HeaderEdit['op'] | null {
  if (append !== null) return append ? 'add' : 'set'
  switch (append_action) {
    case 'APPEND_IF_EXISTS_OR_ADD':
      return 'add'
    case 'OVERWRITE_IF_EXISTS_OR_ADD':
      return 'set'
    case 'ADD_IF_ABSENT':
      return 'addIfAbsent'
    case 'OVERWRITE_IF_EXISTS':
      return 'setIfPresent'
    default:
      return null
  }
}

/** How a message is addressed is said by rewrites. */
function isInternal(name: string): boolean {
  return name.startsWith(':') || name.toLowerCase() === 'host'
}

const THEN: HeaderEdit = { op: 'then', name: '', value: '' }

/** `later`, of another level, are applied when `first` are. */
export function followedBy(first: readonly HeaderEdit[], later: readonly HeaderEdit[]): readonly HeaderEdit[] {
  if (later.length === 0) return first
  if (first.length === 0) return later
  return [...first, THEN, ...later]
}
