// Virtual hosts as the workers get them. A large one is packed in pieces of its routes, so that a change of one route among thousands is one piece to pack, to read
// and to compile; the other pieces stay where they are.
import type { Route, VirtualHost } from '../state/route.ts'
import { type KeptRoutes, plainHost } from '../state/unloadable-host.ts'
import { listChanges } from './list-changes.ts'
import { type NounStore, type Packed, readNoun } from './noun-store.ts'

/** The virtual host; without its routes where they are in pieces. */
export class PackedHost implements Packed, KeptRoutes {
  readonly arena: Packed['arena']
  readonly at: number
  readonly size: number
  /** Null: its routes are in it. */
  readonly pieces: readonly PackedPiece[] | null

  constructor({ arena, at, size }: Packed, pieces: readonly PackedPiece[] | null) {
    this.arena = arena
    this.at = at
    this.size = size
    this.pieces = pieces
  }

  readRoutes(): readonly Route[] {
    if (this.pieces !== null) return this.pieces.flatMap((piece) => readNoun(piece) as readonly Route[])
    return (readNoun(this) as VirtualHost).routes
  }
}

/** A list of Route. */
export interface PackedPiece extends Packed {
  readonly count: number
}

/** Routes of a piece: a few more or less, since pieces between others have what is left. A virtual host of no more is not in pieces. */
const PIECE = 32

export interface KnownHost {
  readonly host: VirtualHost
  readonly packed: PackedHost
}

/** `before`: that of this name, which is replaced; null: there is none. */
export function putHost(store: NounStore, host: VirtualHost, before: KnownHost | null): PackedHost {
  const { routes } = host
  if (routes.length <= PIECE) return new PackedHost(store.put(plainHost(host)), null)
  const pieces: PackedPiece[] = []
  let done = 0
  for (const { at, piece } of before === null ? [] : keptPieces(before, routes)) {
    pieces.push(...newPieces(store, routes.slice(done, at)), piece)
    done = at + piece.count
  }
  pieces.push(...newPieces(store, routes.slice(done)))
  return new PackedHost(store.put({ ...plainHost(host), routes: [] }), pieces)
}

// Each field by its name: there are thousands, and an object that begins with another's has a shape of its own.
function pieceOf({ arena, at, size }: Packed, count: number): PackedPiece {
  return { arena, at, size, count }
}

function newPieces(store: NounStore, routes: readonly Route[]): PackedPiece[] {
  if (routes.length === 0) return []
  const count = Math.max(1, Math.round(routes.length / PIECE))
  return Array.from({ length: count }, (_, i) => {
    const part = routes.slice(Math.round((i * routes.length) / count), Math.round(((i + 1) * routes.length) / count))
    return pieceOf(store.put(part), part.length)
  })
}

/** Pieces of which every route is there still, side by side, and where; in the order of `routes`. */
function keptPieces(
  { host, packed }: KnownHost,
  routes: readonly Route[],
): { readonly at: number; readonly piece: PackedPiece }[] {
  const { pieces } = packed
  if (pieces === null) return []
  const { runs } = listChanges(host.routes, routes) ?? { runs: [0, routes.length] }
  const begins: number[] = []
  let next = 0
  for (const { count } of pieces) {
    begins.push(next)
    next += count
  }
  const kept: { readonly at: number; readonly piece: PackedPiece }[] = []
  let place = 0
  for (let i = 0; i < runs.length; i += 2) {
    const begin = runs[i] as number
    const count = runs[i + 1] as number
    if (begin >= 0) {
      for (let k = firstFrom(begins, begin); k < pieces.length; k++) {
        const piece = pieces[k] as PackedPiece
        const from = begins[k] as number
        if (from + piece.count > begin + count) break
        kept.push({ at: place + from - begin, piece })
      }
    }
    place += count
  }
  return kept
}

/** Of the first that is not below. */
function firstFrom(ascending: readonly number[], value: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ascending[middle] as number) < value) low = middle + 1
    else high = middle
  }
  return low
}

/** What of it is to be left is elsewhere; the same object where nothing is. */
export function movedHost(store: NounStore, packed: PackedHost, isLeft: (of: Packed) => boolean): PackedHost {
  const { pieces } = packed
  if (!isLeft(packed) && pieces?.some(isLeft) !== true) return packed
  const whole = isLeft(packed) ? store.move(packed) : packed
  const moved = pieces?.map((of) => (isLeft(of) ? pieceOf(store.move(of), of.count) : of))
  return new PackedHost(whole, moved ?? null)
}

/** It is needed no more, but for what of it is in `kept` as well. */
export function dropHost(store: NounStore, packed: PackedHost, kept: ReadonlySet<Packed>): void {
  if (!kept.has(packed)) store.drop(packed)
  for (const piece of packed.pieces ?? []) if (!kept.has(piece)) store.drop(piece)
}

export function hostBytes({ size, pieces }: PackedHost): number {
  return (pieces ?? []).reduce((sum, piece) => sum + piece.size, size)
}
