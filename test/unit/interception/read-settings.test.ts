// Who says what of interception, and what is wrong with it.
import t from 'tap'
import { parseCidr } from '../../../lib/interception/cidr.ts'
import { gatherSettings, parseAnnotations } from '../../../lib/interception/given-settings.ts'
import { groupIn, nameserversIn } from '../../../lib/interception/host-facts.ts'
import { type HostFacts, readPodSettings, readSidecarSettings } from '../../../lib/interception/read-settings.ts'

type Texts = Readonly<Record<string, string>>

const FACTS: HostFacts = { ipv6: false, nameservers: [], groupId: () => null }

const gather = (flags: Texts, env: Texts = {}, annotations: Texts = {}) =>
  gatherSettings({ flag: (name) => flags[name] ?? null, env, annotations: new Map(Object.entries(annotations)) })

const sidecar = (flags: Texts, env: Texts = {}, annotations: Texts = {}, facts = FACTS) =>
  readSidecarSettings(gather(flags, env, annotations), facts)

t.test('a flag goes before the environment, that before annotations, these before the default', async (t) => {
  const annotation = { 'traffic.sidecar.istio.io/includeInboundPorts': '3' }
  const cases: readonly [flags: Texts, env: Texts, annotations: Texts, ports: unknown][] = [
    [{ 'inbound-ports': '1' }, { ISTIO_INBOUND_PORTS: '2' }, annotation, [1]],
    [{}, { ISTIO_INBOUND_PORTS: '2' }, annotation, [2]],
    [{}, {}, annotation, [3]],
    [{}, {}, {}, 'all'],
    [{ 'inbound-ports': '' }, { ISTIO_INBOUND_PORTS: '2' }, annotation, []],
  ]
  for (const [flags, env, annotations, inboundPorts] of cases)
    t.match(sidecar(flags, env, annotations), { ok: true, settings: { inboundPorts } })
})

