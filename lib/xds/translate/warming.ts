// What a cluster waits for before it may serve: endpoints that come by a resource of their own, and secrets. Until then the one before it goes on serving.
import { isFile, MESH_TRUST, OWN_CERTIFICATE, type SecretName, SYSTEM_TRUST } from '../../state/tls.ts'
import type { TranslatedCluster } from './cluster.ts'

/** What is there. */
export interface Arrived {
  /** Names of ClusterLoadAssignments that have come, empty ones too. */
  readonly assignments: { has(name: string): boolean }
  /** Names of credentials that are there: of files, of Secrets, and `default` and `ROOTCA` once the workload has a certificate. */
  readonly secrets: { has(name: SecretName): boolean }
}

/** Clauses, `the endpoints outbound|80||a`; none: it can serve. */
export function clusterWaitsFor(cluster: TranslatedCluster, { assignments, secrets }: Arrived): string[] {
  const { edsName } = cluster
  const endpoints = edsName === null || assignments.has(edsName) ? [] : [`the endpoints ${edsName}`]
  return [...endpoints, ...missingSecrets(cluster, (name) => secrets.has(name))]
}

/** Clauses; of what the resource itself carries and the system has nothing is missing. */
export function missingSecrets(
  of: Pick<TranslatedCluster, 'secretNames' | 'credentials'>,
  has: (name: SecretName) => boolean,
): string[] {
  const own = new Set(of.credentials.map((c) => c.name))
  return of.secretNames.filter((name) => !own.has(name) && name !== SYSTEM_TRUST && !has(name)).map(secretText)
}

/** `fetched`: those that came over the stream; `files`: credentials that can be read, absent: all of them. The workload's own are waited for by readiness. */
export function isThere(name: SecretName, fetched: Arrived['secrets'], files: Arrived['secrets'] | undefined): boolean {
  if (isFetched(name)) return fetched.has(name)
  return files === undefined || !isFile(name) || files.has(name)
}

/** Secrets that are asked for over the stream: all but those that heddle provides itself (pilot-agent). */
export function isFetched(name: SecretName): boolean {
  return name !== OWN_CERTIFICATE && name !== MESH_TRUST && !/^(file-cert:|file-root:|inline:|spiffe:\/\/)/.test(name)
}

/** `the secret kubernetes://shop/tls from the control plane`, for status pages and logs. */
export function secretText(name: SecretName): string {
  if (name === OWN_CERTIFICATE) return "the workload's own certificate (secret default)"
  if (name === MESH_TRUST) return 'the roots of the mesh (secret ROOTCA)'
  if (name.startsWith('invalid://')) return `the secret ${name}, which the control plane never sends`
  return isFetched(name) ? `the secret ${name} from the control plane` : `the secret ${name}`
}
