// What becomes of a connection to one of the node's workloads, as data.
import type { L4Verdict } from '../../policy/l4-authorizer.ts'
import type { MeshService } from '../../state/mesh-service.ts'
import type { PeerIdentity } from '../../state/peer-identity.ts'
import type { Workload, WorkloadInfo } from '../../state/workload.ts'
import type { IpPort } from './outbound-decision.ts'
import type { TunnelStep } from './tunnel-steps.ts'

/** Plain text, on the captured port. */
export interface PlainFacts {
  /** The workload whose network namespace the connection came to; null: it has not been told yet. */
  readonly local: Workload | null
  readonly localInfo: WorkloadInfo
  readonly source: IpPort
  /** What the client dialled. */
  readonly destination: IpPort
  readonly ownPorts: readonly number[]
  /** The application sees the client's address (ENABLE_ORIG_SRC). */
  readonly keepSource: boolean
}

/** A CONNECT in a tunnel; `destination` is the address that the tunnel itself came to. */
export interface HboneFacts extends PlainFacts {
  readonly method: string
  readonly authority: string
  /** Of the certificate, never of a header. */
  readonly identity: PeerIdentity | null
  /** `x-forwarded-network`: where the tunnel began, when a gateway of ours passed it on; empty: not said. */
  readonly forwardedNetwork: string
  /** `host` of `forwarded`: the service that the client addressed, for telemetry; empty: not said. */
  readonly forwardedHost: string
  /** An application tunnel is reached on loopback, where nobody gets to it without the tunnel. */
  readonly localTunnel: boolean
}

/** To be written before the first byte, as PROXY protocol version 2. */
export interface ProxyHeader {
  readonly source: IpPort
  readonly destination: IpPort
  readonly identity: string
}

export interface InboundDecision {
  /** connect: dial `target`, then 200 and copy; when that fails 503. refuse: `status`, or close plain text without a word. */
  readonly verdict: 'connect' | 'refuse'
  readonly status: 200 | 400 | 401 | 503
  /** Response flag of the refusal. */
  readonly flag: 'DENY' | ''
  /** ztunnel's words for the access log; empty unless refused. */
  readonly error: string
  /** Always an address of the workload itself, or loopback, whatever was asked for. */
  readonly target: IpPort | null
  /** Address to bind first; null: the system's choice. */
  readonly bindIp: string | null
  readonly proxyHeader: ProxyHeader | null
  readonly workload: Workload | null
  /** For telemetry: which service was meant, and who sent it as far as its address tells. */
  readonly service: MeshService | null
  readonly source: Workload | null
  readonly l4: L4Verdict | null
  readonly steps: readonly TunnelStep[]
}
