// The waypoint: layer 7 for a namespace; nothing is intercepted, tunnels lead to it.
//
//   node tunnels ──▶ 15008 connect_terminate ──▶ each CONNECT stream: main_internal ──▶ filter chain: by the address that the client dialled
//                      filter/network/tunnel-terminator.ts                               http: routes of that service ──▶ cluster
//                                                                                        cluster ──▶ endpoint through its own tunnel (hbone/)
//
// Who asks is who the tunnel's certificate says.
import type { RoleAssembly } from './role.ts'

export const waypoint: RoleAssembly = {
  needs: () => [],
  needsIdentity: () => true,
}
