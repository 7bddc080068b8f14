// What istiod says in `metadata.filter_metadata.istio`: which object a resource was made from.
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { Metadata } from '../proto/core.ts'
import type { Struct } from '../proto/schema.ts'

/** `/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews` */
const CONFIG = /^\/apis\/[^/]+\/[^/]+\/namespaces\/([^/]*)\/([^/]+)\/(.+)$/

const seen = new Map<string, Origin>()
/** There are as many as objects; a control plane that invents them must not fill memory. */
const MAX_SEEN = 10_000

export function istioMetadata(metadata: Metadata | null): Struct {
  const istio = metadata?.filter_metadata.get('istio')
  return istio ?? {}
}

/** BUILT_IN where istiod names none. */
export function originOf(metadata: Metadata | null): Origin {
  const config = istioMetadata(metadata)['config']
  return typeof config === 'string' ? originOfPath(config) : BUILT_IN
}

/** The same object for the same path, since thousands of routes come from a few objects. */
export function originOfPath(config: string): Origin {
  const known = seen.get(config)
  if (known !== undefined) return known
  const match = CONFIG.exec(config)
  if (match === null) return BUILT_IN
  const [, namespace = '', kind = '', name = ''] = match
  const origin: Origin = { kind: kindOf(kind), namespace, name, file: '', line: 0, column: 0 }
  if (seen.size >= MAX_SEEN) seen.clear()
  seen.set(config, origin)
  return origin
}

/** `virtual-service` → `VirtualService`; Gateway API: `http-route` or `httproute` → `HTTPRoute`. */
function kindOf(text: string): string {
  const gatewayApi = /^(http|grpc|tls|tcp|udp)-?route$/.exec(text)
  if (gatewayApi !== null) return `${(gatewayApi[1] as string).toUpperCase()}Route`
  return text.replace(/(?:^|-)([a-z])/g, (_, c: string) => c.toUpperCase())
}
