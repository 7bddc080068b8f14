// Which table an Any's type has: for admin pages, and for what is recorded as JSON. A table that is missing here is shown as base64.

import * as core from './core.ts'
import { type Registry, registryOf } from './json.ts'
import type { Message } from './schema.ts'

/** Each file of tables. */
const FILES: readonly Readonly<Record<string, unknown>>[] = [core]

function isMessage(value: unknown): value is Message<object> {
  return typeof value === 'object' && value !== null && 'typeName' in value && 'byNumber' in value
}

export const REGISTRY: Registry = registryOf(FILES.flatMap((file) => Object.values(file).filter(isMessage)))