t.test('each variable and annotation of Istio is known', async (t) => {
  const env = {
    ENVOY_PORT: '1',
    INBOUND_CAPTURE_PORT: '2',
    INBOUND_TUNNEL_PORT: '3',
    PROXY_UID: '4,5',
    PROXY_GID: '6',
    ISTIO_INBOUND_INTERCEPTION_MODE: 'TPROXY',
    ISTIO_LOCAL_EXCLUDE_PORTS: '7,8,',
    ISTIO_SERVICE_CIDR: '10.0.0.0/8',
    ISTIO_SERVICE_EXCLUDE_CIDR: '10.1.0.0/16',
    ISTIO_OUTBOUND_PORTS: '9',
    ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE: '10',
    KUBE_VIRT_INTERFACES: 'vm+',
    ISTIO_EXCLUDE_INTERFACES: 'eth1',
    ISTIO_META_DNS_CAPTURE: 'true',
    CAPTURE_ALL_DNS: '1',
    INVALID_DROP: 'true',
    INBOUND_TPROXY_MARK: '0x10',
    ISTIO_INBOUND_TPROXY_ROUTE_TABLE: '11',
    ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: '127.0.0.1/8',
    ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE: '12',
  }
  const range = (text: string) => ({ family: 'ipv4', text, loopback: false })
  t.same(sidecar({}, env), {
    ok: true,
    warnings: [],
    settings: {
      families: ['ipv4'],
      outboundCapturePort: 1,
      inboundCapturePort: 2,
      inboundTunnelPort: 3,
      proxyUids: [4, 5],
      proxyGids: [6],
      mode: 'TPROXY',
      inboundPorts: 'all',
      excludeInboundPorts: [7, 8],
      outboundRanges: [range('10.0.0.0/8')],
      excludeOutboundRanges: [range('10.1.0.0/16')],
      outboundPorts: [9],
      excludeOutboundPorts: [10],
      virtualInterfaces: ['vm+'],
      excludeInterfaces: ['eth1'],
      dns: { kind: 'all' },
      dropInvalid: true,
      tproxyMark: 16,
      tproxyRouteTable: 11,
      loopback: { family: 'ipv4', text: '127.0.0.0/8', loopback: true },
      ownerGroups: { kind: 'all-but', gids: [12] },
    },
  })
  const annotations = {
    'sidecar.istio.io/interceptionMode': 'TPROXY',
    'traffic.sidecar.istio.io/excludeInboundPorts': '1',
    'traffic.sidecar.istio.io/includeOutboundIPRanges': '',
    'traffic.sidecar.istio.io/excludeOutboundIPRanges': '::/0',
    'traffic.sidecar.istio.io/includeOutboundPorts': '2',
    'traffic.sidecar.istio.io/excludeOutboundPorts': '3',
    'traffic.sidecar.istio.io/kubevirtInterfaces': 'a',
    'traffic.sidecar.istio.io/excludeInterfaces': 'b',
  }
  t.match(sidecar({}, {}, annotations), {
    settings: {
      mode: 'TPROXY',
      excludeInboundPorts: [1],
      outboundRanges: [],
      excludeOutboundRanges: [{ family: 'ipv6', text: '::/0' }],
      outboundPorts: [2],
      excludeOutboundPorts: [3],
      virtualInterfaces: ['a'],
      excludeInterfaces: ['b'],
    },
  })
  const ambient = {
    'ambient.istio.io/bypass-inbound-capture': 'true',
    'ambient.istio.io/dns-capture': 'false',
    'istio.io/reroute-virtual-interfaces': 'vm0',
  }
  t.match(readPodSettings(gather({}, { HOST_PROBE_SNAT_IP: '169.254.1.1' }, ambient), FACTS), {
    settings: {
      bypassInbound: true,
      captureDns: false,
      virtualInterfaces: ['vm0'],
      probeSource: { ipv4: '169.254.1.1/32', ipv6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128' },
    },
  })
})

t.test('what is wrong, and who said it; all at once', async (t) => {
  const cases: readonly [flags: Texts, env: Texts, problem: string][] = [
    [{ 'inbound-ports': '80,x' }, {}, '--inbound-ports: expected ports, separated by commas, got `x`'],
    [{ 'exclude-outbound-ports': '65536' }, {}, '--exclude-outbound-ports: expected ports, separated by commas, got `65536`'],
    [{}, { PROXY_UID: 'istio' }, 'PROXY_UID: expected numbers, separated by commas, got `istio`'],
    [{ mode: 'NONE' }, {}, '--mode: NONE means that there are no rules: leave the init container out'],
    [{ mode: 'x' }, {}, '--mode: expected REDIRECT or TPROXY, got `X`'],
    [
      { 'outbound-ranges': '10.0.0.0/33' },
      {},
      '--outbound-ranges: expected ranges such as 10.0.0.0/8, separated by commas, got `10.0.0.0/33`',
    ],
    [
      { 'exclude-outbound-ranges': '*' },
      {},
      '--exclude-outbound-ranges: expected ranges such as 10.0.0.0/8, separated by commas, got `*`',
    ],
    [
      { 'exclude-interfaces': 'eth0;reboot' },
      {},
      '--exclude-interfaces: expected names of network interfaces, separated by commas, got `eth0;reboot`',
    ],
    [{ 'loopback-range': '10.0.0.0/8' }, {}, '--loopback-range: expected a range in 127.0.0.0/8, got `10.0.0.0/8`'],
    [
      { 'owner-groups': 'nobodys' },
      {},
      '--owner-groups: expected groups that /etc/group knows, or their numbers, separated by commas, got `nobodys`',
    ],
    [{ 'owner-groups': '' }, {}, '--owner-groups: expected groups, or * for all, got ``'],
    [
      { 'owner-groups': '1', 'exclude-owner-groups': '2' },
      {},
      '--exclude-owner-groups: cannot be said beside --owner-groups: one or the other',
    ],
    [{ 'tproxy-mark': '0' }, {}, '--tproxy-mark: expected a number from 1 to 4294967295, got `0`'],
    [{}, { ISTIO_META_DNS_CAPTURE: 'maybe' }, 'ISTIO_META_DNS_CAPTURE: expected true or false, got `maybe`'],
    [{ ipv6: 'maybe' }, {}, '--ipv6: expected on, off or auto, got `maybe`'],
  ]
  for (const [flags, env, problem] of cases) t.same(sidecar(flags, env), { ok: false, problems: [problem] })
  t.match(sidecar({ mode: 'x', ipv6: 'y', 'inbound-ports': 'z' }), { problems: { length: 3 } })
})

t.test('defaults that depend on others', async (t) => {
  t.match(sidecar({ 'proxy-uid': '7,8' }), { settings: { proxyGids: [7, 8] } })
  t.match(sidecar({ 'proxy-uid': '' }), { settings: { proxyUids: [1337], proxyGids: [1337] } }, 'never nobody: that would loop')
  t.match(sidecar({}, {}, {}, { ...FACTS, ipv6: true }), { settings: { families: ['ipv4', 'ipv6'] } })
  t.match(sidecar({ ipv6: 'off' }, {}, {}, { ...FACTS, ipv6: true }), { settings: { families: ['ipv4'] } })
  t.match(sidecar({ ipv6: 'on' }), { settings: { families: ['ipv4', 'ipv6'] } })
  t.match(sidecar({ 'redirect-dns': 'true' }), {
    settings: { dns: { kind: 'off' } },
    warnings: ['--redirect-dns: resolv.conf names no server, so DNS is not captured'],
  })
  const facts = { ...FACTS, nameservers: ['10.0.0.1', 'FD00:0::1', 'fe80::1%eth0'] }
  t.match(sidecar({ 'redirect-dns': 'true' }, {}, {}, facts), {
    settings: { dns: { kind: 'servers', ipv4: ['10.0.0.1'], ipv6: ['fd00::1'] } },
  })
  t.match(sidecar({ 'inbound-ports': '80', 'exclude-inbound-ports': '90' }), {
    warnings: ['--exclude-inbound-ports means nothing beside --inbound-ports, which names ports'],
  })
})

t.test('ranges', async (t) => {
  const cases: readonly [string, string | null][] = [
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['255.255.255.255/31', '255.255.255.254/31'],
    ['2001:DB8:0:0:1::/33', '2001:db8::/33'],
    ['::ffff:10.1.2.3/112', '::ffff:10.1.0.0/112'],
    ['::1', '::1/128'],
    ['fe80::1%eth0', null],
    ['10.0.0.0/', null],
    ['10.0.0/8', null],
    ['::/129', null],
    ['', null],
  ]
  for (const [text, expected] of cases) t.equal(parseCidr(text)?.text ?? null, expected, text)
  t.equal(parseCidr('127.1.2.3/32')?.loopback, true)
  t.equal(parseCidr('::1')?.loopback, true)
  t.equal(parseCidr('0.0.0.0/0')?.loopback, false, 'as Istio, which looks at the address alone')
})

t.test('files of the machine', async (t) => {
  t.same(nameserversIn('# x\nnameserver 10.0.0.1\n  nameserver\tfd00::1 # y\nsearch a\n'), ['10.0.0.1', 'fd00::1'])
  t.equal(groupIn('root:x:0:\njava:x:900:a,b\njavax:x:901:', 'java'), 900)
  t.equal(groupIn('java:x:900:', 'jav'), null)
  const text = 'a/b="x"\nc="two\\nlines"\nbroken\nd="\\x"\n'
  t.same(
    [...parseAnnotations(text)],
    [
      ['a/b', 'x'],
      ['c', 'two\nlines'],
    ],
  )
})
