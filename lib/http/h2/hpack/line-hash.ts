// Hot lane: the hash by which the encoder finds a line that the table has: of the line's lengths and of some of its bytes, four at a time, since what is
// found is compared.

/** What large and small letters differ in, four times. */
const SPELT = 0x20202020

/** Hash of a line whose name is `[start, nameEnd)` and whose value is `[from, to)`; the same however the name is spelt. */
export function hashOfLine(b: DataView, start: number, nameEnd: number, from: number, to: number): number {
  const length = to - from
  const nameLength = nameEnd - start
  let hash = mixed(length, nameLength)
  if (nameLength < 4) for (let i = start; i < nameEnd; i++) hash = mixed(hash, b.getUint8(i) | 0x20)
  else hash = mixed(mixed(hash, b.getInt32(start, true) | SPELT), b.getInt32(nameEnd - 4, true) | SPELT)
  if (length < 4) {
    for (let i = from; i < to; i++) hash = mixed(hash, b.getUint8(i))
    return hash
  }
  hash = mixed(mixed(hash, b.getInt32(from, true)), b.getInt32(to - 4, true))
  return length > 8 ? mixed(mixed(hash, b.getInt32(from + 4, true)), b.getInt32(to - 8, true)) : hash
}

function mixed(hash: number, more: number): number {
  const h = Math.imul(hash ^ more, 0x9e3779b1)
  return h ^ (h >>> 15)
}
