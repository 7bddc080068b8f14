// The sidecar: one workload, layer 7 on both sides.
//
//   application ──▶ 15001 virtualOutbound ──▶ the listener of what it dialled ──▶ filter chain: by ALPN, server name, first bytes
//                     resources/compile/capture/outbound-*.ts                       http: route table of the port ──▶ cluster
//                     not known: PassthroughCluster, or refused                     tcp:  cluster
//                                                                                   cluster ──▶ endpoint: plaintext, mTLS, or HBONE
//   peers ───────▶ 15006 virtualInbound ────▶ filter chain: by port, mTLS mode, ALPN ──▶ inbound|PORT|| ──▶ application, from 127.0.0.6
//                     resources/compile/capture/inbound-*.ts
//   peers ───────▶ 15008 connect_terminate ─▶ each CONNECT stream: main_internal ──▶ the same chains without TLS
//                     filter/network/tunnel-terminator.ts
//   clients ─────▶ listeners of heddle.yaml
//                     resources/compile/listeners.ts
//
// Rules that lead packets to 15001 and 15006: `heddle iptables`. Certificates: identity/source/. Policies: PeerAuthentication, DestinationRule.
import type { Ability } from '../sys/capabilities.ts'
import type { RoleAssembly } from './role.ts'

const BY_CAPTURE: Readonly<Record<'none' | 'redirect' | 'tproxy', readonly Ability[]>> = {
  none: [],
  redirect: ['original-destination'],
  // The application sees its client's address, so we speak with it.
  tproxy: ['original-destination', 'transparent', 'mark'],
}

/** Of the rules' default. */
const PROXY_UID = 1337
const LOOP = `capture.mode tproxy as user ${PROXY_UID}: the rules would lead what is sent to the application back here, without end; run as user 0 with group ${PROXY_UID}`

export const sidecar: RoleAssembly = {
  needs: ({ capture }) => BY_CAPTURE[capture.mode],
  // In a mesh without identities everything is plaintext.
  needsIdentity: () => false,
  // Istio's rules take what user 1337 sends to its own pod for a request to be captured, and with the client's address as its source nothing else tells it apart.
  warnings: ({ capture }, uid) => (capture.mode === 'tproxy' && uid === PROXY_UID ? [LOOP] : []),
}
