// YAML or JSON that Istio's environment and files have as text, such as a ProxyConfig.
import { parse } from 'yaml'
import type { Struct } from '../proto/schema.ts'

/** @param what the text is, for a note where it is none; then it counts as empty */
export function mapping(text: string, what: string, notes: string[]): Struct {
  if (text.trim() === '') return {}
  try {
    const value: unknown = parse(text)
    if (isStruct(value)) return value
    if (value === null) return {}
  } catch {
    // Told below.
  }
  notes.push(`${what} is no mapping and is left out`)
  return {}
}

export function isStruct(value: unknown): value is Struct {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
