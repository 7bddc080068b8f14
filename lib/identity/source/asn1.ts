// Writing ASN.1 (X.690, DER) with node-forge, of which nothing else is used: it knows no ECDSA. It is loaded with the first key that is
// made; a proxy whose certificates come from elsewhere never pays for it.
import type forge from 'node-forge'

/** One element, with what is in it. */
export type Asn1 = forge.asn1.Asn1

/** Builds elements. Text for the content is text, bytes are a Buffer. */
export class Asn1Writer {
  readonly #asn1: typeof forge.asn1

  constructor(asn1: typeof forge.asn1) {
    this.#asn1 = asn1
  }

  static async load(): Promise<Asn1Writer> {
    const { default: library } = await import('node-forge')
    return new Asn1Writer(library.asn1)
  }

  sequence(...parts: readonly Asn1[]): Asn1 {
    return this.#universal(this.#asn1.Type.SEQUENCE, [...parts])
  }

  set(...parts: readonly Asn1[]): Asn1 {
    return this.#universal(this.#asn1.Type.SET, [...parts])
  }

  oid(dotted: string): Asn1 {
    return this.#universal(this.#asn1.Type.OID, this.#asn1.oidToDer(dotted).getBytes())
  }

  /** `bytes`: big-endian, two's complement, as short as can be. */
  integer(bytes: Buffer): Asn1 {
    return this.#universal(this.#asn1.Type.INTEGER, bytes.toString('latin1'))
  }

  boolean(value: boolean): Asn1 {
    return this.#universal(this.#asn1.Type.BOOLEAN, value ? '\u00ff' : '\u0000')
  }

  null(): Asn1 {
    return this.#universal(this.#asn1.Type.NULL, '')
  }

  utf8(text: string): Asn1 {
    return this.#universal(this.#asn1.Type.UTF8, Buffer.from(text, 'utf8').toString('latin1'))
  }

  octets(bytes: Buffer): Asn1 {
    return this.#universal(this.#asn1.Type.OCTETSTRING, bytes.toString('latin1'))
  }

  bits(bytes: Buffer, unused = 0): Asn1 {
    return this.#universal(this.#asn1.Type.BITSTRING, String.fromCharCode(unused) + bytes.toString('latin1'))
  }

  /** RFC 5280 §4.1.2.5: UTCTime until 2049. Fractions of a second are cut. */
  time(epochMs: number): Asn1 {
    const date = new Date(epochMs)
    if (date.getUTCFullYear() < 2050) return this.#universal(this.#asn1.Type.UTCTIME, this.#asn1.dateToUtcTime(date) as string)
    return this.#universal(this.#asn1.Type.GENERALIZEDTIME, this.#asn1.dateToGeneralizedTime(date) as string)
  }

  /** `[n]` around elements. */
  tagged(n: number, ...parts: readonly Asn1[]): Asn1 {
    return this.#asn1.create(this.#asn1.Class.CONTEXT_SPECIFIC, n, true, [...parts])
  }

  /** `[n]` in place of the tag of a string. */
  taggedBytes(n: number, bytes: Buffer): Asn1 {
    return this.#asn1.create(this.#asn1.Class.CONTEXT_SPECIFIC, n, false, bytes.toString('latin1'))
  }

  /** What is DER already, such as a key that node:crypto exported. */
  parsed(der: Buffer): Asn1 {
    return this.#asn1.fromDer(der.toString('latin1'))
  }

  der(element: Asn1): Buffer {
    return Buffer.from(this.#asn1.toDer(element).getBytes(), 'latin1')
  }

  #universal(type: number, value: string | Asn1[]): Asn1 {
    return this.#asn1.create(this.#asn1.Class.UNIVERSAL, type, Array.isArray(value), value)
  }
}
