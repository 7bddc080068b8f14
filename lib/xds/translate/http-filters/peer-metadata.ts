// istio.metadata_exchange of HTTP (io.istio.http.peer_metadata): whom this proxy tells who it is, and who is heard. It comes as JSON, in a TypedStruct.
import type { PeerSettings } from '../../../state/listener.ts'
import type { Any, Struct, StructValue } from '../../proto/schema.ts'
import type { ChainScope } from '../chain-scope.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'

/** Only the labels of metrics are made of it: what is not understood is left out. Waypoints look workloads up by address, and have no headers. */
export function peerMetadata(
  _config: Any | null,
  draft: HttpFilterDraft,
  _findings: Findings,
  _scope: ChainScope,
  json: Struct | null,
): void {
  draft.isIstios = true
  const settings = json === null ? null : peerSettingsOf(json)
  if (settings !== null) draft.peers = settings
}

/** null: no headers are exchanged. */
function peerSettingsOf(config: Struct): PeerSettings | null {
  const upstream = headersOf(config, 'upstream_propagation')
  const settings: PeerSettings = {
    clients: headersOf(config, 'downstream_discovery') !== null,
    upstreams: upstream === null ? 'never' : upstream['skip_external_clusters'] === true ? 'mesh' : 'always',
    readsUpstreams: headersOf(config, 'upstream_discovery') !== null,
  }
  return settings.clients || settings.readsUpstreams || settings.upstreams !== 'never' ? settings : null
}

/** Of a list of methods the one by headers; null: it is not among them. */
function headersOf(config: Struct, field: string): Struct | null {
  const methods = config[field]
  if (!Array.isArray(methods)) return null
  for (const method of methods) {
    const headers = isStruct(method) ? method['istio_headers'] : undefined
    if (isStruct(headers)) return headers
  }
  return null
}

function isStruct(value: StructValue | undefined): value is Struct {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
