// The rules of a pod that the node's tunnel enters, as Istio's CNI agent makes them.
import t from 'tap'
import { restoreText } from '../../../lib/interception/iptables-text.ts'
import { nftTables } from '../../../lib/interception/nft-text.ts'
import { podRules } from '../../../lib/interception/pod-rules.ts'
import { routingSteps } from '../../../lib/interception/policy-routing.ts'
import type { PodSettings } from '../../../lib/interception/settings.ts'

const DEFAULTS: PodSettings = {
  families: ['ipv4', 'ipv6'],
  outboundCapturePort: 15001,
  inboundCapturePort: 15006,
  inboundTunnelPort: 15008,
  virtualInterfaces: [],
  captureDns: true,
  bypassInbound: false,
  probeSource: { ipv4: '169.254.7.127/32', ipv6: 'fd16::1/128' },
}

const lines = (settings: Partial<PodSettings>, family: 'ipv4' | 'ipv6') =>
  restoreText(podRules({ ...DEFAULTS, ...settings }), family)
    .trim()
    .split('\n')

t.test('iptables', async (t) => {
  t.same(lines({}, 'ipv4'), [
    '*raw',
    ':ISTIO_PRERT - [0:0]',
    ':ISTIO_OUTPUT - [0:0]',
    '-A PREROUTING -j ISTIO_PRERT',
    '-A OUTPUT -j ISTIO_OUTPUT',
    '-A ISTIO_PRERT -p udp -m udp --sport 53 -m mark ! --mark 0x539/0xfff -j CT --zone 1',
    '-A ISTIO_OUTPUT -p udp -m udp --dport 53 -m mark --mark 0x539/0xfff -j CT --zone 1',
    'COMMIT',
    '*mangle',
    ':ISTIO_PRERT - [0:0]',
    ':ISTIO_OUTPUT - [0:0]',
    '-A PREROUTING -j ISTIO_PRERT',
    '-A OUTPUT -j ISTIO_OUTPUT',
    '-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff',
    '-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff',
    'COMMIT',
    '*nat',
    ':ISTIO_PRERT - [0:0]',
    ':ISTIO_OUTPUT - [0:0]',
    '-A PREROUTING -j ISTIO_PRERT',
    '-A OUTPUT -j ISTIO_OUTPUT',
    '-A ISTIO_PRERT -s 169.254.7.127/32 -p tcp -j ACCEPT',
    '-A ISTIO_PRERT ! -d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006',
    '-A ISTIO_OUTPUT -d 169.254.7.127/32 -p tcp -j ACCEPT',
    '-A ISTIO_OUTPUT ! -o lo -p udp -m udp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053',
    '-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m tcp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053',
    '-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT',
    '-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT',
    '-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001',
    'COMMIT',
  ])
})

t.test('IPv6, guests, and entrances to the mesh', async (t) => {
  const settings = { captureDns: false, bypassInbound: true, virtualInterfaces: ['vm0'] }
  t.same(lines(settings, 'ipv6').slice(-12), [
    '*nat',
    ':ISTIO_PRERT - [0:0]',
    ':ISTIO_OUTPUT - [0:0]',
    '-A PREROUTING -j ISTIO_PRERT',
    '-A OUTPUT -j ISTIO_OUTPUT',
    '-A ISTIO_PRERT -i vm0 -p tcp -j REDIRECT --to-ports 15001',
    '-A ISTIO_PRERT -i vm0 -p tcp -j RETURN',
    '-A ISTIO_OUTPUT -d fd16::1/128 -p tcp -j ACCEPT',
    '-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT',
    '-A ISTIO_OUTPUT ! -d ::1/128 -o lo -j ACCEPT',
    '-A ISTIO_OUTPUT ! -d ::1/128 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001',
    'COMMIT',
  ])
  t.notOk(lines(settings, 'ipv6').includes('*raw'), 'no DNS, no zones')
})

t.test('nft', async (t) => {
  const tables = nftTables(podRules(DEFAULTS))
  t.same(
    tables.map(({ family, name }) => `${family} ${name}`),
    ['inet istio-ambient-raw', 'inet istio-ambient-mangle', 'inet istio-ambient-nat'],
  )
  const rules = (table: string, chain: string) =>
    tables
      .find(({ name }) => name === `istio-ambient-${table}`)!
      .chains.find(({ name }) => name === chain)!
      .rules.map(({ text }) => text)
  t.same(rules('mangle', 'istio-prerouting'), ['meta mark & 0xfff == 0x539 counter ct mark set ct mark & 0xfffff000 | 0x111'])
  t.same(rules('mangle', 'istio-output'), ['ct mark & 0xfff == 0x111 counter meta mark set ct mark'])
  t.same(rules('nat', 'istio-prerouting'), [
    'ip saddr 169.254.7.127/32 meta l4proto tcp counter accept',
    'ip6 saddr fd16::1/128 meta l4proto tcp counter accept',
    'ip daddr != 127.0.0.1/32 tcp dport != 15008 meta mark & 0xfff != 0x539 counter redirect to :15006',
    'ip6 daddr != ::1/128 tcp dport != 15008 meta mark & 0xfff != 0x539 counter redirect to :15006',
  ])
})

t.test('policy routing', async (t) => {
  t.same(
    routingSteps(podRules({ ...DEFAULTS, families: ['ipv4'] })).map((step) => step.join(' ')),
    ['-4 route add local 0.0.0.0/0 dev lo table 100', '-4 rule add fwmark 0x111/0xfff priority 32764 lookup 100'],
  )
})
