// DER as it comes from the Workload API, to PEM as the rest of heddle has it.
import { DER_SEQUENCE, derElement } from '../der.ts'

/** Of one concatenation; more is no chain and no bundle. */
const MAX_CERTIFICATES = 1000

/** Concatenated DER certificates, each as PEM; null when the bytes are not a sequence of whole DER elements. What is in them is not read. */
export function certificatesToPem(der: Uint8Array): string[] | null {
  const pems: string[] = []
  for (let at = 0; at < der.length; ) {
    const element = derElement(der, at, der.length)
    if (element === null || element.tag !== DER_SEQUENCE || pems.length === MAX_CERTIFICATES) return null
    pems.push(toPem('CERTIFICATE', der.subarray(at, element.end)))
    at = element.end
  }
  return pems
}

/** RFC 7468: lines of 64 characters. */
export function toPem(label: 'CERTIFICATE' | 'CERTIFICATE REQUEST' | 'PRIVATE KEY', der: Uint8Array): string {
  const lines =
    Buffer.from(der.buffer, der.byteOffset, der.length)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
