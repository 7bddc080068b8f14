// A route made ready for requests. Built when configuration changes, read-only afterwards.
import { compileRegex, compileTemplate, type Regex, type RegexTemplate } from '../base/regex.ts'
import type { ClusterDirectory, ClusterRef } from '../cluster/lb/cluster-ref.ts'
import type {
  Fault,
  ForwardAction,
  HashPolicy,
  HostRewrite,
  Mirror,
  PathRewrite,
  RequestShare,
  Route,
  RouteAction,
  RouteFilters,
  WeightedCluster,
} from '../state/route.ts'
import { CompiledHeader, CompiledPath, CompiledQuery } from './conditions.ts'
import { CompiledCors } from './cors.ts'
import { RouteHash } from './hash-policy.ts'
import { type CompiledEdits, compileEdits } from './header-edits.ts'
import type { EditContext } from './header-operators.ts'
import { CompiledMetadata } from './metadata-condition.ts'
import type { RequestView } from './request-view.ts'
import { CompiledSession } from './session.ts'

/** A destination of a route. */
export interface CompiledWeighted extends CompiledFilters {
  readonly config: WeightedCluster
  /** Without a live cluster the answer is `clusterNotFoundStatus`. Where a header names it, of no use. */
  readonly target: ClusterRef
  /** What knows the cluster that a header names; null: `target` it is. */
  readonly directory: ClusterDirectory | null
  /** In lower case. */
  readonly clusterHeader: string
  /** Sum of the weights up to and with this one; the draw takes the first whose end is above it. */
  readonly end: number
  readonly requestEdits: CompiledEdits | null
  readonly responseEdits: CompiledEdits | null
  /** Empty: not rewritten. */
  readonly hostRewrite: string
}

/** What optional filters do for a destination. */
export interface CompiledFilters {
  readonly fault: Fault | null
  readonly cors: CompiledCors | null
  /** null: as the listener has it. */
  readonly session: CompiledSession | 'none' | null
}

export interface CompiledMirror {
  readonly config: Mirror
  /** Without a live cluster it is skipped silently. */
  readonly target: ClusterRef
}

export interface CompiledPathRewrite {
  readonly kind: PathRewrite['kind']
  readonly value: string
  /** Both null unless kind is `regex`, or when they do not compile: then the path stays. */
  readonly regex: Regex | null
  readonly template: RegexTemplate | null
}

/** Of a header, or of the path by a pattern. */
export interface CompiledHostRewrite {
  /** In lower case; empty: see the others. */
  readonly header: string
  readonly regex: Regex | null
  readonly template: RegexTemplate | null
}

/** What a match depends on besides the request itself. */
export interface MatchFacts {
  /** Uniform in 0 … 2³²−1, fixed for the request: the same for all routes, and for their destinations (Envoy). */
  readonly draw: number
  /** The client's connection; null: not known. */
  readonly context: EditContext | null
}

function showsCertificate({ context }: MatchFacts): boolean {
  return (context?.downstreamTls?.peerCertificate ?? null) !== null
}

/** The route fits. */
export const FITS = -1

export class CompiledRoute {
  readonly config: Route
  readonly action: RouteAction
  /** Position in its virtual host. */
  readonly index: number
  readonly path: CompiledPath | null
  readonly headers: readonly CompiledHeader[]
  readonly query: readonly CompiledQuery[]
  readonly metadata: readonly CompiledMetadata[]
  readonly share: RequestShare | null
  readonly certificate: boolean | null
  readonly requestEdits: CompiledEdits | null
  readonly responseEdits: CompiledEdits | null
  /** Empty unless the action forwards. */
  readonly weighted: readonly CompiledWeighted[]
  /** End of the last of `weighted`. */
  readonly totalWeight: number
  readonly mirrors: readonly CompiledMirror[]
  /** Of a redirect only one by a pattern. */
  readonly pathRewrite: CompiledPathRewrite | null
  readonly hostRewrite: CompiledHostRewrite | null
  /** null: requests have no hash. */
  readonly hash: RouteHash | null

