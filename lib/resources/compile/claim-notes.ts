// Routes by claims where no token is verified before a route is chosen: `check` says so.
import { routingClaim } from '../validate/routing-claim.ts'
import { selectPolicies } from './authorization/selection.ts'
import type { VirtualServiceRules } from './rules.ts'
import type { World } from './world.ts'

export function noteClaimRoutes(world: World, { object, http }: VirtualServiceRules): void {
  const matches = http
    .flatMap((rule) => rule.matches)
    .filter(({ spec }) => Object.keys({ ...spec.headers, ...spec.withoutHeaders }).some((name) => routingClaim(name) !== null))
  if (matches.length === 0 || world.servesOthers) return
  const inMesh = 'claims choose routes at gateways and waypoints only: here no token is verified before, and there are none'
  const untold = 'no RequestAuthentication holds for this gateway: no token is verified, and there are no claims'
  const why = !world.isGateway ? inMesh : selectPolicies(world, null, 'RequestAuthentication').length === 0 ? untold : null
  if (why === null) return
  for (const { spec, path } of matches) {
    const gateways = spec.gateways ?? object.spec.gateways ?? ['mesh']
    const ours = gateways.length === 0 || gateways.includes('mesh')
    if (ours !== world.isGateway) world.verdicts.partly(object, path, why)
  }
}
