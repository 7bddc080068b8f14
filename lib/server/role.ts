// What the four roles have in common: the same rooms, assembled differently. Each has a file of its own that shows its whole stack.
import type { BootstrapConfig, Role } from '../state/bootstrap-config.ts'
import { type Ability, lacking } from '../sys/capabilities.ts'
import { gateway } from './gateway.ts'
import type { MakeRolePart } from './role-part.ts'
import { sidecar } from './sidecar.ts'
import { StartError } from './start-error.ts'
import { waypoint } from './waypoint.ts'

export interface RoleAssembly {
  /** What of the system it cannot do without, as it is configured. */
  needs(bootstrap: BootstrapConfig): readonly Ability[]
  /** It is nobody without a certificate, and does not start without a source of one. */
  needsIdentity(bootstrap: BootstrapConfig): boolean
  /** What would go wrong later without a word. `uid`: whom the process runs as; -1: the system has none. */
  warnings?(bootstrap: BootstrapConfig, uid: number): readonly string[]
  /** What it adds to the main thread; without it nothing. */
  readonly part?: MakeRolePart
}

const ROLES: Readonly<Record<Exclude<Role, 'node'>, RoleAssembly>> = { sidecar, waypoint, gateway }

/** What a role is made of. That of a node brings the client of a control plane along, and is loaded by nodes only. */
export async function assemblyOf(role: Role): Promise<RoleAssembly> {
  return role === 'node' ? (await import('./node.ts')).node : ROLES[role]
}

/** Throws a StartError that says what is missing, and what to do. */
export function checkRole(assembly: RoleAssembly, bootstrap: BootstrapConfig): void {
  const { role, file, identity } = bootstrap
  const lacks = lacking(assembly.needs(bootstrap))
  if (lacks.length > 0) throw new StartError('bind', `role ${role}: ${lacks.map((l) => l.sentence).join(' ')}`)
  if (assembly.needsIdentity(bootstrap) && identity.source === 'none')
    throw new StartError(
      'config',
      `role ${role} speaks mutual TLS only, so it needs a source of certificates: set identity.source (${file})`,
    )
}

export function roleWarnings(
  assembly: RoleAssembly,
  bootstrap: BootstrapConfig,
  uid = process.getuid?.() ?? -1,
): readonly string[] {
  return assembly.warnings?.(bootstrap, uid) ?? []
}
