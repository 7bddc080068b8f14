// Turns the steps of a request into sentences, for `heddle explain` and the admin page. Loaded only when somebody asks.
// Everything said here comes from the steps, the tables they were taken on and the request; nothing is decided again.
import type { Host } from '../cluster/lb/host.ts'
import type { CompiledTable, CompiledVirtualHost, Tables } from '../route/compile.ts'
import type { CompiledRoute, CompiledWeighted } from '../route/compiled-route.ts'
import type { RequestView } from '../route/request-view.ts'
import { rewriteTarget } from '../route/rewrite.ts'
import { balancesByHash } from '../state/cluster.ts'
import { BUILT_IN, type Origin, originText } from '../state/origin.ts'
import { decide, type Facts } from './decide.ts'
import { Decision, FORWARD, NO_HEALTHY_UPSTREAM, NO_VIRTUAL_HOST, UNDECIDED, VERDICT_WORDS } from './decision.ts'
import { failedConditionOf, metadataText } from './explain-condition.ts'
import { filterText, filterWord, mirrorText } from './explain-filters.ts'
import { hashText, NO_POLICY_TEXT } from './explain-hash.ts'
import { localityText, priorityText, readPriority, type ToldPriority } from './explain-layers.ts'
import { notRetriedText, retriedText, writtenText } from './explain-retry.ts'
import { overflowText, policyOf, retryOf, timersOf } from './explain-terms.ts'
import { tlsText } from './explain-tls.ts'
import { howText, noneOf, noTableText, OUTCOMES, plural, unknownHost } from './explain-words.ts'
import {
  type Answer,
  type ExplainedAttempt,
  type ExplainedCondition,
  type ExplainedStep,
  type ExplainedWeight,
  type Explanation,
  type ObjectRef,
  refOf,
} from './explanation.ts'
import * as S from './steps.ts'

export interface ExplainInput {
  readonly id: string
  readonly request: RequestView
  /** As `StepRing.read` returns them. */
  readonly steps: Int32Array
  /** Those that the request was decided on. */
  readonly tables: Tables
  /** `ip:port` that the client dialled; empty: not known. */
  readonly dialled: string
  readonly answer: Answer | null
}

/** Explains a request that has not happened: decides it and reads the steps. */
export function explainRequest(tables: Tables, facts: Facts, id: string): Explanation {
  const ring = new S.StepRing(65_536)
  const decision = new Decision()
  decide(tables, facts, decision, ring)
  const steps = ring.read(decision.steps) ?? new Int32Array(0)
  return explain({ id, request: facts.request, steps, tables, dialled: facts.pick.originalDst, answer: null })
}

export function explain(input: ExplainInput): Explanation {
  const story = new Story(input)
  for (let i = 0; i + 2 < input.steps.length; i += 3) {
    story.tell(input.steps[i] as number, input.steps[i + 1] as number, input.steps[i + 2] as number)
  }
  return story.end()
}

/** What is known so far while the steps are gone through. */
class Story {
  readonly #input: ExplainInput
  readonly #steps: ExplainedStep[]
  readonly #attempts: ExplainedAttempt[]
  /** Routes whose path fitted, by index: the condition that failed. */
  readonly #failed: Map<number, number>
  #verdict: number
  #table: CompiledTable | null
  #virtualHost: CompiledVirtualHost | null
  #route: CompiledRoute | null
  #weighted: CompiledWeighted | null
  #weight: ExplainedWeight | null
  #endpoint: string | null
  #host: Host | null
  #unavailable: Explanation['unavailable']
  /** A step has told of the request's hash. */
  #hashed: boolean
  /** Of the pick that is being told. */
  #priorities: ToldPriority[]

  constructor(input: ExplainInput) {
    this.#input = input
    this.#steps = []
    this.#attempts = []
    this.#failed = new Map()
    this.#verdict = UNDECIDED
    this.#table = null
    this.#virtualHost = null
    this.#route = null
    this.#weighted = null
    this.#weight = null
    this.#endpoint = null
    this.#host = null
    this.#unavailable = null
    this.#hashed = false
    this.#priorities = []
  }

