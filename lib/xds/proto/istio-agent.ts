// What Istio's agent subscribes to for itself: the names of the mesh (istio.networking.nds.v1), and settings of proxies (istio.mesh.v1alpha1).
import { type Decoded, list, map, message, one, text } from './schema.ts'

export const NameInfo = message('istio.networking.nds.v1.NameTable.NameInfo', {
  ips: list(text(1)),
  /** `Kubernetes`, `External` … */
  registry: text(2),
  shortname: text(3),
  namespace: text(4),
  alt_hosts: list(text(5)),
})

/** By host. */
export const NameTable = message('istio.networking.nds.v1.NameTable', { table: map(one(1, NameInfo)) })
export type NameTable = Decoded<typeof NameTable>

/** Roots of the mesh, one or several certificates in each, as PEM. */
export const ProxyConfig = message('istio.mesh.v1alpha1.ProxyConfig', { ca_certificates_pem: list(text(34)) })
