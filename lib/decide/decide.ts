// Hot lane: runs once for each request, on what was compiled when configuration changed. Pure: chance, health and addresses
// come in with the facts, so that the explainer and what-if runs get the same answer from the same function.
import type { BalancedCluster } from '../cluster/lb/balanced-cluster.ts'
import type { ClusterDirectory } from '../cluster/lb/cluster-ref.ts'
import type { Host } from '../cluster/lb/host.ts'
import type { PickContext } from '../cluster/lb/picker.ts'
import { hostAndPort, hostOf, NO_PORT, portOf } from '../route/authority.ts'
import type { CompiledTable, CompiledVirtualHost, Tables } from '../route/compile.ts'
import type { CompiledRoute, CompiledWeighted } from '../route/compiled-route.ts'
import type { RouteHash } from '../route/hash-policy.ts'
import type { EditContext } from '../route/header-operators.ts'
import type { RequestView } from '../route/request-view.ts'
import type { CompiledSession } from '../route/session.ts'
import { balancesByHash } from '../state/cluster.ts'
import {
  type Decision,
  DIRECT_RESPONSE,
  FORWARD,
  NO_CLUSTER,
  NO_HEALTHY_UPSTREAM,
  NO_ROUTE,
  NO_VIRTUAL_HOST,
  REDIRECT,
} from './decision.ts'
import { addLayerSteps } from './layer-steps.ts'
import {
  ENDPOINT,
  ENDPOINT_AGAIN,
  HASH,
  NO_CLUSTER_STEP,
  NO_ENDPOINT,
  NO_ROUTE_STEP,
  NO_TABLE,
  NO_VIRTUAL_HOST_STEP,
  ROUTE,
  SESSION,
  SESSION_KEPT,
  SESSION_LOST,
  SESSION_NEW,
  type StepRing,
  TABLE,
  TABLE_BY_DEFAULT,
  TABLE_BY_PORT,
  TABLE_FIXED,
  UNAVAILABLE,
  VERDICT,
  VIRTUAL_HOST,
  WEIGHT,
} from './steps.ts'

/** All that a decision depends on besides configuration. */
export interface Facts {
  readonly request: RequestView
  /** Name of the table that this listener always uses; empty: the authority's port chooses, else the host's default port. */
  readonly routeTable: string
  /** Uniform in 0 … 2³²−1, fixed for the request: chooses among weighted destinations. */
  readonly draw: number
  readonly pick: PickContext
  /** The client's connection, and what edits of a hashed header read; null: not known. */
  readonly context: EditContext | null
  /** What keeps sessions with their endpoints, where a route does not say otherwise; `none`: nothing, whatever routes say. */
  readonly session: CompiledSession | 'routes' | 'none'
  /** Seconds of the epoch. */
  readonly nowSeconds: number
}

/** Fills `decision`, which has been reset, and begins the request's steps: `decision.steps` is what they are read by. */
export function decide(tables: Tables, facts: Facts, decision: Decision, steps: StepRing): void {
  decision.steps = steps.begin()
  decision.verdict = verdictOf(tables, facts, decision, steps)
  steps.add(VERDICT, decision.verdict, 0)
}

function verdictOf(tables: Tables, facts: Facts, decision: Decision, steps: StepRing): number {
  const host = hostOf(facts.request.authority)
  const table = tableFor(tables, facts, host, steps)
  if (table === null) return NO_VIRTUAL_HOST
  decision.table = table
  const found = table.find(table.config.ignorePort ? host : facts.request.authority)
  if (found === null) {
    steps.add(NO_VIRTUAL_HOST_STEP, table.index, 0)
    return NO_VIRTUAL_HOST
  }
  const virtualHost = table.virtualHosts[found.value] as CompiledVirtualHost
  decision.virtualHost = virtualHost
  steps.add(VIRTUAL_HOST, found.value, found.how)
  const route = virtualHost.match(facts.request, facts, steps)
  if (route === null) {
    steps.add(NO_ROUTE_STEP, virtualHost.routes.length, 0)
    return NO_ROUTE
  }
  decision.route = route
  steps.add(ROUTE, route.index, 0)
  if (route.action.kind === 'redirect') return REDIRECT
  if (route.action.kind === 'direct') return DIRECT_RESPONSE
  return forward(route, facts, decision, steps)
}

