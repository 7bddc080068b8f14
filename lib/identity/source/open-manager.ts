// The section `identity` of heddle.yaml as a manager with its source. What a source needs is loaded only when it is the chosen one.
import { readFileSync } from 'node:fs'
import type { Rng } from '../../base/rng.ts'
import type { BootstrapConfig } from '../../state/bootstrap-config.ts'
import { certificatesOfPem } from '../chain.ts'
import type { TrustBundle } from '../material.ts'
import { workloadIdentityText } from '../spiffe-id.ts'
import { CertificateManager, type ManagerLog } from './certificate-manager.ts'
import type { CertificateSource } from './certificate-source.ts'

export interface OpenManagerOptions {
  readonly bootstrap: BootstrapConfig
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: ManagerLog
  readonly rng: Rng
  /** Epoch milliseconds. Default: Date.now. */
  readonly now?: () => number
}

/**
 * Null when there is no source. The manager is not started. Throws an Error whose message is a sentence with the field of heddle.yaml, when
 * what it names cannot be used at all; what may yet come (mounted files, a CA that does not answer) is waited for instead.
 */
export async function openManager(options: OpenManagerOptions): Promise<CertificateManager | null> {
  const { bootstrap, log, rng, now = Date.now } = options
  const { identity, workload } = bootstrap
  if (identity.source === 'none') return null
  const bundles = identity.bundles.map(({ trustDomain, file }) => readBundle(trustDomain, file))
  const source = await openSource(options, now)
  const { trustDomain } = identity
  const signs = workloadIdentityText(trustDomain, workload.namespace, workload.serviceAccount)
  return new CertificateManager({
    source,
    trustDomain,
    trustDomainAliases: identity.trustDomainAliases,
    bundles,
    ownIdentity: identity.spiffeId !== '' || source.kind === 'delivers' ? identity.spiffeId : signs,
    rotation: identity.rotation,
    ttlMs: identity.certificateTtlMs,
    keyKind: identity.key,
    log,
    now,
    random: () => rng.uint32() / 2 ** 32,
  })
}

async function openSource({ bootstrap, env, log, rng }: OpenManagerOptions, now: () => number): Promise<CertificateSource> {
  const { identity, role, workload } = bootstrap
  switch (identity.source) {
    case 'none':
      throw new Error('there is no source')
    case 'files': {
      const { FileSource } = await import('./file-source.ts')
      return new FileSource({ ...identity.files, trustDomain: identity.trustDomain, now, warn: (m) => log.warning(m) })
    }
    case 'dev-ca': {
      const { openDevCa } = await import('./ca-folder.ts')
      return openDevCa(identity, now)
    }
    case 'workload-api': {
      const { WorkloadApiSource } = await import('./workload-api.ts')
      const { parseWorkloadEndpoint } = await import('./workload-api-address.ts')
      const { socket, hint } = identity.workloadApi
      const endpoint = parseWorkloadEndpoint(socket === '' ? (env['SPIFFE_ENDPOINT_SOCKET'] ?? '') : socket)
      if (!endpoint.ok) throw new Error(`identity.workloadApi.socket: ${endpoint.error}`)
      return new WorkloadApiSource({ address: endpoint.address, hint: hint === '' ? null : hint, rng })
    }
    case 'istio-ca': {
      const { IstioCaSource } = await import('./istio-ca.ts')
      const { address, serverName, roots, token, clientCertificate, clientKey, clusterId, certSigner } = identity.istioCa
      const colon = address.lastIndexOf(':')
      const host = address.slice(0, colon).replace(/^\[|\]$/g, '')
      return new IstioCaSource({
        address: { kind: 'tcp', host, port: Number(address.slice(colon + 1)) },
        serverName: serverName === '' ? host : serverName,
        rootFile: roots === '' ? null : roots,
        tokenFile: token === '' ? null : token,
        clientCertificate: clientCertificate === '' ? null : { chainFile: clientCertificate, keyFile: clientKey },
        clusterId,
        impersonates: role === 'node',
        metadata: {
          WorkloadName: workload.name,
          WorkloadIP: workload.address,
          ...(certSigner === '' ? {} : { CertSigner: certSigner }),
        },
        headers: headersOf(env),
        rng,
      })
    }
    default:
      return identity.source satisfies never
  }
}

/** Istio's agent: `CA_HEADER_<name>` of the environment. */
function headersOf(env: OpenManagerOptions['env']): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) {
    const [, header] = /^CA_HEADER_(.+)$/.exec(name) ?? []
    if (header !== undefined && value !== undefined) headers[header] = value
  }
  return headers
}

function readBundle(trustDomain: string, file: string): TrustBundle {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new Error(`identity.bundles: the roots of ${trustDomain} cannot be read: ${(error as Error).message}`)
  }
  const roots = certificatesOfPem(text)
  if (roots === null || roots.length === 0)
    throw new Error(
      `identity.bundles: ${file}, the roots of ${trustDomain}: ${roots === null ? 'a certificate cannot be read' : 'no certificate in PEM'}`,
    )
  return { trustDomain, rootsPem: roots.map((root) => root.x509.toString()) }
}
