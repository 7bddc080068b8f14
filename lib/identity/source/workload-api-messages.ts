// Messages of the SPIFFE Workload API (SPIFFE_Workload_API.md, workloadapi.proto). X509SVIDRequest has no fields: it is no bytes.
import { eachField, ProtobufError, pushAtMost } from '../../grpc/protobuf-fields.ts'

export interface X509SvidResponse {
  readonly svids: readonly X509Svid[]
  /** Revocation lists, DER; not used yet. */
  readonly crls: number
  /** By SPIFFE id of the trust domain: concatenated DER. */
  readonly federatedBundles: ReadonlyMap<string, Uint8Array>
}

export interface X509Svid {
  readonly spiffeId: string
  /** Concatenated DER, leaf first. */
  readonly certificates: Uint8Array
  /** PKCS#8 DER. */
  readonly key: Uint8Array
  /** Concatenated DER. */
  readonly bundle: Uint8Array
  readonly hint: string
}

/** What one message may have of each; an agent of a node has some dozens. */
const MAX_SVIDS = 1000
const MAX_CRLS = 1000
const MAX_BUNDLES = 1000
const NOTHING = new Uint8Array(0)

/** Throws ProtobufError. Bytes are views. */
export function decodeX509SvidResponse(bytes: Uint8Array): X509SvidResponse {
  const svids: X509Svid[] = []
  const federatedBundles = new Map<string, Uint8Array>()
  let crls = 0
  eachField(bytes, (field, value) => {
    if (field < 1 || field > 3) return
    const part = value.bytes()
    if (part === null) return
    if (field === 1) pushAtMost(svids, decodeX509Svid(part), MAX_SVIDS, 'SVIDs')
    else if (field === 2) {
      if (++crls > MAX_CRLS) throw new ProtobufError(`it has more than ${MAX_CRLS} revocation lists`)
    } else {
      const [trustDomain, bundle] = decodeBundleEntry(part)
      federatedBundles.set(trustDomain, bundle)
      if (federatedBundles.size > MAX_BUNDLES) throw new ProtobufError(`it has more than ${MAX_BUNDLES} bundles`)
    }
  })
  return { svids, crls, federatedBundles }
}

function decodeX509Svid(bytes: Uint8Array): X509Svid {
  let [spiffeId, hint] = ['', '']
  let [certificates, key, bundle] = [NOTHING, NOTHING, NOTHING] as [Uint8Array, Uint8Array, Uint8Array]
  eachField(bytes, (field, value) => {
    if (field === 1) spiffeId = value.string() ?? spiffeId
    else if (field === 2) certificates = value.bytes() ?? certificates
    else if (field === 3) key = value.bytes() ?? key
    else if (field === 4) bundle = value.bytes() ?? bundle
    else if (field === 5) hint = value.string() ?? hint
  })
  return { spiffeId, certificates, key, bundle, hint }
}

/** An entry of map<string, bytes>: { 1 key, 2 value }. */
function decodeBundleEntry(bytes: Uint8Array): readonly [string, Uint8Array] {
  let key = ''
  let bundle: Uint8Array = NOTHING
  eachField(bytes, (field, value) => {
    if (field === 1) key = value.string() ?? key
    else if (field === 2) bundle = value.bytes() ?? bundle
  })
  return [key, bundle]
}
