// What a node's tunnel was started with, by the names and kinds that ztunnel's own settings have in its dump (ztunnel src/config.rs), which Kiali shows.
// What heddle has nothing for is left out.
import { CLIENT_OPTIONS } from '../hbone/options.ts'
import type { BootstrapConfig, SocketAddress } from '../state/bootstrap-config.ts'
import type { TunnelView } from './admin-source.ts'

export function ztunnelConfig(bootstrap: BootstrapConfig, of: TunnelView['node']): object {
  const { admin, agent, health, dns, drain, identity, node, xds, workload, mesh } = bootstrap
  const { istioCa } = identity
  const illegalPorts = [node.tunnelPort, node.inboundPort, node.outboundPort]
  return {
    proxy: true,
    proxyMode: 'Shared',
    dnsProxy: dns.port !== 0,
    dnsProxyAddr: { Localhost: [true, dns.port] },
    adminAddr: at(admin),
    statsAddr: at({ address: agent.address, port: agent.statusPort }),
    readinessAddr: at(health),
    inboundAddr: everywhere(node.tunnelPort),
    inboundPlaintextAddr: everywhere(node.inboundPort),
    outboundAddr: everywhere(node.outboundPort),
    illegalPorts: illegalPorts.filter((port) => port !== 0),
    network: of.network,
    localNode: of.name,
    clusterId: of.clusterId,
    clusterDomain: mesh.domain,
    caAddress: identity.source === 'istio-ca' ? url(istioCa.address, 'tls') : null,
    ...rootsAt('caRootCert', istioCa.roots),
    secretTtl: seconds(identity.certificateTtlMs),
    xdsAddress: xds.address === '' ? null : url(xds.address, xds.transport),
    ...rootsAt('xdsRootCert', xds.roots),
    xdsOnDemand: xds.onDemand,
    numWorkerThreads: bootstrap.concurrency,
    packetMark: node.mark,
    inpodUds: node.agentSocket,
    localhostAppTunnel: node.localTunnel,
    proxyMetadata: {},
    selfTerminationDeadline: seconds(drain.deadlineMs),
    windowSize: CLIENT_OPTIONS.maxStreamWindow,
    connectionWindowSize: CLIENT_OPTIONS.initialConnectionWindow,
    frameSize: CLIENT_OPTIONS.maxFrameSize,
    poolMaxStreamsPerConn: CLIENT_OPTIONS.maxConcurrentStreams,
    ztunnelIdentity:
      identity.spiffeId || `spiffe://${identity.trustDomain}/ns/${workload.namespace}/sa/${workload.serviceAccount}`,
    ztunnelWorkload: { name: of.pod || workload.name, namespace: workload.namespace, serviceAccount: workload.serviceAccount },
  }
}

function at({ address, port }: SocketAddress): object {
  if (address === '127.0.0.1' || address === 'localhost' || address === '::1')
    return { Localhost: [address !== '127.0.0.1', port] }
  return { SocketAddr: `${address.includes(':') ? `[${address}]` : address}:${port}` }
}

/** In each pod, of both families. */
function everywhere(port: number): string {
  return `[::]:${port}`
}

function url(hostAndPort: string, transport: 'tls' | 'plaintext'): string {
  return `${transport === 'tls' ? 'https' : 'http'}://${hostAndPort}`
}

/** ztunnel's word for roots of the system is no object, which Kiali takes for an error of all. */
function rootsAt(field: string, file: string): object {
  return file === '' ? {} : { [field]: { File: file } }
}

/** As serde writes a Duration. */
function seconds(ms: number): object {
  const secs = Math.floor(ms / 1000)
  return { secs, nanos: Math.round((ms - secs * 1000) * 1e6) }
}
