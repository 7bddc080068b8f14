// The gateway: the edge of the mesh.
//
//   clients ──▶ ports of Gateways ──▶ filter chain: by server name ──▶ http: route table of the port and its hosts ──▶ cluster
//                                     TLS with the certificate of that name, or passed through by it ──▶ cluster
//                                     cluster ──▶ endpoint: mTLS into the mesh
//
// Certificates of the outside come from Secrets and files (server/secrets-keeper.ts), the mesh's from identity/source/.
import type { RoleAssembly } from './role.ts'

export const gateway: RoleAssembly = {
  needs: () => [],
  needsIdentity: () => false,
}
