// What the tests of the translation share: resources as JSON become bytes by an encoder that is not ours, and what is found becomes text.
import { type AssembledCluster, assembleCluster } from '../../../../lib/xds/translate/assemble-cluster.ts'
import type { AssignedEndpoint, EndpointTerms } from '../../../../lib/xds/translate/assigned-endpoint.ts'
import { type TranslatedCluster, translateCluster } from '../../../../lib/xds/translate/cluster.ts'
import { Findings, findingsText } from '../../../../lib/xds/translate/findings.ts'
import { NO_GATEWAY_FIELDS } from '../../../../lib/xds/translate/internal-endpoint.ts'
import { type LoadAssignment, translateLoadAssignment } from '../../../../lib/xds/translate/load-assignment.ts'
import { envoyProtos } from '../../../support/envoy-protos.ts'

export type Json = Readonly<Record<string, unknown>>

export function bytesOf(typeName: string, resource: Json): Uint8Array {
  return envoyProtos().encode(typeName, resource as never)
}

export interface Outcome<T> {
  readonly result: T | null
  /** Empty: none. */
  readonly faults: string
  readonly notes: string
}

export function found<T>(run: (findings: Findings) => T | null): Outcome<T> {
  const findings = new Findings()
  const result = run(findings)
  return { result, faults: findingsText(findings.faults), notes: findingsText(findings.notes) }
}

export function clusterFrom(resource: Json, fields = ''): Outcome<TranslatedCluster> {
  return found((f) => translateCluster(bytesOf('envoy.config.cluster.v3.Cluster', resource), fields, f))
}

export function assignmentFrom(resource: Json, previous: LoadAssignment | null = null, fields = ''): Outcome<LoadAssignment> {
  const bytes = bytesOf('envoy.config.endpoint.v3.ClusterLoadAssignment', resource)
  return found((f) => translateLoadAssignment(bytes, previous, endpointTerms(fields), f))
}

export function endpointTerms(tunnelFields = '', gateway = NO_GATEWAY_FIELDS): EndpointTerms {
  return { tunnelFields, gateway, mayBeNames: false }
}

/** All of them. */
export function endpointsOf(assignment: LoadAssignment | null | undefined): AssignedEndpoint[] {
  const count = assignment?.groups.reduce((sum, group) => sum + group.count, 0) ?? 0
  return Array.from({ length: count }, (_, i) => (assignment as LoadAssignment).endpointAt(i))
}

/** Throws where one of them is refused. */
export function assembled(cluster: Json, assignment: Json | null = null): AssembledCluster {
  const from = clusterFrom(cluster)
  const endpoints = assignment === null ? null : assignmentFrom(assignment)
  const faults = [from.faults, endpoints?.faults ?? ''].filter((f) => f !== '')
  if (from.result === null || faults.length > 0) throw new Error(faults.join('; '))
  return assembleCluster(from.result, endpoints?.result ?? null, null)
}

/** A cluster of two kinds of endpoints, `lb_endpoints` of one locality. */
export function endpointAt(address: string, port = 80, more: Json = {}): Json {
  return { endpoint: { address: { socket_address: { address, port_value: port } } }, ...more }
}