  tell(code: number, a: number, b: number): void {
    switch (code) {
      case S.TABLE:
        this.#table = this.#input.tables.list[a] ?? null
        this.#say('table', this.#tableText(b))
        break
      case S.NO_TABLE:
        this.#say('table', noTableText(a, b))
        break
      case S.VIRTUAL_HOST:
        this.#virtualHost = this.#table?.virtualHosts[a] ?? null
        this.#sayVirtualHost(b)
        break
      case S.NO_VIRTUAL_HOST_STEP:
        this.#say('virtual-host', `no virtual host of table ${this.#table?.name ?? '?'} has ${quoted(this.#authority())}`)
        break
      case S.ROUTE_FAILED:
        this.#failed.set(a, b)
        break
      case S.ROUTE:
        this.#sayTried(a)
        this.#route = this.#virtualHost?.routes[a] ?? null
        this.#sayRoute()
        break
      case S.NO_ROUTE_STEP:
        this.#sayTried(a)
        this.#say('route', `none of the ${a} routes of virtual host ${this.#virtualHost?.name ?? '?'} fits`)
        break
      case S.WEIGHT:
        this.#sayWeight(a, b)
        break
      case S.NO_CLUSTER_STEP:
        this.#weighted = this.#route?.weighted[a] ?? null
        this.#say('cluster', `there is no cluster ${this.#clusterName() ?? '?'}`)
        break
      case S.PRIORITY:
        this.#notePriority(readPriority(a, b))
        break
      case S.LOCALITY:
        this.#say('locality', localityText(this.#weighted?.target.last?.config ?? null, a, b))
        break
      case S.ENDPOINT:
        this.#sayEndpoint(a, `of ${plural(b, 'endpoint')} in ${this.#clusterName() ?? '?'}`)
        break
      case S.ENDPOINT_AGAIN:
        // As `pickAgain` has it: the verdict is that of the last pick.
        this.#verdict = FORWARD
        this.#sayEndpoint(a, `for another attempt, after ${plural(b, 'pick')}`)
        break
      case S.UNAVAILABLE:
        this.#unavailable = { count: a, of: b, endpoints: [] }
        this.#say(
          'health',
          `${a} of ${plural(b, 'endpoint')} of ${this.#clusterName() ?? '?'} ${a === 1 ? 'was' : 'were'} not well`,
        )
        break
      case S.NO_ENDPOINT:
        this.#verdict = NO_HEALTHY_UPSTREAM
        this.#endpoint = null
        this.#host = null
        this.#say('endpoint', `${noneOf(a)} of ${this.#clusterName() ?? '?'} is available`)
        break
      case S.ATTEMPT:
        this.#sayAttempt(a, b)
        break
      case S.HASH:
        this.#hashed = true
        this.#say('hash', hashText(this.#route?.hash?.configs ?? [], a, b))
        break
      case S.SESSION:
      case S.FAULT:
      case S.CORS:
        this.#say(filterWord(code), filterText(code, a, b))
        break
      case S.MIRROR:
        this.#say('mirror', mirrorText(this.#route?.mirrors[a]?.config.cluster ?? '?', b))
        break
      case S.WRITTEN:
        this.#noteAttempt({ written: b !== 0 }, `attempt ${a}: ${writtenText(b !== 0)}`)
        break
      case S.RETRIED:
        this.#noteRetry(retriedText(a, b, this.#input.request.method))
        break
      case S.NOT_RETRIED:
        this.#noteRetry(notRetriedText(a, b, this.#input.request.method))
        break
      case S.VERDICT:
        this.#verdict = a
        break
      default:
        break
    }
  }

  end(): Explanation {
    const { id, request, answer } = this.#input
    const verdict = VERDICT_WORDS[this.#verdict] ?? 'undecided'
    this.#say('verdict', verdictText(this.#verdict, this.#route))
    const cluster = this.#weighted?.target.last ?? null
    const action = this.#route?.action ?? null
    const forward = action !== null && action.kind === 'forward' ? action : null
    return {
      id,
      at: null,
      tookMs: null,
      verdict,
      request: { method: request.method, authority: request.authority, path: withQuery(request.path, request.query) },
      virtualHost: this.#virtualHost?.name ?? null,
      route: this.#route === null ? null : { ...refOf(this.#route.config.origin), route: this.#route.config.name },
      cluster: this.#clusterName(),
      endpoint: this.#endpoint,
      listener: null,
      client: null,
      server: null,
      unavailable: this.#unavailable,
      weight: this.#weight,
      attempts: this.#attempts,
      timers: forward === null ? [] : timersOf(forward, cluster?.config ?? null),
      policy: forward === null || cluster === null ? [] : policyOf(cluster.config),
      retry: forward === null ? null : retryOf(forward),
      sends: forward === null ? null : this.#sends(),
      answer,
      objects: this.#objects(),
      steps: this.#steps,
    }
  }

  #say(step: ExplainedStep['step'], text: string, origin?: Origin, condition?: ExplainedCondition): void {
    this.#steps.push({ step, text, condition: condition ?? null, object: origin === undefined ? null : refOf(origin) })
  }

  #authority(): string {
    return this.#input.request.authority
  }

  #tableText(why: number): string {
    const name = this.#table?.name ?? '?'
    switch (why) {
      case S.TABLE_FIXED:
        return `route table ${name}: the listener always uses it`
      case S.TABLE_BY_PORT:
        return `route table ${name}: the port of authority ${quoted(this.#authority())}`
      default:
        return `route table ${name}: authority ${quoted(this.#authority())} names no port: its host's HTTP port, or 80 for an unknown host`
    }
  }

  #sayVirtualHost(how: number): void {
    const virtualHost = this.#virtualHost
    if (virtualHost === null) return
    const why = howText(how)
    const text = `virtual host ${virtualHost.name}: ${quoted(this.#authority())} ${why}`
    this.#say('virtual-host', text, virtualHost.config.origin)
  }

  /** The routes before `end`; those of which no step tells failed on their path, see TriedRoutes. */
  #sayTried(end: number): void {
    const routes = this.#virtualHost?.routes ?? []
    for (let i = 0; i < end && i < routes.length; i++) {
      const route = routes[i] as CompiledRoute
      const condition = failedConditionOf(route, this.#failed.get(i) ?? 0, this.#input.request)
      const { field, seen, wanted } = condition
      const text = `route ${nameOf(route)} does not fit: ${field}: seen ${seen}, wanted ${wanted}`
      this.#say('route-tried', text, route.config.origin, condition)
    }
  }

  #sayRoute(): void {
    const route = this.#route
    if (route === null) return
    this.#weighted = route.weighted.length === 1 ? (route.weighted[0] ?? null) : null
    const claims = route.metadata.map((m) => metadataText(m, this.#input.request))
    this.#say('route', `route ${nameOf(route)} fits${claims.length === 0 ? '' : `: ${claims.join('; ')}`}`, route.config.origin)
    if (this.#weighted !== null) this.#sayCluster()
  }

  #sayWeight(draw: number, at: number): void {
    const route = this.#route
    if (route === null) return
    this.#weighted = route.weighted[at] ?? null
    this.#weight = {
      draw,
      total: route.totalWeight,
      destinations: route.weighted.map((w, i) => ({
        cluster: w.config.cluster,
        weight: w.config.weight,
        from: w.end - w.config.weight,
        to: w.end,
        chosen: i === at,
      })),
    }
    const chosen = this.#weight.destinations[at]
    const range = chosen === undefined ? '' : `, which has ${chosen.from} to ${chosen.to - 1}`
    this.#say('weight', `drew ${draw} of ${route.totalWeight}: destination ${at + 1} of ${route.weighted.length}${range}`)
    this.#sayCluster()
  }

  #sayCluster(): void {
    const cluster = this.#weighted?.target.last ?? null
    if (cluster !== null) this.#say('cluster', `cluster ${cluster.name}`, cluster.config.origin)
  }

  #notePriority(told: ToldPriority): void {
    if (!told.chosen) {
      this.#priorities.push(told)
      return
    }
    this.#say('priority', priorityText(told, this.#priorities, this.#weighted?.target.last?.config.panicThreshold ?? 0))
    this.#priorities = []
  }

  #sayEndpoint(id: number, how: string): void {
    const policy = this.#weighted?.target.last?.config.loadBalancer
    if (!this.#hashed && policy !== undefined && balancesByHash(policy)) {
      this.#hashed = true
      this.#say('hash', NO_POLICY_TEXT)
    }
    const host = this.#hostById(id)
    this.#host = host
    const config = this.#weighted?.target.last?.config
    const { dialled } = this.#input
    // Hosts of addresses that configuration does not list come and go.
    if (config?.type === 'ORIGINAL_DST' && dialled !== '') this.#endpoint = dialled
    else this.#endpoint = host === null ? unknownHost(id, config) : host.address
    this.#say('endpoint', `picked ${this.#endpoint} ${how}`, host?.endpoint.origin)
    const tls = tlsText(this.#weighted?.target.last?.config, host?.endpoint)
    if (tls !== null) this.#say('tls', `${this.#endpoint} is spoken to ${tls.text}`, tls.origin)
  }

  #sayAttempt(number: number, code: number): void {
    const status = code >= 100 ? code : 0
    let outcome = status === 0 ? (OUTCOMES[code] ?? `outcome ${code}`) : String(status)
    if (code === S.OUTCOME_OVERFLOW) outcome += overflowText(this.#weighted?.target.last?.config ?? null)
    this.#attempts.push({ number, endpoint: this.#endpoint, status, outcome, written: true, retry: '' })
    this.#say('attempt', `attempt ${number} to ${this.#endpoint ?? '?'}: ${outcome}`)
  }

  /** More about the attempt told last. */
  #noteAttempt(more: Partial<ExplainedAttempt>, text: string): void {
    const last = this.#attempts.pop()
    if (last !== undefined) this.#attempts.push({ ...last, ...more })
    this.#say('attempt', text)
  }

  #noteRetry(retry: string): void {
    this.#noteAttempt({ retry }, `attempt ${this.#attempts.at(-1)?.number ?? '?'} is ${retry}`)
  }

  #hostById(id: number): Host | null {
    return this.#weighted?.target.last?.hosts.find((h) => h.id === id) ?? null
  }

  #clusterName(): string | null {
    return this.#weighted?.config.cluster ?? null
  }

  #sends(): Explanation['sends'] {
    const route = this.#route
    if (route === null || route.action.kind !== 'forward') return null
    const { path, query, authority } = this.#input.request
    const hostRewrite = route.action.hostRewrite === '' ? (this.#weighted?.hostRewrite ?? '') : route.action.hostRewrite
    return { path: rewriteTarget(route, path, query), authority: hostRewrite === '' ? authority : hostRewrite }
  }

  #objects(): Explanation['objects'] {
    const objects: (ObjectRef & { readonly role: string })[] = []
    const add = (role: string, origin: Origin | undefined): void => {
      if (origin !== undefined && origin.kind !== BUILT_IN.kind) objects.push({ role, ...refOf(origin) })
    }
    const cluster = this.#weighted?.target.last?.config
    add('virtual host', this.#virtualHost?.config.origin)
    add('route', this.#route?.config.origin)
    add('service', cluster?.origin)
    add('traffic policy', cluster?.policyOrigin)
    add('endpoint', this.#host?.endpoint.origin)
    return objects
  }
}

function verdictText(verdict: number, route: CompiledRoute | null): string {
  const word = VERDICT_WORDS[verdict] ?? 'undecided'
  const action = route?.action
  if (action?.kind === 'redirect') return `${word}: answered ${action.code}`
  if (action?.kind === 'direct') return `${word}: answered ${action.status}`
  return verdict === NO_VIRTUAL_HOST ? `${word}: answered 404` : word
}

function nameOf(route: CompiledRoute): string {
  const name = route.config.name
  return name === '' ? `${route.index + 1}, ${originText(route.config.origin)},` : name
}

function withQuery(path: string, query: string | null): string {
  return query === null ? path : `${path}?${query}`
}

function quoted(text: string): string {
  return JSON.stringify(text)
}
