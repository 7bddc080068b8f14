// What is drawn: configurations of one listener each, and what is asked of it.
import type { Dice } from '../../chaos/dice.ts'
import type { RequestSpec } from '../../support/raw-client.ts'

/** A listener that both have, and requests for it. */
export interface Subject {
  /** Filters in front of the router. */
  readonly filters: readonly object[]
  /** Further fields of the connection manager. */
  readonly manager: object
  /** Fields of the route configuration. */
  readonly routes: object
  readonly requests: readonly FuzzRequest[]
}

export interface FuzzRequest extends RequestSpec {
  /** Address of the client, of 127.0.0.0/8. */
  readonly from: string
}

/** One kind of subjects. */
export type Draw = (dice: Dice) => Subject

/** Where a number of the configuration is the port of the listener plus some: both have ports of their own. No port is as great. */
export const LISTENER_PORT = 100_000

/** 0 to `most` things. */
export function several<T>(dice: Dice, least: number, most: number, draw: () => T): T[] {
  return Array.from({ length: dice.whole(least, most + 1) }, draw)
}

/** Each of the lists as they stand. */
export function mixed<T>(dice: Dice, list: readonly T[]): T[] {
  return list
    .map((value) => ({ value, rank: dice.unit() }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ value }) => value)
}
