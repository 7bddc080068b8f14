// Secrets that the configuration names, with what they hold. They go to the workers beside the snapshot, never in it.
import { secretNames } from '../../../state/secret-names.ts'
import type { Snapshot } from '../../../state/snapshot.ts'
import type { Credential } from '../../../transport/secrets.ts'
import { materialOf } from '../../key-material.ts'
import type { World } from '../world.ts'
import { secretName } from './server-tls.ts'

/** Notes of the others that nobody names them. */
export function credentialsOf(world: World, snapshot: Snapshot): Credential[] {
  const wanted = new Set(secretNames(snapshot))
  return world.objects('Secret').flatMap((object): Credential[] => {
    const name = secretName(object.namespace, object.name)
    if (!wanted.has(name)) {
      world.verdicts.waiting(object, 'waiting for a Gateway or DestinationRule that names it; it is not used')
      return []
    }
    const { rootsPem, ...pair } = materialOf(object.spec)
    return [{ name, ...pair, rootsPem: rootsPem === '' ? [] : [rootsPem] }]
  })
}
