// DER as it comes from the Workload API, to PEM as the rest of heddle has it.
import { DER_SEQUENCE, derElement } from '../der.ts'
import { pem } from './private-key.ts'

/** Of one concatenation; more is no chain and no bundle. */
const MAX_CERTIFICATES = 1000

/** Concatenated DER certificates, each as PEM; null when the bytes are not a sequence of whole DER elements. What is in them is not read. */
export function certificatesToPem(der: Uint8Array): string[] | null {
  const pems: string[] = []
  for (let at = 0; at < der.length; ) {
    const element = derElement(der, at, der.length)
    if (element === null || element.tag !== DER_SEQUENCE || pems.length === MAX_CERTIFICATES) return null
    pems.push(pem('CERTIFICATE', Buffer.from(der.subarray(at, element.end))))
    at = element.end
  }
  return pems
}
