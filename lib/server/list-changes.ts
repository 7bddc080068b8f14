// What a list has become, told by what stays: a list of thousands of which one item is another costs three runs and that item.
import { sameValue } from '../base/same-value.ts'

/** What an item of the new list is, where it is not one of the old: the next of `items`. */
const NEW = -1

export interface ListChanges<T> {
  /** Pairs of a position in the list before, or -1, and how many items from there on; of -1 so many of `items`. In the order of the new list. */
  readonly runs: readonly number[]
  /** What the list did not have before. */
  readonly items: readonly T[]
}

/**
 * Null: nothing has changed. Items are the same where they are identical; with `keyOf` also where they are equal and have the same key, which
 * costs more and is for lists whose maker does not keep what stays.
 */
export function listChanges<T>(
  before: readonly T[],
  after: readonly T[],
  keyOf: ((item: T) => unknown) | null = null,
): ListChanges<T> | null {
  if (before === after) return null
  const same = keyOf === null ? Object.is : sameValue
  const shorter = Math.min(before.length, after.length)
  let head = 0
  while (head < shorter && same(before[head], after[head])) head++
  if (head === before.length && head === after.length) return null
  let tail = 0
  while (tail < shorter - head && same(before[before.length - 1 - tail], after[after.length - 1 - tail])) tail++
  const changes = new Changes<T>()
  if (head > 0) changes.keep(0, head)
  // In lists of one length most stay in their place: who does is not looked for.
  const inPlace = before.length === after.length
  const known = new Map<unknown, number>()
  for (let at = head; at < before.length - tail; at++) {
    const item = before[at] as T
    if (!inPlace || !same(item, after[at])) known.set(keyOf === null ? item : keyOf(item), at)
  }
  for (let i = head; i < after.length - tail; i++) {
    const item = after[i] as T
    if (inPlace && same(before[i], item)) {
      changes.keep(i, 1)
      continue
    }
    const at = known.get(keyOf === null ? item : keyOf(item))
    if (at !== undefined && same(before[at], item)) changes.keep(at, 1)
    else changes.add(item)
  }
  if (tail > 0) changes.keep(before.length - tail, tail)
  return { runs: changes.runs, items: changes.items }
}

class Changes<T> {
  readonly runs: number[]
  readonly items: T[]

  constructor() {
    this.runs = []
    this.items = []
  }

  keep(at: number, count: number): void {
    const { runs } = this
    const last = runs.length - 2
    if (last >= 0 && runs[last] !== NEW && (runs[last] as number) + (runs[last + 1] as number) === at) runs[last + 1]! += count
    else runs.push(at, count)
  }

  add(item: T): void {
    const { runs } = this
    this.items.push(item)
    const last = runs.length - 2
    if (last >= 0 && runs[last] === NEW) runs[last + 1]!++
    else runs.push(NEW, 1)
  }
}

/** The new list. Null: the one before. */
export function applyListChanges<T>(before: readonly T[], changes: ListChanges<T> | null): readonly T[] {
  if (changes === null) return before
  const { runs, items } = changes
  const after: T[] = []
  let next = 0
  for (let i = 0; i < runs.length; i += 2) {
    const at = runs[i] as number
    const count = runs[i + 1] as number
    for (let k = 0; k < count; k++) after.push((at === NEW ? items[next++] : before[at + k]) as T)
  }
  return after
}

/** As `listChanges`, of a list whose items have names, each once: who is gone, and who is new or another, with what it was. */
export function namedChanges<T extends Named>(before: readonly T[], after: readonly T[]): NamedChanges<T> {
  return namedChangesOf(before, listChanges(before, after))
}

/** `changes`: from `before`. */
export function namedChangesOf<T extends Named>(before: readonly T[], changes: ListChanges<T> | null): NamedChanges<T> {
  if (changes === null) return { gone: [], put: [] }
  const left = new Map(missing(before, changes.runs).map((item) => [item.name, item]))
  const put = changes.items.map((item) => {
    const old = left.get(item.name) ?? null
    left.delete(item.name)
    return { before: old, after: item }
  })
  return { gone: [...left.values()], put }
}

interface Named {
  readonly name: string
}

export interface NamedChanges<T> {
  readonly gone: readonly T[]
  /** `before` null: it is new. */
  readonly put: readonly { readonly before: T | null; readonly after: T }[]
}

function missing<T>(before: readonly T[], runs: readonly number[]): T[] {
  return missingPlaces(before.length, runs).map((at) => before[at] as T)
}

/** Positions in a list of that length that no run keeps, ascending. */
export function missingPlaces(length: number, runs: readonly number[]): number[] {
  const kept: (readonly [at: number, end: number])[] = []
  for (let i = 0; i < runs.length; i += 2) {
    const at = runs[i] as number
    if (at !== NEW) kept.push([at, at + (runs[i + 1] as number)])
  }
  kept.sort((a, b) => a[0] - b[0])
  const left: number[] = []
  let from = 0
  for (const [at, end] of kept) {
    for (; from < at; from++) left.push(from)
    from = Math.max(from, end)
  }
  for (; from < length; from++) left.push(from)
  return left
}

/** How the names of a list have changed, of which `changes` tells; null: they are the same in the same order. */
export function nameChanges<T extends Named>(before: readonly T[], changes: ListChanges<T> | null): ListChanges<string> | null {
  if (changes === null) return null
  const names = { runs: changes.runs, items: changes.items.map((item) => item.name) }
  return haveTheSameNames(before, names) ? null : names
}

function haveTheSameNames(before: readonly Named[], { runs, items }: ListChanges<string>): boolean {
  let place = 0
  let next = 0
  for (let i = 0; i < runs.length; i += 2) {
    const at = runs[i] as number
    const count = runs[i + 1] as number
    if (at !== NEW && at !== place) return false
    for (let k = 0; at === NEW && k < count; k++) if (before[place + k]?.name !== items[next++]) return false
    place += count
  }
  return place === before.length
}
