// How a server of an Istio Gateway terminates TLS: its certificate, its clients' roots, versions and suites.
import {
  type CertificatePins,
  type DownstreamTls,
  HANDSHAKE_MS,
  MESH_TRUST,
  OWN_CERTIFICATE,
  type SecretName,
  type TlsVersion,
} from '../../../state/tls.ts'
import { opensslCipher } from '../../../transport/cipher-names.ts'
import type { Path } from '../../finding.ts'
import { materialOf } from '../../key-material.ts'
import type { ResourceObject } from '../../resource-object.ts'
import type { ServerTlsSpec } from '../../schema/gateway.ts'
import { rootFiles } from '../upstream-tls.ts'
import type { World } from '../world.ts'

/** What HTTP clients may agree on, in istiod's order. */
export const GATEWAY_ALPN: readonly string[] = ['h2', 'http/1.1']

/** In front of a Secret that the Gateway API lets a Gateway name, whichever namespace it is in. */
export const GATEWAY_CREDENTIAL = 'kubernetes-gateway://'

/** Of TLS 1.3; Node takes their absence for a wish to do without that version. */
const MODERN_CIPHERS = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']

export function secretName(namespace: string, name: string): SecretName {
  return `kubernetes://${namespace}/${name}`
}

/** `path`: of the server's `tls`. `alpn`: empty where bytes are passed on. */
export function serverTls(
  world: World,
  gateway: ResourceObject<'Gateway'>,
  path: Path,
  tls: ServerTlsSpec,
  alpn: readonly string[],
): DownstreamTls {
  noteIgnored(world, gateway, path, tls)
  const mode = tls.mode ?? 'PASSTHROUGH'
  const terms = {
    alpn,
    ...versions(world, gateway, path, tls),
    cipherSuites: ciphers(tls),
    curves: [],
    handshakeTimeoutMs: HANDSHAKE_MS,
    subjectAltNames: tls.subjectAltNames ?? [],
    subjectAltNamePrefixes: [],
    pins: null,
  }
  if (mode === 'ISTIO_MUTUAL')
    return { certificate: OWN_CERTIFICATE, trust: MESH_TRUST, requireClientCertificate: true, ...terms }
  const asks = mode === 'MUTUAL' || mode === 'OPTIONAL_MUTUAL'
  return {
    certificate: certificate(world, gateway, path, tls),
    trust: asks ? trust(world, gateway, path, tls) : '',
    requireClientCertificate: mode === 'MUTUAL',
    ...terms,
    subjectAltNames: asks ? terms.subjectAltNames : [],
    pins: asks ? pins(tls) : null,
  }
}

function certificate(world: World, gateway: ResourceObject<'Gateway'>, path: Path, tls: ServerTlsSpec): SecretName {
  const named = credential(tls)
  if (named !== null) {
    const name = inOwnNamespace(world, gateway, [...path, named.field], named.name)
    noteMissing(world, gateway, [...path, named.field], name, 'certificate')
    return name
  }
  const [first] = tls.tlsCertificates ?? []
  const { serverCertificate = '', privateKey = '' } = first ?? tls
  return `file-cert:${serverCertificate}~${privateKey}`
}

/** As Envoy compares them: hashes in hexadecimal digits, with colons or without; keys in base64. */
function pins({ verifyCertificateSpki = [], verifyCertificateHash = [] }: ServerTlsSpec): CertificatePins | null {
  if (verifyCertificateSpki.length + verifyCertificateHash.length === 0) return null
  return {
    keys: verifyCertificateSpki,
    certificates: verifyCertificateHash.map((hash) => hash.replaceAll(':', '').toLowerCase()),
  }
}

/** With a Secret the roots are in it, or in one of its name with `-cacert` (Istio). */
function trust(world: World, gateway: ResourceObject<'Gateway'>, path: Path, tls: ServerTlsSpec): SecretName {
  if ((tls.caCertCredentialName ?? '') !== '') {
    const at = [...path, 'caCertCredentialName']
    const name = inOwnNamespace(world, gateway, at, tls.caCertCredentialName!)
    noteMissing(world, gateway, at, name, 'roots')
    return name
  }
  const named = credential(tls)
  if (named === null) return rootFiles(tls.caCertificates ?? tls.tlsCertificates?.[0]?.caCertificates ?? '', tls.caCrl)
  const own = inOwnNamespace(world, gateway, [...path, named.field], named.name)
  const apart = `${own}-cacert`
  if (hasRoots(world, own) || !hasRoots(world, apart)) {
    noteMissing(world, gateway, [...path, named.field], own, 'roots')
    return own
  }
  return apart
}

function credential(tls: ServerTlsSpec): { readonly field: string; readonly name: string } | null {
  if ((tls.credentialName ?? '') !== '') return { field: 'credentialName', name: tls.credentialName! }
  const [first] = tls.credentialNames ?? []
  return first === undefined ? null : { field: 'credentialNames', name: first }
}

