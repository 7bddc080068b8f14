// envoy.filters.network.http_connection_manager: requests are routed.
import type { PathNormalization } from '../../state/bootstrap-config.ts'
import type { HttpChain, HttpSettings } from '../../state/listener.ts'
import { HcmRouteBytes, HttpConnectionManager } from '../proto/http-connection-manager.ts'
import type { Any } from '../proto/schema.ts'
import { translateAccessLogs } from './access-log.ts'
import type { ChainScope } from './chain-scope.ts'
import type { Findings } from './findings.ts'
import { type HttpFilterDraft, translateHttpFilters } from './http-filters.ts'
import type { NetworkDraft } from './network-filters.ts'
import { noteTracing } from './tracing.ts'

/** Envoy's, where nothing is said. */
const STREAM_IDLE_MS = 300_000

export function httpConnectionManager(config: Any | null, draft: NetworkDraft, findings: Findings, scope: ChainScope): void {
  const hcm = findings.unpack(config, HttpConnectionManager)
  if (hcm === null || config === null) return
  const filters = translateHttpFilters(hcm.http_filters, scope, findings)
  noteTracing(hcm.tracing, findings)
  refuseUnsafe(hcm, findings)
  noteIgnored(hcm, findings)
  draft.network = {
    kind: 'http',
    httpVersion: versionOf(hcm, findings),
    routeTable: routeTableOf(hcm, config, scope, findings),
    allowConnect: false,
    clientCertificate: filters.identities ? 'identities' : (CERTIFICATE[hcm.forward_client_cert_details] ?? 'sanitize'),
    edge:
      hcm.use_remote_address === true
        ? { trustedProxies: hcm.xff_num_trusted_hops, keepsRequestIds: hcm.preserve_external_request_id }
        : null,
    jwt: filters.jwt,
    // What network filters in front ask of connections holds for each of their requests.
    authorization: [...draft.authorization, ...filters.authorization],
    settings: settingsOf(hcm, filters, findings),
  }
}

const CERTIFICATE: Readonly<Record<string, HttpChain['clientCertificate']>> = {
  SANITIZE: 'sanitize',
  FORWARD_ONLY: 'forward_only',
  APPEND_FORWARD: 'append_forward',
  SANITIZE_SET: 'sanitize_set',
  ALWAYS_FORWARD_ONLY: 'always_forward_only',
}

function versionOf({ codec_type: codec }: HttpConnectionManager, findings: Findings): HttpChain['httpVersion'] {
  if (codec === 'HTTP1') return 'http1'
  if (codec === 'HTTP2') return 'http2'
  if (codec !== 'AUTO') findings.at('codec_type').fault(`${codec} is not spoken; AUTO, HTTP1 or HTTP2 is expected`)
  return 'auto'
}

function routeTableOf(hcm: HttpConnectionManager, config: Any, scope: ChainScope, findings: Findings): string {
  const { rds, route_config: inline } = hcm
  if (rds !== null) {
    const at = findings.at('rds')
    if (rds.route_config_name === '') at.at('route_config_name').fault('a name is missing')
    if (rds.config_source !== null && rds.config_source.ads === null && rds.config_source.self === null)
      at.at('config_source').fault('routes come over the same stream as listeners (ads), not from elsewhere')
    scope.routeNames.add(rds.route_config_name)
    return rds.route_config_name
  }
  if (inline !== null) {
    const at = findings.at('route_config')
    const { route_config: bytes } = at.decode(config.value, HcmRouteBytes) ?? { route_config: new Uint8Array(0) }
    const made = scope.tables.take(inline.name, bytes, at)
    scope.inline.add(made)
    return made.table.name
  }
  findings.fault(
    hcm.scoped_routes === null ? 'it has no routes: rds or route_config is expected' : 'scoped routes are not understood',
  )
  return ''
}

function settingsOf(hcm: HttpConnectionManager, filters: HttpFilterDraft, findings: Findings): HttpSettings {
  const headerFormat = SERVER_HEADER[hcm.server_header_transformation]
  if (headerFormat === undefined)
    findings.at('server_header_transformation').fault(`${hcm.server_header_transformation} is not known`)
  return {
    ...filters.settings,
    upgrades: upgrades(hcm, findings),
    pathNormalization: normalizationOf(hcm, findings),
    serverName: hcm.server_name === '' ? 'envoy' : hcm.server_name,
    serverHeader: headerFormat ?? 'overwrite',
    http10: hcm.http_protocol_options?.accept_http_10 === true,
    forwardsCertificate: hcm.set_current_client_cert_details?.cert === true,
    requestIds: hcm.generate_request_id ?? true,
    answersRequestIds: hcm.always_set_request_id_in_response,
    forwardedPort: hcm.append_x_forwarded_port,
    requestTimeoutMs: hcm.request_timeout ?? 0,
    maxStreamDurationMs: hcm.common_http_protocol_options?.max_stream_duration ?? 0,
    accessLogs: translateAccessLogs(hcm.access_log, findings),
    maxConnectionDurationMs: hcm.common_http_protocol_options?.max_connection_duration ?? 0,
    limits: limitsOf(hcm),
  }
}

