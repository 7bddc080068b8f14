// HTTP filters of a connection manager, in their order: what each of them comes to. One that is not known makes the listener refused, since nobody can say what
// would pass without it.
import type { JwtAuthentication } from '../../state/jwt.ts'
import type { HttpSettings } from '../../state/listener.ts'
import { ALL_METRICS, type MetricTerms, NO_METRICS } from '../../state/metric-terms.ts'
import type { RbacFilter } from '../../state/rbac.ts'
import { HTTPFault } from '../proto/fault.ts'
import type { HttpFilter } from '../proto/http-connection-manager.ts'
import type { ChainScope, FilterTranslator } from './chain-scope.ts'
import { configOf } from './filter-config.ts'
import type { Findings } from './findings.ts'
import { headerMutation } from './http-filters/header-mutation.ts'
import { jwtAuthn } from './http-filters/jwt-authn.ts'
import { peerMetadata } from './http-filters/peer-metadata.ts'
import { httpRbac } from './http-filters/rbac.ts'
import { router } from './http-filters/router.ts'
import { httpFilterState } from './http-filters/set-filter-state.ts'
import { statefulSession } from './http-filters/stateful-session.ts'
import { httpWasm } from './http-filters/wasm.ts'
import { metricTermsOf } from './istio-stats.ts'

type FilterSetting = 'fault' | 'cors' | 'session' | 'grpcWeb' | 'envoyHeaders' | 'peers' | 'metrics' | 'grpcMessages'

/** What the filters of a chain ask for, as far as they have been read. */
export class HttpFilterDraft {
  jwt: JwtAuthentication | null
  readonly authorization: RbacFilter[]
  fault: boolean
  cors: boolean
  session: HttpSettings['session']
  grpcWeb: boolean
  envoyHeaders: boolean
  peers: HttpSettings['peers']
  /** null: nobody has said. */
  metrics: MetricTerms | null
  grpcMessages: boolean
  /** It has filters that only istiod writes. */
  isIstios: boolean
  /** x-forwarded-client-cert is replaced by who both ends of the tunnel are. */
  identities: boolean
  /** The router: what comes behind it never runs. */
  ends: boolean
  /** Place in heddle's own order of what came last. */
  stage: number

  constructor() {
    this.jwt = null
    this.authorization = []
    this.fault = false
    this.cors = false
    this.session = null
    this.grpcWeb = false
    this.envoyHeaders = true
    this.peers = null
    this.metrics = null
    this.grpcMessages = false
    this.isIstios = false
    this.identities = false
    this.ends = false
    this.stage = 0
  }

  get settings(): Pick<HttpSettings, FilterSetting> {
    const { fault, cors, session, grpcWeb, envoyHeaders, peers, grpcMessages, isIstios } = this
    // Who is no istiod has no word for them.
    const metrics = this.metrics ?? (isIstios ? NO_METRICS : ALL_METRICS)
    return { fault, cors, session, grpcWeb, envoyHeaders, peers, metrics, grpcMessages }
  }
}

type Translator = FilterTranslator<HttpFilterDraft>

const HTTP = 'envoy.extensions.filters.http.'

const stats: Translator = (config, draft, findings) => {
  draft.isIstios = true
  if (draft.metrics === null) draft.metrics = metricTermsOf(config, findings)
  else findings.note('metrics are counted once, as the filter in front says')
}
const grpcStats: Translator = (_config, draft) => {
  draft.grpcMessages = true
}
/** heddle names what it speaks inside of mutual TLS by itself (hbone and pool: ALPN of the mesh). */
const alpn: Translator = (_config, draft) => {
  draft.isIstios = true
}

/** What is injected, and who is allowed what, routes say; the filter says that they are heard. */
const fault: Translator = (config, draft, findings) => {
  const own = findings.unpack(config, HTTPFault)
  if ((own?.abort ?? own?.delay ?? null) !== null) findings.fault('faults for all routes are not injected; a route may say them')
  draft.fault = true
}
const grpcWeb: Translator = (_config, draft) => {
  draft.grpcWeb = true
}
const cors: Translator = (_config, draft) => {
  draft.cors = true
}

