// Who we are to a control plane: istiod makes the configuration of this node of its id and its metadata (istio pkg/model/proxy.go). Pure; open-ads-client.ts reads what
// it needs.
import { isIP } from 'node:net'
import type { BootstrapConfig, Role } from '../../state/bootstrap-config.ts'
import { Node } from '../proto/core.ts'
import type { Struct } from '../proto/schema.ts'
import type { Environment, IstioEnvironment } from './istio-environment.ts'

export interface NodeIdentityInput {
  readonly bootstrap: Pick<BootstrapConfig, 'role' | 'workload' | 'capture' | 'waypoint' | 'mesh' | 'xds'>
  readonly env: Environment
  readonly istio: IstioEnvironment
  /** Of the interfaces of this network namespace, without loopback and link-local ones. */
  readonly addresses: readonly string[]
  /** Of the machine, for a workload that has no name. */
  readonly hostname: string
  /** Of heddle. */
  readonly version: string
}

/** The first part of the id: what kind of configuration is made. */
const NODE_TYPES: Readonly<Record<Role, string>> = {
  sidecar: 'sidecar',
  waypoint: 'waypoint',
  gateway: 'router',
  node: 'ztunnel',
}

const INTERCEPTION: Readonly<Record<BootstrapConfig['capture']['mode'], string>> = {
  none: 'NONE',
  redirect: 'REDIRECT',
  tproxy: 'TPROXY',
}

/** What heddle.yaml says by default, which the environment may say better. */
const DEFAULT_ADDRESS = '127.0.0.1'
const DEFAULT_ACCOUNT = 'default'
const DEFAULT_NAMESPACE = 'default'
const DEFAULT_CLUSTER = 'Kubernetes'
/** As ztunnel has it: a node's tunnel has no services of its own. */
const NO_ADDRESS = '1.1.1.1'

const GATEWAY_NAME = 'gateway.networking.k8s.io/gateway-name'

/** What heddle.yaml says wins over Istio's environment, where it says other than its default; `xds.metadata` and `xds.nodeId` win over all. */
export function nodeIdentity(input: NodeIdentityInput): Node {
  const { bootstrap, version } = input
  const { role, xds } = bootstrap
  const namespace = namespaceOf(input)
  const address = addressOf(input)
  const name = input.env['POD_NAME'] || podName(input)
  const id = `${NODE_TYPES[role]}~${address}~${name}.${namespace}~${namespace}.svc.${bootstrap.mesh.domain}`
  const metadata: Struct = role === 'node' ? tunnelMetadata(input, name) : proxyMetadata(input, name)
  return {
    ...Node.empty,
    id: xds.nodeId === '' ? id : xds.nodeId,
    cluster: clusterOf(input, namespace),
    metadata: { ...metadata, ...xds.metadata },
    locality: localityOf(input),
    user_agent_name: 'heddle',
    user_agent_version: version,
  }
}

/** ztunnel's: it has no more, and the cluster's name is metadata of the call. */
function tunnelMetadata(input: NodeIdentityInput, name: string): Struct {
  const { metadata } = input.istio
  return { ...metadata, NAME: name, NAMESPACE: namespaceOf(input), INSTANCE_IPS: addressOf(input), ...nodeName(input) }
}

function proxyMetadata(input: NodeIdentityInput, name: string): Struct {
  const { bootstrap, istio } = input
  const { role, xds } = bootstrap
  const labels = labelsOf(input)
  return {
    ISTIO_VERSION: xds.istioVersion,
    WORKLOAD_NAME: bootstrap.workload.name,
    ...(role === 'sidecar' ? { INTERCEPTION_MODE: INTERCEPTION[bootstrap.capture.mode] } : {}),
    // Istio's agent has no waypoint without it.
    ...(role === 'waypoint' ? { METADATA_DISCOVERY: 'true' } : {}),
    ...istio.metadata,
    ...nodeName(input),
    CLUSTER_ID: clusterIdOf(input),
    NAME: name,
    NAMESPACE: namespaceOf(input),
    SERVICE_ACCOUNT: accountOf(input),
    INSTANCE_IPS: [...new Set([addressOf(input), ...input.addresses])].join(','),
    LABELS: labels,
    ...(Object.keys(istio.annotations).length === 0 ? {} : { ANNOTATIONS: istio.annotations }),
    // Without it the node is not among those of `istioctl proxy-status`.
    PROXY_CONFIG: istio.proxyConfig ?? {},
  }
}

