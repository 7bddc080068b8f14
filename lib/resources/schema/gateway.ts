// Gateway of Istio (istio/api networking/v1alpha3/gateway.proto), of which the field names are.
import type * as v from 'valibot'
import { flag, list, oneOf, opt, strict, text, textMap, texts, whole } from './fields.ts'

const TLS_VERSIONS = ['TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3'] as const

const certificateFiles = strict({ serverCertificate: opt(text), privateKey: opt(text), caCertificates: opt(text) })

const serverTls = strict({
  httpsRedirect: opt(flag),
  mode: opt(oneOf(['PASSTHROUGH', 'SIMPLE', 'MUTUAL', 'AUTO_PASSTHROUGH', 'ISTIO_MUTUAL', 'OPTIONAL_MUTUAL'])),
  serverCertificate: opt(text),
  privateKey: opt(text),
  caCertificates: opt(text),
  caCrl: opt(text),
  tlsCertificates: opt(list(certificateFiles)),
  credentialName: opt(text),
  credentialNames: opt(texts),
  caCertCredentialName: opt(text),
  subjectAltNames: opt(texts),
  verifyCertificateSpki: opt(texts),
  verifyCertificateHash: opt(texts),
  minProtocolVersion: opt(oneOf(TLS_VERSIONS)),
  maxProtocolVersion: opt(oneOf(TLS_VERSIONS)),
  cipherSuites: opt(texts),
})

const server = strict({
  port: opt(strict({ number: opt(whole), protocol: opt(text), name: opt(text), targetPort: opt(whole) })),
  bind: opt(text),
  hosts: opt(texts),
  tls: opt(serverTls),
  defaultEndpoint: opt(text),
  name: opt(text),
})

export const gateway = strict({ servers: opt(list(server)), selector: opt(textMap) })

export type GatewaySpec = v.InferOutput<typeof gateway>
export type GatewayServerSpec = v.InferOutput<typeof server>
export type ServerTlsSpec = v.InferOutput<typeof serverTls>