const notYet =
  (what: string): Translator =>
  (_config, _draft, findings) =>
    findings.fault(what)

/** In the order in which heddle does it (filter/http/chain.ts). */
const AUTHENTICATES = 1
const AUTHORIZES = 2
const GRPC_WEB = 3
const FAULTS = 4
const CORS = 5

interface Known {
  readonly translate: Translator
  /** 0: wherever it stands. */
  readonly stage: number
}

const anywhere = (translate: Translator): Known => ({ translate, stage: 0 })

const KNOWN: ReadonlyMap<string, Known> = new Map<string, Known>([
  ['io.istio.http.peer_metadata.Config', anywhere(peerMetadata)],
  ['stats.PluginConfig', anywhere(stats)],
  [`${HTTP}grpc_stats.v3.FilterConfig`, anywhere(grpcStats)],
  ['istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig', anywhere(alpn)],
  [`${HTTP}rbac.v3.RBAC`, { translate: httpRbac, stage: AUTHORIZES }],
  [`${HTTP}fault.v3.HTTPFault`, { translate: fault, stage: FAULTS }],
  [`${HTTP}cors.v3.Cors`, { translate: cors, stage: CORS }],
  [`${HTTP}router.v3.Router`, anywhere(router)],
  [`${HTTP}set_filter_state.v3.Config`, anywhere(httpFilterState)],
  [`${HTTP}header_mutation.v3.HeaderMutation`, anywhere(headerMutation)],
  [`${HTTP}stateful_session.v3.StatefulSession`, anywhere(statefulSession)],
  [`${HTTP}wasm.v3.Wasm`, anywhere(httpWasm)],
  [`${HTTP}jwt_authn.v3.JwtAuthentication`, { translate: jwtAuthn, stage: AUTHENTICATES }],
  [`${HTTP}ext_authz.v3.ExtAuthz`, anywhere(notYet('authorizers outside of the proxy (CUSTOM) are not asked yet'))],
  [`${HTTP}grpc_web.v3.GrpcWeb`, { translate: grpcWeb, stage: GRPC_WEB }],
  [`${HTTP}ext_proc.v3.ExternalProcessor`, anywhere(notYet('external processors are not asked'))],
  // Clusters say it: whoever is sent to one of those is looked up.
  [`${HTTP}dynamic_forward_proxy.v3.FilterConfig`, anywhere(() => {})],
  [`${HTTP}lua.v3.Lua`, anywhere(notYet('Lua is not run'))],
])

export function translateHttpFilters(filters: readonly HttpFilter[], scope: ChainScope, findings: Findings): HttpFilterDraft {
  const draft = new HttpFilterDraft()
  for (const [i, filter] of filters.entries()) translateOne(filter, draft, scope, findings.at('http_filters', i))
  if (!draft.ends) findings.at('http_filters').fault('the last filter has to be the router')
  return draft
}

function translateOne(filter: HttpFilter, draft: HttpFilterDraft, scope: ChainScope, findings: Findings): void {
  if (draft.ends) {
    findings.fault(`the filter ${filter.name} is behind the router, which has to be the last`)
    return
  }
  if (filter.disabled) {
    findings.note(`the filter ${filter.name} is switched off unless a route says otherwise, which none can: it never runs`)
    return
  }
  const config = configOf(filter, scope, findings)
  if (config === null) return
  const known = KNOWN.get(config.typeName)
  if (known === undefined) {
    const text = `the filter ${filter.name} (${config.typeName}) is not understood`
    if (filter.is_optional) findings.note(`${text}; it is optional, and left out`)
    else findings.fault(text)
    return
  }
  if (known.stage !== 0 && known.stage < draft.stage)
    findings.note(`the filter ${filter.name} runs where heddle has it: tokens, authorization, gRPC-Web, faults, then CORS`)
  draft.stage = Math.max(draft.stage, known.stage)
  known.translate(config.config, draft, findings, scope, config.json)
}
