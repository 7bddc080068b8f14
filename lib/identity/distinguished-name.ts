// Names of subjects and issuers as text, for messages only: nothing is decided by them.
import { DER_OID, DER_SEQUENCE, DER_SET, type DerElement, derChildren, derHex, derOid } from './der.ts'
import { printable } from './printable.ts'

const SHORT: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '0.9.2342.19200300.100.1.25': 'DC',
}

/** UTF8String, PrintableString, IA5String, T61String. */
const TEXT_TAGS: readonly number[] = [0x0c, 0x13, 0x16, 0x14]

/** `O=shop,CN=web` in the order of the certificate, escaped in the manner of RFC 4514; null when it is not DER. */
export function distinguishedName(bytes: Uint8Array, name: DerElement): string | null {
  const sets = derChildren(bytes, name, 50)
  if (sets === null) return null
  const parts: string[] = []
  for (const set of sets) {
    const attributes = set.tag === DER_SET ? derChildren(bytes, set, 10) : null
    if (attributes === null) return null
    for (const attribute of attributes) {
      const [type, value] = (attribute.tag === DER_SEQUENCE ? derChildren(bytes, attribute, 2) : null) ?? []
      const oid = type?.tag === DER_OID ? derOid(bytes, type) : ''
      if (oid === '' || value === undefined) return null
      parts.push(`${SHORT[oid] ?? oid}=${valueText(bytes, value)}`)
    }
  }
  return parts.join(',')
}

/** As OpenSSL writes it with XN_FLAG_RFC2253, and so Envoy; what is not DER is left out. */
export function rfc2253Name(bytes: Uint8Array, name: DerElement): string {
  const sets: string[] = []
  for (const set of derChildren(bytes, name, 50) ?? []) {
    const attributes: string[] = []
    for (const attribute of derChildren(bytes, set, 10) ?? []) {
      const [type, value] = derChildren(bytes, attribute, 2) ?? []
      if (type === undefined || value === undefined) continue
      const oid = derOid(bytes, type)
      const known = OPENSSL_SHORT[oid] ?? SHORT[oid]
      const text = known === undefined ? null : stringOf(bytes, value)
      attributes.push(`${known ?? oid}=${text === null ? dumped(bytes, value) : escaped2253(text)}`)
    }
    // Within one RDN as well.
    sets.push(attributes.reverse().join('+'))
  }
  return sets.reverse().join(',')
}

const OPENSSL_SHORT: Readonly<Record<string, string>> = {
  '0.9.2342.19200300.100.1.1': 'UID',
  '1.2.840.113549.1.9.1': 'emailAddress',
  '2.5.4.4': 'SN',
  '2.5.4.9': 'street',
  '2.5.4.12': 'title',
  '2.5.4.17': 'postalCode',
  '2.5.4.42': 'GN',
}

/** UTF8String, then those of one byte for each character, then BMPString; null: it is no string. */
function stringOf(bytes: Uint8Array, value: DerElement): string | null {
  const content = Buffer.from(bytes.subarray(value.contentStart, value.end))
  if (value.tag === 0x0c) return content.toString('utf8')
  if ([0x12, 0x13, 0x14, 0x16, 0x1a].includes(value.tag)) return content.toString('latin1')
  return value.tag === 0x1e && content.length % 2 === 0 ? content.swap16().toString('utf16le') : null
}

function dumped(bytes: Uint8Array, value: DerElement): string {
  return `#${Buffer.from(bytes.subarray(value.start, value.end)).toString('hex').toUpperCase()}`
}

/** RFC 2253 §2.4, with bytes that are not printable ASCII as hexadecimal. */
function escaped2253(text: string): string {
  const special = text.replace(/[,+"\\<>;]/g, '\\$&').replace(/^[ #]/, '\\$&')
  const ends = special.length > 1 ? special.replace(/ $/, '\\ ') : special
  return Buffer.from(ends, 'utf8')
    .toString('latin1')
    .replace(/[^\x20-\x7e]/g, (c) => `\\${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

function valueText(bytes: Uint8Array, value: DerElement): string {
  if (!TEXT_TAGS.includes(value.tag)) return `#${derHex(bytes, value)}`
  const text = Buffer.from(bytes.subarray(value.contentStart, value.end)).toString('utf8')
  return printable(text.replace(/[\\,+"<>;=]/g, '\\$&'), 100)
}
