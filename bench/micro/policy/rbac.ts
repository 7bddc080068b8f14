// Authorization: what a request pays for the rules in front of its own.
import { Authorizer, type RbacTrace } from '../../../lib/policy/rbac.ts'
import type { RbacFacts } from '../../../lib/policy/rbac-facts.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import type { RbacMatch, RbacPolicy } from '../../../lib/state/rbac.ts'
import { type Bench, keep } from '../contract.ts'

const PEER = 'spiffe://cluster.local/ns/default/sa/productpage'

function facts(path: string): RbacFacts {
  return {
    request: {
      method: 'GET',
      path,
      query: null,
      scheme: 'http',
      authority: 'reviews:9080',
      headers: { get: () => null, indexOf: () => -1, valueAt: () => '' },
      metadata: null,
    },
    path,
    destinationIp: null,
    destinationPort: 9080,
    directRemoteIp: null,
    remoteIp: null,
    serverName: '',
    peerNames: [PEER],
    filterState: () => null,
    metadata: () => null,
  }
}

const exact = (value: string) => ({ kind: 'exact', value, ignoreCase: false }) as const

/** As istiod writes a rule: an identity, methods and paths. */
function rule(i: number): RbacPolicy {
  const method: RbacMatch = {
    kind: 'header',
    header: { name: ':method', field: 'method', match: exact('GET'), invert: false, missingIsEmpty: false },
  }
  const path: RbacMatch = { kind: 'path', match: { kind: 'prefix', value: `/api/v1/service-${i}/`, ignoreCase: false } }
  const who: RbacMatch = { kind: 'authenticated', match: { kind: 'regex', value: '.*/ns/default/.*', ignoreCase: false } }
  const any = (m: RbacMatch): RbacMatch => ({ kind: 'or', of: [m] })
  return {
    name: `ns[default]-policy[reviews]-rule[${i}]`,
    permissions: [{ kind: 'and', of: [any(method), any(path)] }],
    principals: [{ kind: 'and', of: [any(who)] }],
    origin: BUILT_IN,
  }
}

const SILENT: RbacTrace = { asked: () => {} }

function bench(name: string, rules: number, path: string): Bench {
  const policies = Array.from({ length: rules }, (_, i) => rule(i))
  const authorizer = new Authorizer([{ rules: { action: 'ALLOW', policies }, shadow: null }])
  const asked = facts(path)
  return {
    name: `policy/rbac: ${name}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) keep(authorizer.admits(asked, SILENT))
    },
  }
}

export const benches: readonly Bench[] = [
  bench('1 rule, it allows', 1, '/api/v1/service-0/x'),
  bench('10 rules, the last one allows', 10, '/api/v1/service-9/x'),
  bench('10 rules, none allows', 10, '/other'),
]
