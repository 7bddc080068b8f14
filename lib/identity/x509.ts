// What a certificate says (RFC 5280 §4), read from its bytes. Node's `subjectAltName` is a text in which strange names are quoted and
// escaped: safe, but not the name. Signatures are not looked at here.
import {
  contextTag,
  DER_BIT_STRING,
  DER_BOOLEAN,
  DER_INTEGER,
  DER_OCTET_STRING,
  DER_OID,
  DER_SEQUENCE,
  type DerElement,
  derChildren,
  derElement,
  derHex,
  derLatin1,
  derOid,
  derTimeMs,
} from './der.ts'
import { distinguishedName, rfc2253Name } from './distinguished-name.ts'

export interface CertificateFacts {
  /** Hexadecimal digits of the INTEGER's bytes, lower case. */
  readonly serial: string
  /** `O=shop,CN=web`, in the order of the certificate; '' when it is empty, as Istio's are. */
  readonly subject: string
  /** The same as RFC 2253 §2 writes it, the last part first, for x-forwarded-client-cert: `CN=web,O=shop`. Of latin1. */
  readonly subjectRfc2253: string
  readonly issuer: string
  readonly issuerRfc2253: string
  /** Epoch milliseconds. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** SAN entries of type URI, one character for each byte. */
  readonly uris: readonly string[]
  readonly dnsNames: readonly string[]
  /** Hexadecimal; 8 or 32 digits. */
  readonly ipAddresses: readonly string[]
  /** SAN entries of other types. */
  readonly otherNames: number
  readonly hasSubjectAltName: boolean
  readonly subjectAltNameCritical: boolean
  /** basicConstraints cA; false when the extension is absent. */
  readonly isCa: boolean
  /** basicConstraints pathLenConstraint; null: no limit. */
  readonly pathLength: number | null
  /** Null when the extension is absent. */
  readonly keyUsage: KeyUsage | null
  /** Object identifiers; null when the extension is absent. */
  readonly extendedKeyUsage: readonly string[] | null
  /** Hexadecimal; null when absent. */
  readonly subjectKeyId: string | null
  readonly authorityKeyId: string | null
  /** nameConstraints for URIs, which bind what a CA may sign; null when there are none of this type. */
  readonly uriConstraints: UriConstraints | null
}

/** Hosts, or with a leading point all hosts below one (RFC 5280 §4.2.1.10). The host of a SPIFFE id is its trust domain. */
export interface UriConstraints {
  /** Null: all that is not excluded. */
  readonly permitted: readonly string[] | null
  readonly excluded: readonly string[]
}

export interface KeyUsage {
  readonly critical: boolean
  readonly digitalSignature: boolean
  readonly keyEncipherment: boolean
  readonly keyCertSign: boolean
  readonly crlSign: boolean
}

export const EKU_SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
export const EKU_CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'

export type ReadCertificate =
  | { readonly ok: true; readonly facts: CertificateFacts }
  /** A clause: `its extensions are not DER`. */
  | { readonly ok: false; readonly error: string }

const MAX_EXTENSIONS = 100
const MAX_NAMES = 1000

interface Extension {
  readonly critical: boolean
  /** The value within the OCTET STRING. */
  readonly value: DerElement
}

/** Never throws; a certificate of which a part that counts cannot be read is refused whole. */
export function readCertificate(der: Uint8Array): ReadCertificate {
  try {
    return { ok: true, facts: facts(der) }
  } catch (error) {
    if (error instanceof Unreadable) return { ok: false, error: error.message }
    throw error
  }
}

/** Left by `facts` at the first thing that is not as it must be; never leaves this file. */
class Unreadable extends Error {}