/** Of the node, and of the metadata of calls. */
export function clusterIdOf({ bootstrap, istio, env }: Pick<NodeIdentityInput, 'bootstrap' | 'istio' | 'env'>): string {
  const { clusterId } = bootstrap.xds
  if (clusterId !== DEFAULT_CLUSTER) return clusterId
  return textOf(istio.metadata['CLUSTER_ID']) || env['CLUSTER_ID'] || clusterId
}

function nodeName({ env, istio }: NodeIdentityInput): Struct {
  const name = istio.metadata['NODE_NAME'] ?? env['NODE_NAME'] ?? ''
  return name === '' ? {} : { NODE_NAME: name }
}

function namespaceOf({ bootstrap, istio, env }: NodeIdentityInput): string {
  const { namespace } = bootstrap.workload
  if (namespace !== DEFAULT_NAMESPACE) return namespace
  return env['POD_NAMESPACE'] || textOf(istio.metadata['NAMESPACE']) || namespace
}

function accountOf({ bootstrap, istio }: NodeIdentityInput): string {
  const { serviceAccount } = bootstrap.workload
  return serviceAccount === DEFAULT_ACCOUNT ? textOf(istio.metadata['SERVICE_ACCOUNT']) || serviceAccount : serviceAccount
}

function addressOf({ bootstrap, env, addresses }: NodeIdentityInput): string {
  const { address } = bootstrap.workload
  if (address !== DEFAULT_ADDRESS) return address
  const ofPod = env['INSTANCE_IP'] ?? ''
  if (isIP(ofPod) !== 0) return ofPod
  return addresses[0] ?? (bootstrap.role === 'node' ? NO_ADDRESS : address)
}

function podName({ bootstrap, hostname }: NodeIdentityInput): string {
  const { name } = bootstrap.workload
  // Four parts, so no `~`; and istiod takes the namespace from behind the first point.
  return (name === '' || name === 'unknown' ? hostname : name).replace(/[~.]/g, '-')
}

function labelsOf({ bootstrap, istio }: NodeIdentityInput): Readonly<Record<string, string>> {
  const labels = { ...istio.labels, ...bootstrap.workload.labels }
  return bootstrap.role === 'waypoint' ? { [GATEWAY_NAME]: bootstrap.waypoint.name, ...labels } : labels
}

/** A name for telemetry: `<app>.<namespace>`; of a waypoint istiod checks that it is `<service account>.<namespace>`. */
function clusterOf(input: NodeIdentityInput, namespace: string): string {
  if (input.bootstrap.role === 'waypoint') return `${accountOf(input)}.${namespace}`
  const given = textOf(input.istio.proxyConfig?.['serviceCluster'])
  if (given !== '') return given
  const labels = labelsOf(input)
  return `${labels['service.istio.io/canonical-name'] ?? labels['app'] ?? 'istio-proxy'}.${namespace}`
}

/** heddle.yaml's `region/zone/subzone`, else the label of the pod, in which points stand for slashes, since they may not be in labels. */
function localityOf({ bootstrap, istio }: NodeIdentityInput): Node['locality'] {
  const label = istio.labels['istio-locality'] ?? ''
  const text = bootstrap.workload.locality || (label.includes('/') ? label : label.replaceAll('.', '/'))
  if (text === '') return null
  const [region = '', zone = '', sub_zone = ''] = text.split('/')
  return { region, zone, sub_zone }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
