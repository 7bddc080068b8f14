// What is found while a resource is translated. Faults make the resource refused (NACK, in words that name each of them); notes are for the operator: what is
// accepted and has no effect. Neither is thrown, so that all of a resource's are told at once.
import { ProtobufError } from '../../grpc/protobuf-fields.ts'
import { decode } from '../proto/decode.ts'
import { type Any, type Message, TYPE_URL_PREFIX } from '../proto/schema.ts'

export interface Finding {
  /** Where in the resource: `filter_chains[2].filters[0]`. */
  readonly path: string
  /** A clause: `the filter envoy.filters.http.lua is not understood`. */
  readonly text: string
}

/** One for each resource, handed down with longer and longer paths. */
export class Findings {
  readonly path: string
  readonly #faults: Finding[]
  readonly #notes: Finding[]

  constructor(path = '', from: Findings | null = null) {
    this.path = path
    this.#faults = from === null ? [] : from.#faults
    this.#notes = from === null ? [] : from.#notes
  }

  /** The same findings, for a part: `at('routes', 3)` is `….routes[3]`. */
  at(field: string, index = -1): Findings {
    const name = index < 0 ? field : `${field}[${index}]`
    return new Findings(this.path === '' ? name : `${this.path}.${name}`, this)
  }

  fault(text: string): void {
    this.#faults.push({ path: this.path, text })
  }

  note(text: string): void {
    this.#notes.push({ path: this.path, text })
  }

  /** What was found in a part, with the place that the part has. */
  retell(at: Findings): void {
    const path = ({ path }: Finding) => (path === '' ? at.path : at.path === '' ? path : `${at.path}.${path}`)
    for (const f of this.#faults) at.#faults.push({ path: path(f), text: f.text })
    for (const f of this.#notes) at.#notes.push({ path: path(f), text: f.text })
  }

  /** Notes of a part that has not changed since they were found, with their paths. */
  repeat(notes: readonly Finding[]): void {
    this.#notes.push(...notes)
  }

  get faults(): readonly Finding[] {
    return this.#faults
  }

  get notes(): readonly Finding[] {
    return this.#notes
  }

  /** What an Any holds, when it is of this type and its bytes are one; null otherwise, which is told as a fault. */
  unpack<T extends object>(packed: Any | null, of: Message<T>): T | null {
    if (packed === null) {
      this.fault(`a ${of.typeName} is missing`)
      return null
    }
    if (packed.typeUrl !== TYPE_URL_PREFIX + of.typeName) {
      this.fault(`it is a ${packed.typeUrl}, not a ${of.typeName}`)
      return null
    }
    return this.decode(packed.value, of)
  }

  /** null when the bytes are no such message, which is told as a fault. */
  decode<T extends object>(from: Uint8Array, of: Message<T>): T | null {
    try {
      return decode(of, from)
    } catch (error) {
      if (!(error instanceof ProtobufError)) throw error
      this.fault(`its bytes are no ${of.typeName}: ${error.message}`)
      return null
    }
  }
}

/** `filter_chains[2]: the filter … is not understood; …`, for NACKs and logs. */
export function findingsText(findings: readonly Finding[]): string {
  return findings.map(({ path, text }) => (path === '' ? text : `${path}: ${text}`)).join('; ')
}
