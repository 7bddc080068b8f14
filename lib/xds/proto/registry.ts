// Which table an Any's type has: for admin pages, and for what is recorded as JSON. A table that is missing here is shown as base64.

import * as cluster from './cluster.ts'
import * as core from './core.ts'
import * as endpoint from './endpoint.ts'
import * as healthCheck from './health-check.ts'
import * as httpProtocolOptions from './http-protocol-options.ts'
import { type Registry, registryOf } from './json.ts'
import * as loadBalancingPolicies from './load-balancing-policies.ts'
import type { Message } from './schema.ts'
import * as tls from './tls.ts'
import * as transportSockets from './transport-sockets.ts'

/** Each file of tables. */
const FILES: readonly Readonly<Record<string, unknown>>[] = [
  cluster,
  core,
  endpoint,
  healthCheck,
  httpProtocolOptions,
  loadBalancingPolicies,
  tls,
  transportSockets,
]

function isMessage(value: unknown): value is Message<object> {
  return typeof value === 'object' && value !== null && 'typeName' in value && 'byNumber' in value
}

export const REGISTRY: Registry = registryOf(FILES.flatMap((file) => Object.values(file).filter(isMessage)))