function tableFor(tables: Tables, facts: Facts, host: string, steps: StepRing): CompiledTable | null {
  if (facts.routeTable !== '') {
    const fixed = tables.tables.get(facts.routeTable) ?? null
    if (fixed === null) steps.add(NO_TABLE, 0, TABLE_FIXED)
    else steps.add(TABLE, fixed.index, TABLE_FIXED)
    return fixed
  }
  const asked = portOf(facts.request.authority)
  const why = asked === NO_PORT ? TABLE_BY_DEFAULT : TABLE_BY_PORT
  const port = asked === NO_PORT ? tables.defaultPort(host) : asked
  const table = tables.byPort.get(port) ?? null
  if (table === null) steps.add(NO_TABLE, port, why)
  else steps.add(TABLE, table.index, why)
  return table
}

function forward(route: CompiledRoute, facts: Facts, decision: Decision, steps: StepRing): number {
  const at = route.weighted.length === 1 ? 0 : drawDestination(route, facts.draw, decision, steps)
  const weighted = route.weighted[at] as CompiledWeighted
  decision.weighted = weighted
  const cluster = weighted.directory === null ? weighted.target.live() : clusterNamed(weighted.directory, weighted, facts)
  if (cluster === null) {
    steps.add(NO_CLUSTER_STEP, at, 0)
    return NO_CLUSTER
  }
  decision.cluster = cluster
  if (route.hash !== null && balancesByHash(cluster.config.loadBalancer))
    hashRequest(route, route.hash, weighted, facts, decision, steps)
  const { dialsHostAt } = cluster.config
  if (dialsHostAt !== 0) facts.pick.originalDst = decision.dialled = hostAndPort(facts.request.authority, dialsHostAt)
  if (cluster.unavailable !== 0) steps.add(UNAVAILABLE, cluster.unavailable, cluster.hosts.length)
  const session = facts.session === 'none' ? null : sessionOf(weighted, facts, decision)
  const kept = session === null ? null : keptHost(session, cluster, facts, decision, steps)
  const mustKeep = session?.config.strict === true && decision.sessionAddress !== ''
  const host = kept !== null || mustKeep ? kept : cluster.picker.pick(facts.pick)
  if (host === null) {
    steps.add(NO_ENDPOINT, cluster.hosts.length, 0)
    return NO_HEALTHY_UPSTREAM
  }
  decision.host = host
  if (cluster.layers !== null && kept === null) addLayerSteps(cluster.layers, host, 0, steps)
  steps.add(ENDPOINT, host.id, cluster.hosts.length)
  return FORWARD
}

/** By a header of the request; the first one of that name counts. */
function clusterNamed(
  directory: ClusterDirectory,
  { clusterHeader }: CompiledWeighted,
  { request }: Facts,
): BalancedCluster | null {
  const name = request.headers.get(clusterHeader)
  return name === null ? null : (directory.knownRef(name)?.live() ?? null)
}

function sessionOf(weighted: CompiledWeighted, facts: Facts, decision: Decision): CompiledSession | null {
  const session = weighted.session ?? facts.session
  if (session === 'none' || session === 'routes' || !session.concerns(facts.request)) return null
  decision.session = session
  return session
}

/** Of the session's endpoint only whether it may serve sessions counts, not what balancers prefer (Envoy override_host_status). */
function keptHost(
  session: CompiledSession,
  cluster: BalancedCluster,
  facts: Facts,
  decision: Decision,
  steps: StepRing,
): Host | null {
  const address = session.addressOf(facts.request, facts.nowSeconds)
  decision.sessionAddress = address
  const host = address === '' ? null : cluster.hostAt(address)
  const kept = host?.keepsSessions ? host : null
  steps.add(SESSION, address === '' ? SESSION_NEW : kept !== null ? SESSION_KEPT : SESSION_LOST, host === null ? -1 : host.id)
  return kept
}

