// What the CONNECTs of a proxy that is fed say of it: lines that heddle adds, where Envoy has them from listeners of plumbing that istiod sends.
import { ownBaggage } from '../resources/compile/own-baggage.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import { type Environment, readIstioEnvironment } from '../xds/client/istio-environment.ts'
import { clusterIdOf } from '../xds/client/node-identity.ts'
import type { XdsWorldTerms } from '../xds/store/xds-world.ts'

/** `gateway`: of tunnels to another network: in the outer one what we are, in the inner one where it began, by the node's metadata NETWORK. */
export function ownTunnelFields(bootstrap: BootstrapConfig, env: Environment): Pick<XdsWorldTerms, 'tunnelFields' | 'gateway'> {
  const istio = readIstioEnvironment(env, { labels: null, annotations: null })
  const { workload, identity, xds, role } = bootstrap
  const network = asValue(xds.metadata['NETWORK'] ?? istio.metadata['NETWORK'])
  const clusterId = clusterIdOf({ bootstrap, istio, env })
  const tunnelFields = ownBaggage({
    ...bootstrap,
    workload: { ...workload, labels: { ...istio.labels, ...workload.labels } },
    identity: { ...identity, istioCa: { ...identity.istioCa, clusterId } },
  })
  return {
    tunnelFields,
    gateway: {
      outer: `x-istio-source: ${role}\r\n`,
      inner: network === '' ? '' : `x-forwarded-network: ${network}\r\n`,
    },
  }
}

/** Of a header field; empty for what cannot be one. */
function asValue(value: unknown): string {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value) ? value : ''
}