  constructor(config: Route, index: number, clusters: ClusterDirectory) {
    const action = config.action
    this.config = config
    this.action = action
    this.index = index
    this.path = config.match.path === null ? null : new CompiledPath(config.match.path)
    this.headers = config.match.headers.map((h) => new CompiledHeader(h))
    this.query = config.match.query.map((q) => new CompiledQuery(q))
    this.metadata = config.match.metadata.map((m) => new CompiledMetadata(m))
    this.share = config.match.share
    this.certificate = config.match.certificate
    this.requestEdits = compileEdits(config.requestEdits)
    this.responseEdits = compileEdits(config.responseEdits)
    this.weighted = action.kind === 'forward' ? compileWeighted(action, clusters) : []
    this.totalWeight = this.weighted.at(-1)?.end ?? 0
    this.mirrors = action.kind === 'forward' ? action.mirrors.map((m) => ({ config: m, target: clusters.refOf(m.cluster) })) : []
    this.pathRewrite = rewriteOf(action)
    this.hostRewrite = action.kind === 'forward' && action.hostRewriteFrom !== null ? compileHost(action.hostRewriteFrom) : null
    this.hash = action.kind === 'forward' && action.hashPolicies.length > 0 ? this.#hashOf(action.hashPolicies) : null
  }

  /**
   * `FITS`, or the number of the first condition that fails: 0 is the path, then the headers, the query parameters and
   * what filters have found out, in the order of the configuration; last the share of requests and the client's certificate.
   */
  failedCondition(view: RequestView, facts: MatchFacts): number {
    if (this.path !== null && !this.path.holds(view.path)) return 0
    const headers = this.headers
    for (let i = 0; i < headers.length; i++) {
      if (!(headers[i] as CompiledHeader).holds(view)) return 1 + i
    }
    const query = this.query
    for (let i = 0; i < query.length; i++) {
      if (!(query[i] as CompiledQuery).holds(view.query)) return 1 + headers.length + i
    }
    const metadata = this.metadata
    for (let i = 0; i < metadata.length; i++) {
      if (!(metadata[i] as CompiledMetadata).holds(view)) return 1 + headers.length + query.length + i
    }
    const { share, certificate } = this
    if (share !== null && facts.draw % share.of >= share.part) return 1 + headers.length + query.length + metadata.length
    if (certificate !== null && showsCertificate(facts) !== certificate)
      return 2 + headers.length + query.length + metadata.length
    return FITS
  }

  #hashOf(policies: readonly HashPolicy[]): RouteHash {
    return new RouteHash(policies, [this.requestEdits, ...this.weighted.map((w) => w.requestEdits)])
  }

  /** Characters at the front of a matching path that a prefix rewrite replaces; without a condition on the path the `/`. */
  matchedLength(path: string): number {
    return this.path === null ? 1 : this.path.matchedLength(path)
  }
}

function compileWeighted(action: ForwardAction, clusters: ClusterDirectory): readonly CompiledWeighted[] {
  const configs: readonly WeightedCluster[] = action.clusters
  const ofRoute = compileFilters(action)
  let end = 0
  return configs.map((config) => {
    // A single destination takes everything, whatever its weight.
    end += configs.length === 1 ? Math.max(1, config.weight) : config.weight
    return {
      config,
      target: clusters.refOf(config.cluster),
      directory: config.clusterHeader === '' ? null : clusters,
      clusterHeader: config.clusterHeader.toLowerCase(),
      end,
      requestEdits: compileEdits(config.requestEdits),
      responseEdits: compileEdits(config.responseEdits),
      hostRewrite: config.hostRewrite,
      ...(config.filters === null ? ofRoute : compileFilters(config.filters)),
    }
  })
}

function compileFilters({ fault, cors, session }: RouteFilters): CompiledFilters {
  return {
    fault,
    cors: cors === null ? null : new CompiledCors(cors),
    session: session === null || session === 'none' ? session : new CompiledSession(session),
  }
}

function rewriteOf(action: RouteAction): CompiledPathRewrite | null {
  if (action.kind === 'forward') return action.pathRewrite === null ? null : compileRewrite(action.pathRewrite)
  const regex = action.kind === 'redirect' ? action.regexRewrite : null
  return regex === null ? null : compileRewrite({ kind: 'regex', ...regex })
}

function compileHost(from: HostRewrite): CompiledHostRewrite {
  if (from.kind === 'header') return { header: from.name.toLowerCase(), regex: null, template: null }
  const { regex, template } = compileRewrite({ ...from, kind: 'regex' })
  return { header: '', regex, template }
}

function compileRewrite(rewrite: PathRewrite): CompiledPathRewrite {
  const none = { kind: rewrite.kind, value: rewrite.value, regex: null, template: null }
  if (rewrite.kind !== 'regex') return none
  const compiled = compileRegex(rewrite.pattern)
  if (!compiled.ok) return none
  const template = compileTemplate(rewrite.value, compiled.regex.groupCount())
  return template.ok ? { ...none, regex: compiled.regex, template: template.template } : none
}
