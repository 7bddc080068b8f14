// Route configurations that listeners carry inside: chains that carry the same share a table, and one that is as it was stays the same object.
import type { RouteTable } from '../../state/route.ts'
import { Findings } from './findings.ts'
import { emptyTable, translateRoutes } from './route-configuration.ts'
import type { RouteTerms } from './route-terms.ts'

export interface InlineTable {
  readonly bytes: Uint8Array
  /** As the configuration is called. */
  readonly own: RouteTable
  /** The same, by a name that no other of the listener has. */
  readonly table: RouteTable
}

export class InlineTables {
  readonly #made: InlineTable[]
  readonly #before: readonly InlineTable[]
  readonly #terms: RouteTerms

  /** `before`: those of the listener as it was. */
  constructor(before: readonly InlineTable[], terms: RouteTerms) {
    this.#made = []
    this.#before = before
    this.#terms = terms
  }

  /** One that a chain that did not change has. */
  keep(known: InlineTable): void {
    if (!this.#made.includes(known)) this.#made.push(known)
  }

  /** `bytes`: of the RouteConfiguration of this name. */
  take(name: string, bytes: Uint8Array, findings: Findings): InlineTable {
    const known = [...this.#made, ...this.#before].find((t) => Buffer.compare(t.bytes, bytes) === 0)
    const table = known ?? this.#translated(name, bytes, findings)
    this.keep(table)
    return table
  }

  get all(): readonly InlineTable[] {
    return this.#made
  }

  #translated(name: string, bytes: Uint8Array, findings: Findings): InlineTable {
    // Virtual hosts that did not change stay what they were.
    const before = this.#before.find((t) => t.own.name === name && !this.#made.includes(t))
    // Of their own: one fault of the chain is not one of its routes. With any the listener is refused, and nobody asks for the table.
    const own = new Findings()
    const made = translateRoutes(bytes, this.#terms, own, before?.own ?? null) ?? emptyTable(name)
    own.retell(findings)
    return { bytes: Uint8Array.from(bytes), own: made, table: this.#named(made) }
  }

  #named(table: RouteTable): RouteTable {
    if (!this.#made.some((t) => t.table.name === table.name)) return table
    const taken = (name: string) => [...this.#made, ...this.#before].some((t) => t.table.name === name)
    let n = 2
    while (taken(`${table.name} #${n}`)) n++
    return { ...table, name: `${table.name} #${n}` }
  }
}