function facts(der: Uint8Array): CertificateFacts {
  const whole = derElement(der, 0, der.length)
  if (whole === null || whole.tag !== DER_SEQUENCE || whole.end !== der.length) throw new Unreadable('it is not one DER sequence')
  const tbs = derElement(der, whole.contentStart, whole.end)
  if (tbs === null || tbs.tag !== DER_SEQUENCE) throw new Unreadable('its body is not a DER sequence')
  const parts = derChildren(der, tbs, 12) ?? unreadable('its body is not DER')
  let at = parts[0]?.tag === contextTag(0, true) ? 1 : 0
  const next = (tag: number, what: string): DerElement => {
    const part = parts[at++]
    return part !== undefined && part.tag === tag ? part : unreadable(`${what} is missing`)
  }
  const serial = next(DER_INTEGER, 'its serial number')
  next(DER_SEQUENCE, 'its signature algorithm')
  const issuer = next(DER_SEQUENCE, 'its issuer')
  const validity = derChildren(der, next(DER_SEQUENCE, 'its validity'), 2) ?? []
  const subject = next(DER_SEQUENCE, 'its subject')
  next(DER_SEQUENCE, 'its public key')
  const [notBeforeMs, notAfterMs] = [0, 1].map((i) => {
    const time = validity[i]
    return time === undefined ? Number.NaN : derTimeMs(der, time)
  }) as [number, number]
  if (Number.isNaN(notBeforeMs) || Number.isNaN(notAfterMs)) throw new Unreadable('its validity cannot be read')
  const extensions = extensionsOf(der, parts.slice(at))
  const san = extensions.get('2.5.29.17')
  const basic = extensions.get('2.5.29.19')
  return {
    serial: derHex(der, serial),
    subject: distinguishedName(der, subject) ?? unreadable('its subject is not DER'),
    subjectRfc2253: rfc2253Name(der, subject),
    issuerRfc2253: rfc2253Name(der, issuer),
    issuer: distinguishedName(der, issuer) ?? unreadable('its issuer is not DER'),
    notBeforeMs,
    notAfterMs,
    ...namesOf(der, san),
    hasSubjectAltName: san !== undefined,
    subjectAltNameCritical: san?.critical ?? false,
    ...basicConstraints(der, basic),
    keyUsage: keyUsage(der, extensions.get('2.5.29.15')),
    extendedKeyUsage: extendedKeyUsage(der, extensions.get('2.5.29.37')),
    subjectKeyId: keyId(der, extensions.get('2.5.29.14')?.value, DER_OCTET_STRING),
    authorityKeyId: authorityKeyId(der, extensions.get('2.5.29.35')),
    uriConstraints: uriConstraints(der, extensions.get('2.5.29.30')),
  }
}

function extensionsOf(der: Uint8Array, rest: readonly DerElement[]): Map<string, Extension> {
  const found = new Map<string, Extension>()
  const wrapper = rest.find((part) => part.tag === contextTag(3, true))
  if (wrapper === undefined) return found
  const list = derChildren(der, wrapper, 1)?.[0]
  const all = list?.tag === DER_SEQUENCE ? derChildren(der, list, MAX_EXTENSIONS) : null
  if (all === null) throw new Unreadable('its extensions are not DER')
  for (const extension of all) {
    const parts = derChildren(der, extension, 3) ?? []
    const [name, ...others] = parts
    const value = others.pop()
    const oid = extension.tag === DER_SEQUENCE && name?.tag === DER_OID ? derOid(der, name) : ''
    if (oid === '' || value?.tag !== DER_OCTET_STRING) throw new Unreadable('it has an extension that is not DER')
    const critical = others[0] === undefined ? false : flag(der, others[0], `whether ${oid} is critical`)
    // RFC 5280 §4.2: with two, who reads the first and who reads the last would disagree.
    if (found.has(oid)) throw new Unreadable(`it has the extension ${oid} twice`)
    const content = derElement(der, value.contentStart, value.end)
    if (content !== null && content.end === value.end) found.set(oid, { critical, value: content })
    else if (READ_EXTENSIONS.has(oid)) throw new Unreadable(`its extension ${oid} is not DER`)
  }
  return found
}

const READ_EXTENSIONS = new Set(['2.5.29.14', '2.5.29.15', '2.5.29.17', '2.5.29.19', '2.5.29.30', '2.5.29.35', '2.5.29.37'])

/** otherName, rfc822Name, x400Address, directoryName, ediPartyName, registeredID. */
const OTHER_NAME_TAGS: readonly number[] = [0xa0, 0x81, 0xa3, 0xa4, 0xa5, 0x88]

function namesOf(
  der: Uint8Array,
  san: Extension | undefined,
): Pick<CertificateFacts, 'uris' | 'dnsNames' | 'ipAddresses' | 'otherNames'> {
  const [uris, dnsNames, ipAddresses]: [string[], string[], string[]] = [[], [], []]
  if (san === undefined) return { uris, dnsNames, ipAddresses, otherNames: 0 }
  const names = san.value.tag === DER_SEQUENCE ? derChildren(der, san.value, MAX_NAMES) : null
  if (names === null) throw new Unreadable('its subjectAltName is not DER')
  for (const name of names) {
    if (name.tag === contextTag(6, false)) uris.push(derLatin1(der, name))
    else if (name.tag === contextTag(2, false)) dnsNames.push(derLatin1(der, name))
    else if (name.tag === contextTag(7, false)) ipAddresses.push(derHex(der, name))
    // A URI in another wrapping must not pass for some other name: it would not be counted.
    else if (!OTHER_NAME_TAGS.includes(name.tag)) throw new Unreadable('its subjectAltName has an entry of no known type')
  }
  return { uris, dnsNames, ipAddresses, otherNames: names.length - uris.length - dnsNames.length - ipAddresses.length }
}

