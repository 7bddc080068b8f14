// Distinguished Encoding Rules (X.690 §8, §10), read only. Made for bytes of strangers: every length is checked against the end of
// its parent, nothing recurses, and what is not DER is null.

/** One element: where it begins, and its content. */
export interface DerElement {
  /** The identifier byte: class, constructed bit and number. */
  readonly tag: number
  /** Of the identifier byte. */
  readonly start: number
  readonly contentStart: number
  /** Behind the last byte of the content. */
  readonly end: number
}

export const DER_BOOLEAN = 0x01
export const DER_INTEGER = 0x02
export const DER_BIT_STRING = 0x03
export const DER_OCTET_STRING = 0x04
export const DER_OID = 0x06
export const DER_UTC_TIME = 0x17
export const DER_GENERALIZED_TIME = 0x18
export const DER_SEQUENCE = 0x30
export const DER_SET = 0x31

/** `[n]`, primitive or constructed. */
export function contextTag(n: number, constructed: boolean): number {
  return (constructed ? 0xa0 : 0x80) | n
}

/** The element at `offset`, or null: it does not fit into `end`, or its tag or length is not in DER's one form. */
export function derElement(bytes: Uint8Array, offset: number, end: number): DerElement | null {
  if (end > bytes.length || offset + 2 > end) return null
  const tag = bytes[offset] as number
  // Tag numbers above 30 take further bytes; certificates have none where we look.
  if ((tag & 0x1f) === 0x1f) return null
  const first = bytes[offset + 1] as number
  let contentStart = offset + 2
  let length = first
  if (first >= 0x80) {
    const count = first - 0x80
    // 0x80 is BER's indefinite length. Four bytes hold more than any certificate.
    if (count === 0 || count > 4 || contentStart + count > end) return null
    length = 0
    for (let i = 0; i < count; i++) length = length * 256 + (bytes[contentStart + i] as number)
    if (length < 0x80 || length < 256 ** (count - 1)) return null
    contentStart += count
  }
  if (length > end - contentStart) return null
  return { tag, start: offset, contentStart, end: contentStart + length }
}

/** The elements that fill the content of `parent` exactly, or null. More than `most` are null, too. */
export function derChildren(
  bytes: Uint8Array,
  parent: Pick<DerElement, 'contentStart' | 'end'>,
  most: number,
): DerElement[] | null {
  const children: DerElement[] = []
  let offset = parent.contentStart
  while (offset < parent.end) {
    const child = derElement(bytes, offset, parent.end)
    if (child === null || children.length === most) return null
    children.push(child)
    offset = child.end
  }
  return children
}

/** Dotted text; '' when the bytes are not an object identifier. */
export function derOid(bytes: Uint8Array, element: DerElement): string {
  const { contentStart, end } = element
  if (end === contentStart || end - contentStart > 64 || ((bytes[end - 1] as number) & 0x80) !== 0) return ''
  const arcs: number[] = []
  let value = 0
  for (let i = contentStart; i < end; i++) {
    const byte = bytes[i] as number
    if (value === 0 && byte === 0x80) return ''
    value = value * 128 + (byte & 0x7f)
    if (value > Number.MAX_SAFE_INTEGER / 128) return ''
    if ((byte & 0x80) !== 0) continue
    if (arcs.length === 0) {
      const top = Math.min(2, Math.floor(value / 40))
      arcs.push(top, value - top * 40)
    } else arcs.push(value)
    value = 0
  }
  return arcs.join('.')
}

/** A byte for each character: IA5String and its like. */
export function derLatin1(bytes: Uint8Array, element: DerElement): string {
  return content(bytes, element).toString('latin1')
}

export function derHex(bytes: Uint8Array, element: DerElement): string {
  return content(bytes, element).toString('hex')
}

function content(bytes: Uint8Array, { contentStart, end }: DerElement): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + contentStart, end - contentStart)
}

/** Epoch milliseconds of a UTCTime or GeneralizedTime in the form of RFC 5280 §4.1.2.5 (`YYMMDDHHMMSSZ`, `YYYYMMDDHHMMSSZ`); NaN otherwise. */
export function derTimeMs(bytes: Uint8Array, element: DerElement): number {
  const text = derLatin1(bytes, element)
  if (element.tag === DER_UTC_TIME && /^\d{12}Z$/.test(text)) {
    const year = Number(text.slice(0, 2))
    return epochMs(year < 50 ? 2000 + year : 1900 + year, text.slice(2))
  }
  if (element.tag === DER_GENERALIZED_TIME && /^\d{14}Z$/.test(text)) return epochMs(Number(text.slice(0, 4)), text.slice(4))
  return Number.NaN
}

/** `rest`: MMDDHHMMSSZ. */
function epochMs(year: number, rest: string): number {
  const part = (at: number): number => Number(rest.slice(at, at + 2))
  const [month, day, hour, minute, second] = [part(0), part(2), part(4), part(6), part(8)]
  if (hour > 23 || minute > 59 || second > 59) return Number.NaN
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  // The 31st of April would become the 1st of May.
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return Number.NaN
  return date.setUTCHours(hour, minute, second, 0)
}