function hashRequest(
  route: CompiledRoute,
  hash: RouteHash,
  weighted: CompiledWeighted,
  facts: Facts,
  decision: Decision,
  steps: StepRing,
): void {
  const { pick } = facts
  hash.compute(facts, route, weighted, pick)
  decision.hashed = pick.hashed
  decision.hashHigh = pick.hashHigh
  decision.hashLow = pick.hashLow
  decision.cookiesMade = hash.made
  decision.cookie = hash.cookie
  steps.add(HASH, hash.used, hash.made)
}

/** Index of the first destination whose end is above the draw (Envoy: half-open intervals in the order of the entries). */
function drawDestination(route: CompiledRoute, draw: number, decision: Decision, steps: StepRing): number {
  const value = draw % route.totalWeight
  let at = 0
  while ((route.weighted[at] as CompiledWeighted).end <= value) at++
  decision.weightDraw = value
  steps.add(WEIGHT, value, at)
  return at
}

/**
 * Picks for another attempt: same destination, same cluster, a host that was not tried if one turns up within
 * `hostSelectionAttempts` more picks, else the last picked (Envoy: previous-hosts predicate). `ctx` holds new draws,
 * which are stirred for each further pick, and the hosts tried. False when there is no host at all; `decision` then says
 * NO_HEALTHY_UPSTREAM. A hash stays what it was for the first attempt.
 */
export function pickAgain(decision: Decision, ctx: PickContext, steps: StepRing): boolean {
  const cluster = decision.cluster
  if (cluster === null) return false
  const action = decision.route === null ? null : decision.route.action
  const retry = action !== null && action.kind === 'forward' ? action.retry : null
  if (retry?.remoteLocalities) ctx.avoidPriorities = prioritiesToAvoid(decision, ctx.tried)
  const morePicks = retry?.avoidPreviousHosts ? retry.hostSelectionAttempts : 0
  if (decision.dialled !== '') ctx.originalDst = decision.dialled
  ctx.again = 0
  ctx.hashed = decision.hashed
  ctx.hashHigh = decision.hashHigh
  ctx.hashLow = decision.hashLow
  let host = cluster.picker.pick(ctx)
  let picks = 1
  while (host !== null && picks <= morePicks && wasTried(host, ctx.tried)) {
    ctx.draw = stir(ctx.draw)
    ctx.draw2 = stir(ctx.draw2)
    ctx.again = picks
    host = cluster.picker.pick(ctx)
    picks++
  }
  decision.host = host
  if (decision.avoided !== ctx.avoidPriorities) {
    // There was nothing else left: what was tried is forgotten.
    decision.avoided = 0
    decision.avoidedFrom = ctx.tried === null ? 0 : ctx.tried.length
  }
  if (cluster.unavailable !== 0) steps.addTo(decision.steps, UNAVAILABLE, cluster.unavailable, cluster.hosts.length)
  if (host === null) {
    decision.verdict = NO_HEALTHY_UPSTREAM
    steps.addTo(decision.steps, NO_ENDPOINT, cluster.hosts.length, 0)
    return false
  }
  decision.verdict = FORWARD
  steps.resume(decision.steps)
  if (cluster.layers !== null) addLayerSteps(cluster.layers, host, decision.avoided, steps)
  steps.add(ENDPOINT_AGAIN, host.id, picks)
  return true
}

/** Priorities of hosts tried so far; looked at anew after every second attempt (Envoy previous_priorities with update_frequency 2). */
function prioritiesToAvoid(decision: Decision, tried: readonly Host[] | null): number {
  const attempts = tried === null ? 0 : tried.length - decision.avoidedFrom
  if (tried !== null && attempts > 0 && attempts % 2 === 0) {
    for (let i = decision.avoidedFrom; i < tried.length; i++) {
      const { priority } = (tried[i] as Host).endpoint
      // More priorities than bits: those are never avoided.
      if (priority < 31) decision.avoided |= 1 << priority
    }
  }
  return decision.avoided
}

function wasTried(host: Host, tried: readonly Host[] | null): boolean {
  if (tried === null) return false
  for (let i = 0; i < tried.length; i++) {
    if (tried[i] === host) return true
  }
  return false
}

/** Another uniform draw made of one: a bijection of 32-bit numbers (the finaliser of MurmurHash3 after a step). */
function stir(draw: number): number {
  let x = (draw + 0x9e3779b9) | 0
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}
