// The answer of `heddle explain` as data, and its JSON shape.
import type { Origin } from '../state/origin.ts'

/** An object that an operator wrote, or `kind: "default"`. Line and column are 1-based, 0 without a file. */
export interface ObjectRef {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly file: string
  readonly line: number
  readonly column: number
}

/** `headers[x-canary]: seen "false", wanted exact "true"`. */
export interface ExplainedCondition {
  /** As the operator wrote it: `uri`, `method`, `headers[x-canary]`, `queryParams[k]`. */
  readonly field: string
  /** Values in quotes, separated by commas when there are several; `nothing`. */
  readonly seen: string
  readonly wanted: string
}

export interface ExplainedTimer {
  readonly name: 'timeout' | 'perTryTimeout' | 'connectTimeout' | 'idleTimeout'
  /** 0: off. */
  readonly ms: number
  /** The object that set it; `kind: "default"` for none. */
  readonly setBy: ObjectRef
}

export interface ExplainedRetry {
  /** Beyond the first attempt. */
  readonly attempts: number
  readonly on: readonly string[]
  readonly baseIntervalMs: number
  readonly maxIntervalMs: number
  /** What is not known to be safe: `held-back`, or `allowed` by annotation or by `retries: exact`. */
  readonly unsafe: 'held-back' | 'allowed'
  readonly setBy: ObjectRef
}

export interface ExplainedStep {
  readonly step:
    | 'table'
    | 'virtual-host'
    | 'route-tried'
    | 'route'
    | 'weight'
    | 'cluster'
    | 'hash'
    | 'session'
    | 'priority'
    | 'locality'
    | 'health'
    | 'endpoint'
    | 'tls'
    | 'attempt'
    | 'fault'
    | 'cors'
    | 'mirror'
    /** Where a captured connection was going, and which filter chain took it. */
    | 'listener'
    /** Who the client is by its token, or what was wrong with that. */
    | 'token'
    /** What AuthorizationPolicies said of it. */
    | 'authorization'
    /** Who the other side of mTLS is. */
    | 'peer'
    | 'verdict'
  /** The sentence. */
  readonly text: string
  /** `route-tried`: what failed. */
  readonly condition: ExplainedCondition | null
  /** The object that the step is about; null for none. */
  readonly object: ObjectRef | null
}

export interface ExplainedAttempt {
  /** From 1. */
  readonly number: number
  readonly endpoint: string | null
  /** 0: no response. */
  readonly status: number
  /** `503`, `connect-failed`. */
  readonly outcome: string
  /** Bytes of the request may have gone to the endpoint. */
  readonly written: boolean
  /** Why another one followed or did not; empty when nothing had failed. */
  readonly retry: string
}

export interface UnavailableEndpoint {
  /** `ip:port`. */
  readonly address: string
  /** `ejected (consecutive_5xx): 5 failures in a row`. */
  readonly why: string
  /** ISO 8601; null: not known. */
  readonly since: string | null
  /** When it ended, or when it will at the earliest; null: not known. */
  readonly until: string | null
  /** The requests that led to it, `id: status`. */
  readonly requests: readonly string[]
}

/** `limits`: `maxConnections 100, http2MaxRequests 200`. */
export interface ExplainedPolicy {
  readonly name: 'load balancer' | 'limits' | 'outlier detection'
  readonly text: string
  readonly setBy: ObjectRef
}

export interface ExplainedWeight {
  readonly draw: number
  readonly total: number
  /** Each takes the draws from `from` up to but not with `to`. */
  readonly destinations: readonly {
    readonly cluster: string
    readonly weight: number
    readonly from: number
    readonly to: number
    readonly chosen: boolean
  }[]
}

export interface Explanation {
  readonly id: string
  /** When it came, ISO 8601; null: it has not happened. */
  readonly at: string | null
  /** From its first byte to its end, or until now; null: it has not happened. */
  readonly tookMs: number | null
  /** A word of decision.ts: `forward`, `no-route`; `denied` where authorization refused it. */
  readonly verdict: string
  readonly request: { readonly method: string; readonly authority: string; readonly path: string }
  readonly virtualHost: string | null
  /** The object, the line of its match or rule, and the route's own name. */
  readonly route: (ObjectRef & { readonly route: string }) | null
  readonly cluster: string | null
  /** `ip:port`. */
  readonly endpoint: string | null
  /** What took the client's connection; null: it has not happened. */
  readonly listener: ExplainedListener | null
  /** By TLS; null: plaintext, or it has not happened. */
  readonly client: ExplainedPeer | null
  readonly server: ExplainedPeer | null
  /** Endpoints that were ejected or failed their checks at the last pick; null: all were well. */
  readonly unavailable: {
    readonly count: number
    readonly of: number
    /** As far as the running proxy knows; workers alone know only how many. */
    readonly endpoints: readonly UnavailableEndpoint[]
  } | null
  readonly weight: ExplainedWeight | null
  readonly attempts: readonly ExplainedAttempt[]
  readonly timers: readonly ExplainedTimer[]
  /** How the destination's endpoints are chosen, limited and judged. */
  readonly policy: readonly ExplainedPolicy[]
  readonly retry: ExplainedRetry | null
  /** What goes upstream; null unless forwarded. */
  readonly sends: { readonly path: string; readonly authority: string } | null
  /** What the client got; null when it has not happened, or not yet. */
  readonly answer: Answer | null
  /** Every object that took part, each once. */
  readonly objects: readonly (ObjectRef & { readonly role: string })[]
  readonly steps: readonly ExplainedStep[]
}

export interface ExplainedListener {
  readonly name: string
  /** Its filter chain. */
  readonly chain: string
  /** `ip:port` that the client dialled; empty: the listener itself. */
  readonly dialled: string
}

/** What a TLS handshake showed of the other side. */
export interface ExplainedPeer {
  /** SPIFFE id; empty: it showed none. */
  readonly identity: string
  /** The one that it was shown; empty: none. */
  readonly own: string
  readonly version: string
  readonly sni: string
  readonly alpn: string
}

/** Of a connection that a node's tunnel has carried or refused; on one node both ends of a tunnel may be there, newest first. */
export interface ExplainedConnection {
  readonly id: string
  readonly verdict: 'carried' | 'refused'
  readonly connections: readonly {
    readonly direction: 'inbound' | 'outbound'
    readonly at: string
    readonly tookMs: number
    /** `ip:port`; identities are SPIFFE ids. Empty: none, or it did not come to that. */
    readonly source: string
    readonly sourceIdentity: string
    readonly destination: string
    readonly authority: string
    readonly destinationIdentity: string
    readonly bytesSent: number
    readonly bytesReceived: number
    /** Empty: it ended well. */
    readonly error: string
    readonly steps: readonly { readonly text: string; readonly object: ObjectRef | null }[]
  }[]
}

export interface Answer {
  readonly status: number
  /** `-`, `UH`, `URX,UF`. */
  readonly flags: string
  readonly details: string
}

export function refOf(origin: Origin): ObjectRef {
  const { kind, namespace, name, file, line, column } = origin
  return { kind, namespace, name, file, line, column }
}