/** A gateway reads Secrets of its own namespace (Istio: that of the proxy, wherever the Gateway is). */
function inOwnNamespace(world: World, gateway: ResourceObject<'Gateway'>, path: Path, written: string): SecretName {
  if (written.startsWith(GATEWAY_CREDENTIAL)) return `kubernetes://${written.slice(GATEWAY_CREDENTIAL.length)}`
  const bare = written.startsWith('kubernetes://') ? written.slice('kubernetes://'.length) : written
  const [first = '', second] = bare.split('/')
  const own = world.client.namespace
  if (second !== undefined && first !== own)
    world.verdicts.partly(gateway, path, `a gateway reads Secrets of its own namespace \`${own}\` only: this one stays unread`)
  return second === undefined ? secretName(own, first) : first === own ? secretName(own, second) : `unread://${bare}`
}

function noteMissing(
  world: World,
  gateway: ResourceObject<'Gateway'>,
  path: Path,
  name: SecretName,
  part: 'certificate' | 'roots',
): void {
  const object = secretOf(world, name)
  const shown = name.replace(/^[a-z]+:\/\//, '')
  if (name.startsWith('unread://')) return
  const until = 'until then handshakes fail'
  if (object === undefined) world.verdicts.partly(gateway, path, `waiting for the Secret ${shown}; ${until}`)
  else if (part === 'certificate' && !hasCertificate(object))
    world.verdicts.partly(gateway, path, `the Secret ${shown} has no \`tls.crt\` and \`tls.key\`; ${until}`)
  else if (part === 'roots' && !hasRoots(world, name))
    world.verdicts.partly(
      gateway,
      path,
      `waiting for the roots of clients: \`ca.crt\` in the Secret ${shown}, or a Secret ${shown}-cacert; ${until}`,
    )
}

/** The Secret that a name means, if it is here. */
export function secretOf(world: World, name: SecretName): ResourceObject<'Secret'> | undefined {
  return world.objects('Secret').find((s) => secretName(s.namespace, s.name) === name)
}

export function hasCertificate({ spec }: ResourceObject<'Secret'>): boolean {
  const { certificateChainPem, privateKeyPem } = materialOf(spec)
  return certificateChainPem !== '' && privateKeyPem !== ''
}

function hasRoots(world: World, name: SecretName): boolean {
  const object = secretOf(world, name)
  return object !== undefined && materialOf(object.spec).rootsPem !== ''
}

const VERSIONS: Readonly<Record<string, TlsVersion>> = { TLSV1_2: 'TLSv1.2', TLSV1_3: 'TLSv1.3' }

function versions(
  world: World,
  gateway: ResourceObject<'Gateway'>,
  path: Path,
  tls: ServerTlsSpec,
): Pick<DownstreamTls, 'minVersion' | 'maxVersion'> {
  for (const field of ['minProtocolVersion', 'maxProtocolVersion'] as const) {
    const asked = tls[field]
    if (asked === 'TLSV1_0' || asked === 'TLSV1_1')
      world.verdicts.partly(gateway, [...path, field], `${asked} is not spoken any more; TLSV1_2 is the oldest`)
  }
  return {
    minVersion: VERSIONS[tls.minProtocolVersion ?? ''] ?? 'TLSv1.2',
    maxVersion:
      tls.maxProtocolVersion === 'TLSV1_0' || tls.maxProtocolVersion === 'TLSV1_1'
        ? 'TLSv1.2'
        : (VERSIONS[tls.maxProtocolVersion ?? ''] ?? 'TLSv1.3'),
  }
}

function ciphers({ cipherSuites = [] }: ServerTlsSpec): readonly string[] {
  return cipherSuites.length === 0 ? [] : [...MODERN_CIPHERS, ...cipherSuites.flatMap((c) => opensslCipher(c) ?? [])]
}

function noteIgnored(world: World, gateway: ResourceObject<'Gateway'>, path: Path, tls: ServerTlsSpec): void {
  const asks = tls.mode === 'MUTUAL' || tls.mode === 'OPTIONAL_MUTUAL'
  for (const field of ['verifyCertificateSpki', 'verifyCertificateHash'] as const)
    if (!asks && (tls[field]?.length ?? 0) > 0)
      world.verdicts.partly(
        gateway,
        [...path, field],
        `NOT ENFORCED: with ${tls.mode ?? 'PASSTHROUGH'} no client certificate is looked at by it`,
      )
  if ((tls.caCrl ?? '') !== '' && (!asks || credential(tls) !== null || (tls.caCertCredentialName ?? '') !== ''))
    world.verdicts.partly(
      gateway,
      [...path, 'caCrl'],
      'NOT ENFORCED: a revocation list goes with `caCertificates`; of a Secret it is its entry `ca.crl`',
    )
  for (const field of ['credentialNames', 'tlsCertificates'] as const)
    if ((tls[field]?.length ?? 0) > 1)
      world.verdicts.partly(gateway, [...path, field, 1], 'the first certificate is used for all clients')
}
