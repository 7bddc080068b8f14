// Hot lane: the two calls that turn bytes into text and back without a second look at them. Node has them on every Buffer; only its types do not say so.

interface Latin1Buffer {
  latin1Slice(start: number, end: number): string
  latin1Write(text: string, offset: number, length: number): number
}

/** Text whose char codes are the bytes of `b[start, end)`. */
export function latin1Slice(b: Buffer, start: number, end: number): string {
  return (b as unknown as Latin1Buffer).latin1Slice(start, end)
}

/** Writes the low bytes of the char codes of `text` at `offset`; the caller has made sure that they fit. */
export function latin1Write(b: Buffer, text: string, offset: number): number {
  return (b as unknown as Latin1Buffer).latin1Write(text, offset, text.length)
}