const SERVER_HEADER: Readonly<Record<string, HttpSettings['serverHeader']>> = {
  OVERWRITE: 'overwrite',
  APPEND_IF_ABSENT: 'append_if_absent',
  PASS_THROUGH: 'pass_through',
}

function upgrades({ upgrade_configs: configs }: HttpConnectionManager, findings: Findings): boolean {
  let websocket = false
  for (const [i, { upgrade_type: type, enabled, filters }] of configs.entries()) {
    const at = findings.at('upgrade_configs', i)
    if (filters.length > 0) at.at('filters').fault('upgraded requests have no filters of their own')
    if (enabled === false) continue
    if (type.toLowerCase() === 'websocket') websocket = true
    else at.note(`upgrades to ${type} are refused`)
  }
  return websocket
}

/** A path that is matched in another form than the one that was asked for would go around what stands on it. */
function normalizationOf(hcm: HttpConnectionManager, findings: Findings): PathNormalization {
  const { normalize_path: normalizes, merge_slashes: merges, path_with_escaped_slashes_action: escaped } = hcm
  const at = findings.at('path_with_escaped_slashes_action')
  if (escaped === 'UNESCAPE_AND_FORWARD') {
    if (normalizes === true && merges) return 'DECODE_AND_MERGE_SLASHES'
    at.fault('escaped slashes are decoded only where paths are normalised and slashes are merged')
  } else if (escaped !== 'KEEP_UNCHANGED' && escaped !== 'IMPLEMENTATION_SPECIFIC_DEFAULT')
    at.fault(`${escaped} is not carried out; KEEP_UNCHANGED or UNESCAPE_AND_FORWARD is expected`)
  if (normalizes === true) return merges ? 'MERGE_SLASHES' : 'BASE'
  if (merges) findings.at('merge_slashes').fault('slashes are merged only where paths are normalised')
  return 'NONE'
}

/** What is not said is the operator's of this proxy to say (heddle.yaml), except where Envoy's default is a promise to clients. */
function limitsOf(hcm: HttpConnectionManager): HttpSettings['limits'] {
  const { common_http_protocol_options: common, max_request_headers_kb: kilobytes } = hcm
  return {
    streamIdleTimeoutMs: hcm.stream_idle_timeout ?? STREAM_IDLE_MS,
    ...(kilobytes === null ? {} : { maxHeaderBytes: kilobytes * 1024 }),
    ...(hcm.request_headers_timeout === null ? {} : { headerTimeoutMs: hcm.request_headers_timeout }),
    ...(common === null || common.idle_timeout === null ? {} : { connectionIdleTimeoutMs: common.idle_timeout }),
    ...(common === null || common.max_headers_count === null ? {} : { maxHeaders: common.max_headers_count }),
    ...(common === null || common.max_requests_per_connection === null
      ? {}
      : { maxRequestsPerConnection: common.max_requests_per_connection }),
  }
}

/** Who does not understand these takes in what was to be kept out. */
function refuseUnsafe(hcm: HttpConnectionManager, findings: Findings): void {
  for (const field of ['original_ip_detection_extensions', 'early_header_mutation_extensions'] as const)
    for (const [i, { name }] of hcm[field].entries()) findings.at(field, i).fault(`the extension ${name} is not understood`)
  const underscores = hcm.common_http_protocol_options?.headers_with_underscores_action ?? 'ALLOW'
  if (underscores !== 'ALLOW')
    findings
      .at('common_http_protocol_options')
      .at('headers_with_underscores_action')
      .fault(`${underscores} is not carried out: names with underscores are let through`)
  if (hcm.use_remote_address !== true && hcm.xff_num_trusted_hops > 0)
    findings.at('xff_num_trusted_hops').fault('proxies in front are counted only with use_remote_address')
}

function noteIgnored(hcm: HttpConnectionManager, findings: Findings): void {
  const note = (field: keyof HttpConnectionManager, there: boolean, text: string): void => {
    if (there) findings.at(field).note(text)
  }
  note('strip_matching_host_port', hcm.strip_matching_host_port, 'the port stays in the host of requests')
  note('skip_xff_append', hcm.skip_xff_append, 'x-forwarded-for gets the client all the same')
  note('via', hcm.via !== '', 'no via is written')
  note('local_reply_config', hcm.local_reply_config !== null, "heddle's own answers are as they are")
  note(
    'internal_address_config',
    hcm.internal_address_config !== null,
    'no address counts as internal: x-envoy-internal is not written',
  )
  if ((hcm.http_protocol_options?.default_host_for_http_10 ?? '') !== '')
    findings.at('http_protocol_options').note('requests of HTTP/1.0 without a host stay without one')
  const { chain = false } = hcm.set_current_client_cert_details ?? {}
  if (chain && hcm.forward_client_cert_details !== 'SANITIZE')
    findings
      .at('set_current_client_cert_details')
      .note('x-forwarded-client-cert says By, Hash, Cert, Subject, URI and DNS; the chain is not in it')
}