function basicConstraints(der: Uint8Array, extension: Extension | undefined): Pick<CertificateFacts, 'isCa' | 'pathLength'> {
  if (extension === undefined) return { isCa: false, pathLength: null }
  const parts = extension.value.tag === DER_SEQUENCE ? derChildren(der, extension.value, 2) : null
  if (parts === null) throw new Unreadable('its basicConstraints are not DER')
  const rest = [...parts]
  const isCa = rest[0]?.tag === DER_BOOLEAN ? flag(der, rest.shift() as DerElement, 'cA of its basicConstraints') : false
  const length = rest.shift()
  if (length === undefined) return { isCa, pathLength: null }
  const digits = derHex(der, length)
  if (length.tag !== DER_INTEGER || digits.length > 8 || digits === '' || /^[89a-f]/.test(digits))
    throw new Unreadable('the path length of its basicConstraints cannot be read')
  return { isCa, pathLength: Number.parseInt(digits, 16) }
}

/** Bits of RFC 5280 §4.2.1.3; the first is the highest of the first byte. */
function keyUsage(der: Uint8Array, extension: Extension | undefined): KeyUsage | null {
  if (extension === undefined) return null
  const { tag, contentStart, end } = extension.value
  const unused = der[contentStart] as number
  if (tag !== DER_BIT_STRING || end === contentStart || unused > 7 || (end === contentStart + 1 && unused > 0))
    throw new Unreadable('its keyUsage cannot be read')
  const bits = end > contentStart + 1 ? (der[contentStart + 1] as number) : 0
  return {
    critical: extension.critical,
    digitalSignature: (bits & 0x80) !== 0,
    keyEncipherment: (bits & 0x20) !== 0,
    keyCertSign: (bits & 0x04) !== 0,
    crlSign: (bits & 0x02) !== 0,
  }
}

function extendedKeyUsage(der: Uint8Array, extension: Extension | undefined): string[] | null {
  if (extension === undefined) return null
  const uses = extension.value.tag === DER_SEQUENCE ? derChildren(der, extension.value, MAX_NAMES) : null
  const names = uses?.map((use) => (use.tag === DER_OID ? derOid(der, use) : '')) ?? ['']
  if (names.includes('')) throw new Unreadable('its extKeyUsage cannot be read')
  return names
}

function uriConstraints(der: Uint8Array, extension: Extension | undefined): UriConstraints | null {
  if (extension === undefined) return null
  const bad = 'its nameConstraints cannot be read'
  const lists = (extension.value.tag === DER_SEQUENCE ? derChildren(der, extension.value, 2) : null) ?? unreadable(bad)
  let permitted: string[] | null = null
  const excluded: string[] = []
  for (const list of lists) {
    const subtrees = derChildren(der, list, MAX_NAMES) ?? unreadable(bad)
    const uris = subtrees.flatMap((subtree) => {
      const base = derChildren(der, subtree, 3)?.[0] ?? unreadable(bad)
      return base.tag === contextTag(6, false) ? [derLatin1(der, base).toLowerCase()] : []
    })
    if (list.tag === contextTag(1, true)) excluded.push(...uris)
    else if (list.tag !== contextTag(0, true)) unreadable(bad)
    else if (uris.length > 0) permitted = uris
  }
  return permitted === null && excluded.length === 0 ? null : { permitted, excluded }
}

function authorityKeyId(der: Uint8Array, extension: Extension | undefined): string | null {
  if (extension === undefined) return null
  const parts = extension.value.tag === DER_SEQUENCE ? derChildren(der, extension.value, 3) : null
  if (parts === null) throw new Unreadable('its authorityKeyIdentifier is not DER')
  const id = parts.find((part) => part.tag === contextTag(0, false))
  return keyId(der, id, contextTag(0, false))
}

function keyId(der: Uint8Array, element: DerElement | undefined, tag: number): string | null {
  if (element === undefined) return null
  return element.tag === tag ? derHex(der, element) : unreadable('its key identifier cannot be read')
}

/** DER has one way to say true, and false is left out or 0. */
function flag(der: Uint8Array, element: DerElement, what: string): boolean {
  const value = der[element.contentStart]
  if (element.tag !== DER_BOOLEAN || element.end !== element.contentStart + 1 || (value !== 0 && value !== 0xff))
    throw new Unreadable(`${what} cannot be read`)
  return value === 0xff
}

function unreadable(message: string): never {
  throw new Unreadable(message)
}
