// In which way an endpoint is spoken to, and who has it so.
import type { Cluster, Endpoint } from '../state/cluster.ts'
import { BUILT_IN, type Origin } from '../state/origin.ts'
import { MESH_TRUST, type TlsReason, type UpstreamTls } from '../state/tls.ts'

/** A sentence, and the object behind it; null: nobody has asked for TLS anywhere, or the endpoint is not known any more. */
export function tlsText(cluster: Cluster | undefined, endpoint: Endpoint | undefined): TlsSentence | null {
  // Nobody lists the endpoints of an ORIGINAL_DST cluster: all are spoken to alike.
  if (cluster === undefined || (endpoint === undefined && cluster.type !== 'ORIGINAL_DST')) return null
  const tunnel = endpoint?.tunnel ?? null
  if (tunnel !== null) {
    const inside = endpoint?.tls === true && cluster.tls !== null ? `, and inside of it ${howText(cluster.tls)}` : ''
    const whom = tunnel.identities.length === 0 ? 'anybody of the mesh' : tunnel.identities.join(' or ')
    return { text: `through a tunnel (HBONE) to ${tunnel.address}:${tunnel.port}, to ${whom}${inside}`, origin: undefined }
  }
  const reason = endpoint?.tlsReason ?? cluster.tlsReason
  if (reason.why === 'off') return null
  const tls = endpoint === undefined || endpoint.tls ? cluster.tls : null
  const origin = reason.origin.kind === BUILT_IN.kind ? undefined : reason.origin
  return { text: `${tls === null ? 'in plaintext' : howText(tls)}: ${whyText(reason)}`, origin }
}

interface TlsSentence {
  /** Behind "is spoken to". */
  readonly text: string
  readonly origin: Origin | undefined
}

function howText(tls: UpstreamTls): string {
  const names = [...tls.subjectAltNames, ...tls.subjectAltNamePrefixes.map((prefix) => `${prefix}…`)]
  const name = tls.sni === '' ? (tls.autoSni ? 'the host as server name' : 'no server name') : `server name ${tls.sni}`
  if (tls.trust === '') return `by TLS with ${name}, whoever answers`
  if (tls.trust === MESH_TRUST)
    return `by mutual TLS with ${name}, to ${names.length === 0 ? 'anybody of the mesh' : names.join(' or ')}`
  const kind = tls.certificate === '' ? 'TLS' : 'mutual TLS'
  return names.length === 0 ? `by ${kind} with ${name}` : `by ${kind} with ${name}, to ${names.join(' or ')}`
}

function whyText({ why, origin }: TlsReason): string {
  switch (why) {
    case 'rule':
      return 'its DestinationRule says so'
    case 'automatic':
      return origin.kind === BUILT_IN.kind
        ? 'it has a sidecar'
        : 'it has a sidecar, and its PeerAuthentication lets mutual TLS in'
    case 'no-sidecar':
      return 'it has no sidecar (label security.istio.io/tlsMode: istio)'
    case 'disabled':
      return 'its PeerAuthentication lets only plaintext in'
    case 'external':
      return 'it is not of the mesh'
    case 'off':
      return 'nothing asks for TLS'
  }
}
