// PeerAuthentication (istio/api security/v1beta1/peer_authentication.proto), Istio PeerAuthentication.
import * as v from 'valibot'
import { mapOf, oneOf, opt, strict, textMap } from './fields.ts'

const mutualTls = strict({ mode: opt(oneOf(['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT'])) })

/** An object without a spec is one that leaves everything as it is. */
export const peerAuthentication = v.optional(
  strict({
    selector: opt(strict({ matchLabels: opt(textMap) })),
    mtls: opt(mutualTls),
    portLevelMtls: opt(mapOf(mutualTls)),
  }),
  {},
)

export type PeerAuthenticationSpec = v.InferOutput<typeof peerAuthentication>
