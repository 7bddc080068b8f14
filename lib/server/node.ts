// The node tunnel: layer 4 for all pods of a node.
import type { RoleAssembly } from './role.ts'

export const node: RoleAssembly = {
  needs: () => [],
  needsIdentity: () => false,
}
