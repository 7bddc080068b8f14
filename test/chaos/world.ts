// The configuration of a run: hosts whose policies differ, over the same hostile endpoints, of which some come and go.
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'

/** Attempts beyond the first on hosts that retry everything. */
export const RETRIES = 3

export const HOSTS = ['retrying', 'allowed', 'plain', 'mirrored', 'narrow', 'late', 'ejecting', 'hashed'] as const

const EVERYTHING = '5xx,gateway-error,reset,connect-failure,refused-stream,retriable-4xx,429'

/** What a host's policy allows; a host without one has Istio's default, which repeats what never reached an endpoint. */
export function retriesOf(host: string): { attempts: number; allowed: boolean } {
  if (host === 'plain' || host === 'narrow' || host === 'hashed') return { attempts: 2, allowed: false }
  return { attempts: RETRIES, allowed: host === 'allowed' }
}

export type ChaosVersion = 'http1' | 'http2' | 'mixed'

export interface WorldOptions {
  /** `address:port` of hostile upstreams, and of one that only gets copies. */
  readonly endpoints: readonly string[]
  readonly copies: string
  /** A port that refuses connections. */
  readonly dead: string
  /** What hosts declare: HTTP/1, HTTP/2, or every other host one of the two. */
  readonly version: ChaosVersion
  /** Without timeouts that a busy machine could run into: where nothing stalls, none is needed. */
  readonly patient: boolean
}

/** `generation` 0 has all endpoints; others leave some out, and bring one that is dead. */
export function mesh({ endpoints, copies, dead, patient, version }: WorldOptions, generation: number): string {
  const alive =
    generation === 0
      ? endpoints
      : endpoints.filter((_, i) => ((generation >> i) & 1) === 0 || i === generation % endpoints.length)
  const addresses = generation % 3 === 2 ? [...alive, dead] : alive
  const of = (list: readonly string[]) => list.map((address) => ({ address }))
  const retries = { attempts: RETRIES, retryOn: EVERYTHING, backoff: '1ms', ...(patient ? {} : { perTryTimeout: '250ms' }) }
  const [long, short] = patient ? [{}, {}] : [{ timeout: '1s' }, { timeout: '500ms' }]
  const to = (host: string) => [{ destination: { host } }]
  return yaml(
    ...HOSTS.map((host, i) => service({ host, endpoints: of(addresses), protocol: protocolOf(version, i) })),
    service({ host: 'copies', endpoints: of([copies]), protocol: protocolOf(version, 1) }),
    virtualService('retrying', ['retrying'], [{ name: `g${generation}`, ...long, retries, route: to('retrying') }]),
    annotated(virtualService('allowed', ['allowed'], [{ ...long, retries, route: to('allowed') }])),
    virtualService('plain', ['plain'], [{ ...short, route: to('plain') }]),
    virtualService('mirrored', ['mirrored'], [{ ...long, retries, mirror: { host: 'copies' }, route: to('mirrored') }]),
    virtualService('narrow', ['narrow'], [{ ...short, route: to('narrow') }]),
    virtualService(
      'late',
      ['late'],
      [{ ...long, retries, fault: { delay: { fixedDelay: '5ms', percentage: { value: 50 } } }, route: to('late') }],
    ),
    virtualService('ejecting', ['ejecting'], [{ ...long, retries, route: to('ejecting') }]),
    virtualService('hashed', ['hashed'], [{ ...short, route: to('hashed') }]),
    destinationRule('ejecting', 'ejecting', {
      trafficPolicy: {
        outlierDetection: { consecutive5xxErrors: 3, interval: '100ms', baseEjectionTime: '200ms', maxEjectionPercent: 60 },
      },
    }),
    destinationRule('hashed', 'hashed', {
      trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: 'x-request-id', maglev: { tableSize: 251 } } } },
    }),
    destinationRule('narrow', 'narrow', {
      trafficPolicy: {
        connectionPool: {
          tcp: { maxConnections: 3 },
          http: { http1MaxPendingRequests: 2, http2MaxRequests: 4, maxRequestsPerConnection: 5 },
        },
      },
    }),
    destinationRule('retrying', 'retrying', {
      trafficPolicy: { connectionPool: { http: { maxRetries: 20 } }, loadBalancer: { simple: 'LEAST_REQUEST' } },
    }),
  )
}

function protocolOf(version: ChaosVersion, i: number): 'HTTP' | 'HTTP2' {
  return version === 'http2' || (version === 'mixed' && i % 2 === 1) ? 'HTTP2' : 'HTTP'
}

/** What the operator of this host says: whatever it is, send it again. */
function annotated<R extends Readonly<Record<string, unknown>>>(resource: R): R {
  const metadata = resource['metadata'] as Readonly<Record<string, unknown>>
  return { ...resource, metadata: { ...metadata, annotations: { 'heddle.io/unsafe-retries': 'allow' } } }
}
