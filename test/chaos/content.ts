// Bodies that can be checked: which bytes stand where follows from the request that they belong to.

const PERIOD = 251

/** `length` bytes of the body `id`. */
export function contentOf(id: number, length: number): Buffer {
  const period = Buffer.from(Array.from({ length: PERIOD }, (_, i) => 33 + ((id * 7 + i * (1 + (id % 13))) % 90)))
  const body = Buffer.alloc(length)
  for (let at = 0; at < length; at += PERIOD) period.copy(body, at, 0, Math.min(PERIOD, length - at))
  return body
}

/** Where `found` leaves the body `id` of which it should be the beginning; -1: nowhere. */
export function differsAt(id: number, found: Buffer): number {
  const wanted = contentOf(id, found.length)
  if (wanted.equals(found)) return -1
  return found.findIndex((byte, i) => byte !== wanted[i])
}
