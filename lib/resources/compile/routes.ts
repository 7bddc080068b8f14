// The routes of one VirtualService on the table of one port: each match one route, in order, up to the first catch-all.
import type { Route } from '../../state/route.ts'
import { isGatewayApi } from './gateway-api/derived.ts'
import type { DestinationHashes } from './hash-policies.ts'
import { compileHeaders, joinEdits } from './header-edits.ts'
import { compileDirectResponse, compileForward, compileRedirect } from './route-action.ts'
import { compileMatch, IN_MESH, isCatchAll, isForClient, MATCH_ALL, type RuleScope } from './route-match.ts'
import type { HttpRule, VirtualServiceRules } from './rules.ts'
import type { World } from './world.ts'

/** Empty when no rule is for this client on this port: then the VirtualService does not take part there. */
export function compileRoutes(
  world: World,
  rules: VirtualServiceRules,
  port: number,
  hashes: DestinationHashes,
  scope: RuleScope = IN_MESH,
): Route[] {
  const routes: Route[] = []
  const { namespace } = rules.object
  for (const rule of rules.http) {
    if (rule.matches.length === 0) {
      routes.push(compileRoute(world, rules, rule, null, port, hashes, scope))
      return routes
    }
    for (const match of rule.matches) {
      if (!isForClient(match.spec, world.client, port, namespace, scope)) continue
      const route = compileRoute(world, rules, rule, match, port, hashes, scope)
      routes.push(route)
      if (isCatchAll(route.match)) return routes
    }
  }
  return routes
}

function compileRoute(
  world: World,
  rules: VirtualServiceRules,
  rule: HttpRule,
  match: HttpRule['matches'][number] | null,
  port: number,
  hashes: DestinationHashes,
  scope: RuleScope,
): Route {
  const { spec } = rule
  const matchName = match?.spec.name ?? ''
  const compiled = match === null ? MATCH_ALL : compileMatch(match.spec, isGatewayApi(rules.object))
  const headers = compileHeaders(spec.headers)
  const base = {
    name: `${spec.name ?? ''}${matchName === '' ? '' : `.${matchName}`}`,
    origin: rules.object.origin(match?.path ?? rule.path),
    match: compiled,
  }
  if (spec.redirect !== undefined) {
    return {
      ...base,
      action: compileRedirect(spec.redirect, port, scope.encrypted),
      requestEdits: headers.request,
      responseEdits: headers.response,
    }
  }
  if (spec.directResponse !== undefined) {
    return {
      ...base,
      action: compileDirectResponse(spec.directResponse),
      requestEdits: headers.request,
      responseEdits: headers.response,
    }
  }
  const { action, destinationHeaders } = compileForward(world, rule, compiled, port, headers.authority, hashes)
  const requestEdits = joinEdits(headers.request, destinationHeaders.request)
  return { ...base, action, requestEdits, responseEdits: joinEdits(headers.response, destinationHeaders.response) }
}

/** Says of the rules behind a catch-all, whatever the port and the client, that they are never asked. */
export function noteUnreachable(world: World, rules: VirtualServiceRules): void {
  let closed: HttpRule | undefined
  for (const rule of rules.http) {
    if (closed !== undefined && rule.actionObject === rules.object) {
      const name = closed.spec.name === undefined ? `http[${closed.path[1]}]` : `\`${closed.spec.name}\``
      world.verdicts.partly(rules.object, rule.path, `never reached: the rule ${name} before it takes every request`)
    }
    if (closed === undefined && takesAll(rule)) closed = rule
  }
}

function takesAll(rule: HttpRule): boolean {
  if (rule.matches.length === 0) return true
  return rule.matches.some(({ spec }) => {
    const conditional =
      (spec.port ?? 0) !== 0 ||
      Object.keys(spec.sourceLabels ?? {}).length > 0 ||
      (spec.sourceNamespace ?? '') !== '' ||
      (spec.gateways?.length ?? 0) > 0
    return !conditional && isCatchAll(compileMatch(spec))
  })
}
