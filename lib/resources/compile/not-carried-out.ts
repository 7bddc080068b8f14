// What a VirtualService says and heddle does not do: its rules take effect without these parts, and `check` says so.
import type { HeadersSpec } from '../schema/virtual-service.ts'
import type { VirtualServiceObject } from './rules.ts'
import type { World } from './world.ts'

type Path = readonly (string | number)[]

/** How long a message is, is the codec's to say (route/header-edits.ts leaves these edits out). */
const FRAMING = new Set(['content-length', 'transfer-encoding'])

export function noteHttpRules(world: World, object: VirtualServiceObject): void {
  const note = (path: Path, reason: string): void => world.verdicts.partly(object, path, reason, true)
  for (const [i, rule] of (object.spec.http ?? []).entries()) {
    for (const field of ['corsPolicy', 'mirror', 'mirrors'] as const) {
      if (rule[field] !== undefined && (rule.redirect !== undefined || rule.directResponse !== undefined))
        note(['http', i, field], 'has no effect: the rule answers by itself, and forwards nothing')
    }
    noteFraming(rule.headers, ['http', i, 'headers'], note)
    for (const [k, destination] of (rule.route ?? []).entries())
      noteFraming(destination.headers, ['http', i, 'route', k, 'headers'], note)
  }
}

function noteFraming(headers: HeadersSpec | undefined, path: Path, note: (path: Path, reason: string) => void): void {
  for (const direction of ['request', 'response'] as const) {
    const edits = headers?.[direction]
    const names = [
      ...Object.keys(edits?.set ?? {}).map((name) => ['set', name] as const),
      ...Object.keys(edits?.add ?? {}).map((name) => ['add', name] as const),
      ...(edits?.remove ?? []).map((name, i) => ['remove', name, i] as const),
    ]
    for (const [op, name, index] of names) {
      if (FRAMING.has(name.toLowerCase()))
        note(
          [...path, direction, op, index ?? name],
          `has no effect: the length of a message is the proxy's own to say; leave \`${name}\` out`,
        )
    }
  }
}
