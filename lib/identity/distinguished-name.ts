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

function valueText(bytes: Uint8Array, value: DerElement): string {
  if (!TEXT_TAGS.includes(value.tag)) return `#${derHex(bytes, value)}`
  const text = Buffer.from(bytes.subarray(value.contentStart, value.end)).toString('utf8')
  return printable(text.replace(/[\\,+"<>;=]/g, '\\$&'), 100)
}
