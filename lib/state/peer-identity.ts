// Who is at the other end, as its certificate said and nothing else (SPIFFE id).

export interface PeerIdentity {
  /** `spiffe://cluster.local/ns/default/sa/web`. */
  readonly id: string
  /** Both empty when the id is not of Istio's form. */
  readonly namespace: string
  readonly serviceAccount: string
}

const ISTIO_ID = /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\/([^/]+)$/

/** `id`: one that has been verified. */
export function peerIdentityOf(id: string): PeerIdentity {
  const [, namespace = '', serviceAccount = ''] = ISTIO_ID.exec(id) ?? []
  return { id, namespace, serviceAccount }
}

/** `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. */
export function isIstioIdentity(id: string): boolean {
  return ISTIO_ID.test(id)
}
