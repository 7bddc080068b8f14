// What a stream is protected and introduced with: roots, the server's name, token and further metadata. Files are read for each connection, since they are renewed in place.
import { readFile } from 'node:fs/promises'
import type { GrpcTls } from '../../grpc/grpc-address.ts'
import type { Metadata } from '../../grpc/metadata.ts'
import type { XdsConfig } from '../../state/bootstrap-config.ts'
import { systemRoots } from './system-roots.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Istio's agent: headers of calls by the environment, `XDS_HEADER_<name>`. */
const HEADER = 'XDS_HEADER_'

/** `roots` of heddle.yaml, where Istio's XDS_ROOT_CA says nothing; SYSTEM: those of the system. */
export async function readTls(xds: XdsConfig, serverName: string, env: Environment): Promise<GrpcTls> {
  const named = env['XDS_ROOT_CA'] || env['CA_ROOT_CA'] || xds.roots
  const isSystem = named === '' || named === 'SYSTEM'
  const roots = isSystem ? await systemRoots(env['SSL_CERT_FILE'] ?? '') : await read(named, "the control plane's roots")
  if (!roots.includes('-----BEGIN CERTIFICATE-----')) throw new Error(`${named} has no PEM certificate`)
  if (xds.clientCertificate === '') return { roots, serverName, client: null }
  const [chain, key] = await Promise.all([
    read(xds.clientCertificate, 'the client certificate'),
    read(xds.clientKey, 'the key of the client certificate'),
  ])
  return { roots, serverName, client: { chain, key } }
}

/** A token is a secret: in plain text it is not sent. */
export async function readMetadata(xds: XdsConfig, clusterId: string, env: Environment): Promise<Metadata> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith(HEADER) && name.length > HEADER.length && value !== undefined) headers[name.slice(HEADER.length)] = value
  }
  Object.assign(headers, xds.headers)
  if (clusterId !== '') headers['clusterid'] = clusterId
  if (xds.transport === 'plaintext' || xds.token === '') return headers
  const token = (await read(xds.token, 'the token')).trim()
  if (token === '') throw new Error(`the token file ${xds.token} is empty`)
  // It goes into a header. What is wrong with it is not shown.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new Error(`the token file ${xds.token} has more than a token in it`)
  return { ...headers, authorization: `Bearer ${token}` }
}

async function read(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new Error(`${what} cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
}
