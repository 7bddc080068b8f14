// Every setting of interception: its flag, what istio-iptables and Istio's annotations call it, and its default. The command line, the
// reader and the table in docs/interception.md are made from this.

export interface SettingSpec {
  readonly flag: string
  /** The letter that istio-iptables has for it. */
  readonly short?: string
  /** Other flags that mean it: those of istio-iptables. */
  readonly aliases?: readonly string[]
  readonly env: readonly string[]
  /** Of a pod. */
  readonly annotations?: readonly string[]
  /** `PORT`; empty for what is on or off. */
  readonly value: string
  readonly default: string
  readonly help: string
}

export const SETTINGS = {
  outboundCapturePort: {
    flag: 'outbound-capture-port',
    short: 'p',
    aliases: ['envoy-port'],
    env: ['ENVOY_PORT'],
    value: 'PORT',
    default: '15001',
    help: 'where outbound connections go',
  },
  inboundCapturePort: {
    flag: 'inbound-capture-port',
    short: 'z',
    env: ['INBOUND_CAPTURE_PORT'],
    value: 'PORT',
    default: '15006',
    help: 'where inbound connections go',
  },
  inboundTunnelPort: {
    flag: 'inbound-tunnel-port',
    short: 'e',
    env: ['INBOUND_TUNNEL_PORT'],
    value: 'PORT',
    default: '15008',
    help: 'HBONE, which is never captured',
  },
  proxyUid: {
    flag: 'proxy-uid',
    short: 'u',
    env: ['PROXY_UID'],
    value: 'UIDS',
    default: '1337',
    help: "users whose traffic is the proxy's own",
  },
  proxyGid: {
    flag: 'proxy-gid',
    short: 'g',
    env: ['PROXY_GID'],
    value: 'GIDS',
    default: '',
    help: "groups whose traffic is the proxy's own; the same numbers as the users unless given",
  },
  mode: {
    flag: 'mode',
    short: 'm',
    aliases: ['istio-inbound-interception-mode'],
    env: ['ISTIO_INBOUND_INTERCEPTION_MODE', 'INBOUND_INTERCEPTION_MODE'],
    annotations: ['sidecar.istio.io/interceptionMode'],
    value: 'MODE',
    default: 'REDIRECT',
    help: "REDIRECT, or TPROXY, which keeps the client's address on inbound connections",
  },
  inboundPorts: {
    flag: 'inbound-ports',
    short: 'b',
    aliases: ['istio-inbound-ports'],
    env: ['ISTIO_INBOUND_PORTS'],
    annotations: ['traffic.sidecar.istio.io/includeInboundPorts'],
    value: 'PORTS',
    default: '*',
    help: 'inbound ports that are captured; * for all, empty for none',
  },
  excludeInboundPorts: {
    flag: 'exclude-inbound-ports',
    short: 'd',
    aliases: ['istio-local-exclude-ports'],
    env: ['ISTIO_LOCAL_EXCLUDE_PORTS'],
    annotations: ['traffic.sidecar.istio.io/excludeInboundPorts'],
    value: 'PORTS',
    default: '15090,15021,15020',
    help: 'inbound ports that are not, where all are captured',
  },
  outboundRanges: {
    flag: 'outbound-ranges',
    short: 'i',
    aliases: ['istio-service-cidr'],
    env: ['ISTIO_SERVICE_CIDR'],
    annotations: ['traffic.sidecar.istio.io/includeOutboundIPRanges'],
    value: 'CIDRS',
    default: '*',
    help: 'destinations that are captured; * for all, empty for none',
  },
  excludeOutboundRanges: {
    flag: 'exclude-outbound-ranges',
    short: 'x',
    aliases: ['istio-service-exclude-cidr'],
    env: ['ISTIO_SERVICE_EXCLUDE_CIDR'],
    annotations: ['traffic.sidecar.istio.io/excludeOutboundIPRanges'],
    value: 'CIDRS',
    default: '',
    help: 'destinations that are not',
  },
  outboundPorts: {
    flag: 'outbound-ports',
    short: 'q',
    aliases: ['istio-outbound-ports'],
    env: ['ISTIO_OUTBOUND_PORTS'],
    annotations: ['traffic.sidecar.istio.io/includeOutboundPorts'],
    value: 'PORTS',
    default: '',
    help: 'ports that are captured whatever the destination',
  },
  excludeOutboundPorts: {
    flag: 'exclude-outbound-ports',
    short: 'o',
    aliases: ['istio-local-outbound-ports-exclude'],
    env: ['ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE'],
    annotations: ['traffic.sidecar.istio.io/excludeOutboundPorts'],
    value: 'PORTS',
    default: '',
    help: 'ports that are not captured whatever the destination',
  },
  virtualInterfaces: {
    flag: 'virtual-interfaces',
    short: 'k',
    aliases: ['kube-virt-interfaces', 'istio-kubevirt-interfaces'],
    env: ['KUBE_VIRT_INTERFACES', 'ISTIO_KUBEVIRT_INTERFACES'],
    annotations: ['istio.io/reroute-virtual-interfaces', 'traffic.sidecar.istio.io/kubevirtInterfaces'],
    value: 'NAMES',
    default: '',
    help: 'interfaces whose incoming traffic is treated as outbound',
  },
  excludeInterfaces: {
    flag: 'exclude-interfaces',
    short: 'c',
    aliases: ['istio-exclude-interfaces'],
    env: ['ISTIO_EXCLUDE_INTERFACES'],
    annotations: ['traffic.sidecar.istio.io/excludeInterfaces'],
    value: 'NAMES',
    default: '',
    help: 'interfaces that are left alone',
  },
  redirectDns: {
    flag: 'redirect-dns',
    env: ['REDIRECT_DNS', 'ISTIO_META_DNS_CAPTURE'],
    value: '',
    default: 'false',
    help: 'capture questions to the servers of resolv.conf; they go to port 15053',
  },
  captureAllDns: {
    flag: 'capture-all-dns',
    env: ['CAPTURE_ALL_DNS'],
    value: '',
    default: 'false',
    help: 'with --redirect-dns: whatever server is asked',
  },
  dropInvalid: {
    flag: 'drop-invalid',
    env: ['DROP_INVALID', 'INVALID_DROP'],
    value: '',
    default: 'false',
    help: 'drop packets that belong to no known connection, instead of having them answered with a reset',
  },
  tproxyMark: {
    flag: 'tproxy-mark',
    short: 't',
    aliases: ['istio-inbound-tproxy-mark'],
    env: ['ISTIO_INBOUND_TPROXY_MARK', 'INBOUND_TPROXY_MARK'],
    value: 'MARK',
    default: '1337',
    help: 'TPROXY: mark of packets that are routed to the proxy',
  },
  tproxyRouteTable: {
    flag: 'tproxy-route-table',
    short: 'r',
    aliases: ['istio-inbound-tproxy-route-table'],
    env: ['ISTIO_INBOUND_TPROXY_ROUTE_TABLE'],
    value: 'N',
    default: '133',
    help: 'TPROXY: number of the routing table that does it',
  },
  loopbackRange: {
    flag: 'loopback-range',
    env: ['ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR'],
    value: 'CIDR',
    default: '127.0.0.1/32',
    help: "what counts as the application's own loopback in IPv4",
  },
  ownerGroups: {
    flag: 'owner-groups',
    env: ['ISTIO_OUTBOUND_OWNER_GROUPS'],
    value: 'GROUPS',
    default: '*',
    help: 'groups, by name or number, whose outbound traffic is captured',
  },
  excludeOwnerGroups: {
    flag: 'exclude-owner-groups',
    env: ['ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE'],
    value: 'GROUPS',
    default: '',
    help: 'groups whose outbound traffic is not, where all are captured',
  },
  ipv6: {
    flag: 'ipv6',
    env: [],
    value: 'WHEN',
    default: 'auto',
    help: 'on, off, or auto: where an interface has an IPv6 address that others can reach',
  },
  bypassInbound: {
    flag: 'bypass-inbound-capture',
    env: [],
    annotations: ['ambient.istio.io/bypass-inbound-capture'],
    value: '',
    default: 'false',
    help: 'with --ambient: inbound connections are not captured, for entrances to the mesh',
  },
  ambientDns: {
    flag: 'ambient-dns',
    env: ['AMBIENT_DNS_CAPTURE'],
    annotations: ['ambient.istio.io/dns-capture'],
    value: 'BOOL',
    default: 'true',
    help: 'with --ambient: capture DNS',
  },
  probeSourceIpv4: {
    flag: 'host-probe-ip',
    env: ['HOST_PROBE_SNAT_IP'],
    value: 'IP',
    default: '169.254.7.127',
    help: 'with --ambient: where probes of the kubelet come from',
  },
  probeSourceIpv6: {
    flag: 'host-probe-ipv6',
    env: ['HOST_PROBE_SNAT_IPV6'],
    value: 'IP',
    default: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff',
    help: 'the same in IPv6',
  },
} as const satisfies Readonly<Record<string, SettingSpec>>

export type SettingKey = keyof typeof SETTINGS
export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[]
