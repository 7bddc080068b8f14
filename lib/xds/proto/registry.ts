// Which table an Any's type has: for admin pages, and for what is recorded as JSON. A table that is missing here is shown as base64.

import * as accessLog from './access-log.ts'
import * as authorization from './authorization.ts'
import * as cluster from './cluster.ts'
import * as core from './core.ts'
import * as cors from './cors.ts'
import * as discovery from './discovery.ts'
import * as dynamicForwardProxy from './dynamic-forward-proxy.ts'
import * as endpoint from './endpoint.ts'
import * as fault from './fault.ts'
import * as filters from './filters.ts'
import * as healthCheck from './health-check.ts'
import * as httpConnectionManager from './http-connection-manager.ts'
import * as httpProtocolOptions from './http-protocol-options.ts'
import * as istioAgent from './istio-agent.ts'
import { type Registry, registryOf } from './json.ts'
import * as jwt from './jwt.ts'
import * as listener from './listener.ts'
import * as loadBalancingPolicies from './load-balancing-policies.ts'
import * as matcher from './matcher.ts'
import * as rbac from './rbac.ts'
import * as retry from './retry-extensions.ts'
import * as route from './route.ts'
import type { Message } from './schema.ts'
import * as statefulSession from './stateful-session.ts'
import * as tcpProxy from './tcp-proxy.ts'
import * as tls from './tls.ts'
import * as tracing from './tracing.ts'
import * as transportSockets from './transport-sockets.ts'
import * as unifiedMatcher from './unified-matcher.ts'
import * as workload from './workload.ts'
import * as zds from './zds.ts'

/** Each file of tables. */
const FILES: readonly Readonly<Record<string, unknown>>[] = [
  accessLog,
  authorization,
  cluster,
  core,
  cors,
  discovery,
  dynamicForwardProxy,
  endpoint,
  fault,
  filters,
  healthCheck,
  httpConnectionManager,
  httpProtocolOptions,
  istioAgent,
  jwt,
  listener,
  loadBalancingPolicies,
  rbac,
  matcher,
  retry,
  route,
  statefulSession,
  tcpProxy,
  tls,
  tracing,
  transportSockets,
  unifiedMatcher,
  workload,
  zds,
]

function isMessage(value: unknown): value is Message<object> {
  return typeof value === 'object' && value !== null && 'typeName' in value && 'byNumber' in value
}

/** Some types have a second table that leaves parts of them as bytes: it is not the one that has the type's own name. */
const ENTRIES = FILES.flatMap((file) => Object.entries(file))
const OWN = ENTRIES.filter(([name, m]) => isMessage(m) && m.typeName.endsWith(`.${name}`))

export const REGISTRY: Registry = registryOf([...ENTRIES, ...OWN].map(([, m]) => m).filter(isMessage))
