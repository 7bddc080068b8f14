// Route configurations that listeners carry inside: chains that carry the same share a table, and one that is as it was stays the same object.
import type { RouteTable } from '../../state/route.ts'
import type { RouteConfiguration } from '../proto/route.ts'
import type { Findings } from './findings.ts'
import { translateInlineRoutes } from './inline-routes.ts'

export interface InlineTable {
  readonly bytes: Uint8Array
  /** Named as the configuration is, unless another of the listener has that name. */
  readonly table: RouteTable
}

export class InlineTables {
  readonly #made: InlineTable[]
  readonly #before: readonly InlineTable[]

  /** `before`: those of the listener as it was. */
  constructor(before: readonly InlineTable[]) {
    this.#made = []
    this.#before = before
  }

  /** One that a chain that did not change has. */
  keep(known: InlineTable): void {
    if (!this.#made.includes(known)) this.#made.push(known)
  }

  take(config: RouteConfiguration, bytes: Uint8Array, findings: Findings): InlineTable {
    const known = [...this.#made, ...this.#before].find((t) => Buffer.compare(t.bytes, bytes) === 0)
    const table = known ?? { bytes: Uint8Array.from(bytes), table: this.#named(translateInlineRoutes(config, bytes, findings)) }
    this.keep(table)
    return table
  }

  get all(): readonly InlineTable[] {
    return this.#made
  }

  #named(table: RouteTable): RouteTable {
    const taken = (name: string) => [...this.#made, ...this.#before].some((t) => t.table.name === name)
    if (!this.#made.some((t) => t.table.name === table.name)) return table
    let n = 2
    while (taken(`${table.name} #${n}`)) n++
    return { ...table, name: `${table.name} #${n}` }
  }
}
