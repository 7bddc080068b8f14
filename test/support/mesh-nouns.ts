// Builders of mesh nouns for tests: everything has a default, so that a row says only what it is about.
import { parsePrefix } from '../../lib/base/ip-prefix.ts'
import type { Authorization, AuthorizationMatch, AuthorizationRule, StringMatch } from '../../lib/state/authorization.ts'
import { BUILT_IN } from '../../lib/state/origin.ts'
import type { Workload } from '../../lib/state/workload.ts'

/** `*`: presence, `a*`, `*a`, else exact: as AuthorizationPolicy writes them. */
export function texts(...list: string[]): StringMatch[] {
  return list.map((text): StringMatch => {
    if (text === '*') return { kind: 'presence' }
    if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) }
    if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) }
    return { kind: 'exact', value: text }
  })
}

export const prefixes = (...list: string[]) => list.map((text) => parsePrefix(text)!)
export const accounts = (...list: string[]) =>
  list.map((text) => ({ namespace: text.split('/')[0]!, serviceAccount: text.split('/')[1]! }))

export function match(over: Partial<AuthorizationMatch> = {}): AuthorizationMatch {
  return {
    namespaces: [],
    notNamespaces: [],
    serviceAccounts: [],
    notServiceAccounts: [],
    principals: [],
    notPrincipals: [],
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: [],
    notDestinationPorts: [],
    origin: BUILT_IN,
    ...over,
  }
}

/** Clauses as lists of matches: all clauses, any match. */
export function rule(...clauses: Partial<AuthorizationMatch>[][]): AuthorizationRule {
  return { clauses: clauses.map((matches) => ({ matches: matches.map(match) })), origin: BUILT_IN }
}

export function policy(
  action: 'ALLOW' | 'DENY',
  rules: readonly AuthorizationRule[],
  over: Partial<Authorization> = {},
): Authorization {
  const { namespace = 'ns', name = action.toLowerCase() } = over
  const origin = { ...BUILT_IN, kind: 'Authorization', namespace, name, file: 'mesh.yaml', line: 1, column: 1 }
  return { name, namespace, scope: 'NAMESPACE', action, rules, dryRun: false, origin, ...over }
}

export function workload(name: string, over: Partial<Workload> = {}): Workload {
  const { namespace = 'ns' } = over
  return {
    uid: `cluster1//Pod/${namespace}/${name}`,
    name,
    namespace,
    serviceAccount: name,
    trustDomain: 'cluster.local',
    network: '',
    addresses: [],
    hostname: '',
    protocol: 'HBONE',
    networkMode: 'STANDARD',
    nativeTunnel: false,
    applicationTunnel: null,
    waypoint: null,
    networkGateway: null,
    services: [],
    authorizationPolicies: [],
    healthy: true,
    capacity: 1,
    node: '',
    clusterId: 'Kubernetes',
    locality: { region: '', zone: '', subzone: '' },
    canonicalName: '',
    canonicalRevision: '',
    workloadName: '',
    workloadType: '',
    origin: { ...BUILT_IN, kind: 'Workload', namespace, name, file: 'mesh.yaml', line: 1, column: 1 },
    ...over,
  }
}
