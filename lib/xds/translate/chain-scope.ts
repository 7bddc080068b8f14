// What is around a filter chain while it is translated: what was said of the listener, what other resources it needs, and what they hold already.
import type { Credential } from '../../transport/secrets.ts'
import type { Any, Struct } from '../proto/schema.ts'
import type { Findings } from './findings.ts'
import type { InlineTable, InlineTables } from './inline-tables.ts'

/** Extensions that came by ECDS, by name: what each TypedExtensionConfig holds. */
export type Extensions = ReadonlyMap<string, Any>

export class ChainScope {
  readonly direction: 'inbound' | 'outbound'
  /** Of the filter chain as it was sent; may be empty, and need not be unique. */
  readonly chainName: string
  readonly tables: InlineTables
  readonly #extensions: Extensions
  readonly routeNames: Set<string>
  /** Of `tables`, those that the chain uses. */
  readonly inline: Set<InlineTable>
  readonly secretNames: Set<string>
  /** Certificates and roots that the chain itself has written out. */
  readonly credentials: Credential[]
  /** What each name stood for when it was asked for; null: nothing yet. */
  readonly extensions: Map<string, Any | null>
  /** Extensions without which the chain cannot do its work. */
  readonly missing: Set<string>

  constructor(direction: 'inbound' | 'outbound', chainName: string, extensions: Extensions, tables: InlineTables) {
    this.direction = direction
    this.chainName = chainName
    this.tables = tables
    this.#extensions = extensions
    this.routeNames = new Set()
    this.inline = new Set()
    this.secretNames = new Set()
    this.credentials = []
    this.extensions = new Map()
    this.missing = new Set()
  }

  /** null: it has not come yet. */
  extension(name: string): Any | null {
    const found = this.#extensions.get(name) ?? null
    this.extensions.set(name, found)
    return found
  }
}

/** A filter's configuration, in whichever way it was wrapped. */
export interface FilterConfig {
  /** Full name of the message: `envoy.extensions.filters.http.router.v3.Router`. */
  readonly typeName: string
  /** null: it came as JSON, in a TypedStruct. */
  readonly config: Any | null
  /** null: it did not. */
  readonly json: Struct | null
}

/** Does what a filter says to the draft of what it is part of. */
export type FilterTranslator<Draft> = (
  config: Any | null,
  draft: Draft,
  findings: Findings,
  scope: ChainScope,
  json: Struct | null,
) => void
