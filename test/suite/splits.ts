// Bytes come as the network likes. Whatever a parser makes of them in one piece it has to make of them in any pieces.
import type { Test } from 'tap'

/** Where the pieces end, the last end being the length: whole, byte by byte, in two at each offset, and in three around each offset. */
export function* cuts(length: number): Generator<readonly number[]> {
  yield [length]
  yield Array.from({ length }, (_, i) => i + 1)
  for (let i = 1; i < length; i++) yield [i, length]
  for (let i = 1; i + 1 < length; i++) yield [i, i + 1, length]
}

/** The pieces themselves. */
export function pieces(bytes: string, ends: readonly number[]): readonly string[] {
  return ends.map((end, i) => bytes.slice(i === 0 ? 0 : (ends[i - 1] as number), end))
}

/** A parser under test: all that can be observed of it after it was fed these pieces (latin1), in a form that `t.same` compares. */
export type Observe = (pieces: readonly string[]) => unknown

/** Asserts the outcome in one piece, and that it is the same in all others. One assertion for all cuts, which names the first that differs. */
export function sameInAnyPieces(t: Test, what: string, bytes: string, observe: Observe, expected: unknown): void {
  const wanted = JSON.stringify(expected)
  for (const ends of cuts(bytes.length)) {
    const got = JSON.stringify(observe(pieces(bytes, ends)))
    if (got === wanted) continue
    t.equal(got, wanted, `${what}, cut at ${ends.length > 4 ? 'every byte' : ends.slice(0, -1).join(' and ') || 'no place'}`)
    return
  }
  t.pass(what)
}
