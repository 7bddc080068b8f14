// Messages of istio.v1.auth.IstioCertificateService (istio/api security/v1alpha1/ca.proto).
import { PbfWriter } from 'pbf'
import { eachField, pushAtMost, writeText } from '../../grpc/protobuf-fields.ts'

/** IstioCertificateRequest. */
export interface IstioCertificateRequest {
  /** PEM. */
  readonly csr: string
  readonly validitySeconds: number
  /** google.protobuf.Struct with string values only, which is all that istiod reads. */
  readonly metadata: Readonly<Record<string, string>>
}

/** A leaf, intermediates and roots; more is no chain. */
const MAX_CHAIN_ELEMENTS = 100

export function encodeIstioCertificateRequest(request: IstioCertificateRequest): Uint8Array {
  const out = new PbfWriter()
  writeText(out, 1, request.csr)
  out.writeVarintField(3, request.validitySeconds)
  const metadata = Object.entries(request.metadata)
  if (metadata.length > 0) out.writeMessage(4, writeStruct, metadata)
  return out.finish()
}

/** `cert_chain` of IstioCertificateResponse; throws ProtobufError. */
export function decodeIstioCertificateResponse(bytes: Uint8Array): string[] {
  const chain: string[] = []
  eachField(bytes, (field, value) => {
    const element = field === 1 ? value.string() : null
    if (element !== null) pushAtMost(chain, element, MAX_CHAIN_ELEMENTS, 'certificates')
  })
  return chain
}

/** Struct { map<string, Value> fields = 1 }; Value { string string_value = 3 }. */
function writeStruct(fields: readonly (readonly [string, string])[], out: PbfWriter): void {
  for (const field of fields) out.writeMessage(1, writeEntry, field)
}

function writeEntry([key, value]: readonly [string, string], out: PbfWriter): void {
  writeText(out, 1, key)
  out.writeMessage(2, writeStringValue, value)
}

function writeStringValue(value: string, out: PbfWriter): void {
  writeText(out, 3, value)
}
