// The tables of a sidecar's rules, chain by chain, as istio-iptables and istio-nftables make them.
import t from 'tap'
import { gatherSettings } from '../../../lib/interception/given-settings.ts'
import { restoreText } from '../../../lib/interception/iptables-text.ts'
import { nftTables } from '../../../lib/interception/nft-text.ts'
import { readSidecarSettings } from '../../../lib/interception/read-settings.ts'
import type { Family, RuleSet } from '../../../lib/interception/rule.ts'
import { sidecarRules } from '../../../lib/interception/sidecar-rules.ts'

type Flags = Readonly<Record<string, string>>

function rulesWith(flags: Flags): RuleSet {
  const sources = { flag: (name: string) => flags[name] ?? null, env: {}, annotations: new Map<string, string>() }
  const facts = { ipv6: true, nameservers: ['10.96.0.10', 'fd00::10'], groupId: (name: string) => (name === 'java' ? 900 : null) }
  const read = readSidecarSettings(gatherSettings(sources), facts)
  if (!read.ok) throw new Error(read.problems.join('\n'))
  return sidecarRules(read.settings)
}

/** `nat PREROUTING` → its rules, without `-A CHAIN`. */
function iptables(set: RuleSet, family: Family): Record<string, string[]> {
  const chains: Record<string, string[]> = {}
  let table = ''
  for (const line of restoreText(set, family).split('\n')) {
    if (line.startsWith('*')) table = line.slice(1)
    const rule = /^-(?:A|I) (\S+)(?: \d+)? (.*)/.exec(line)
    if (rule === null) continue
    const key = `${table} ${rule[1]}`
    chains[key] = [...(chains[key] ?? []), rule[2]!]
  }
  return chains
}

/** `nat prerouting` → its rules, without counter. */
function nft(set: RuleSet): Record<string, string[]> {
  const entries = nftTables(set).flatMap(({ name, chains }) =>
    chains.map((c): [string, string[]] => [
      `${name.split('-').at(-1)} ${c.name}`,
      c.rules.map(({ text }) => text.replace(' counter', '').replace(/^counter /, '')),
    ]),
  )
  return Object.fromEntries(entries.filter(([, rules]) => rules.length > 0))
}

const OWN = (by: 'uid' | 'gid', loopback = '127.0.0.1/32') => [
  `! -d ${loopback} -o lo -p tcp -m tcp ! --dport 15008 -m owner --${by}-owner 1337 -j ISTIO_IN_REDIRECT`,
  `-o lo -m owner ! --${by}-owner 1337 -j RETURN`,
  `-m owner --${by}-owner 1337 -j RETURN`,
]

t.test('REDIRECT, by default: all of nat', async (t) => {
  const set = rulesWith({})
  t.same(iptables(set, 'ipv4'), {
    'nat PREROUTING': ['-p tcp -j ISTIO_INBOUND'],
    'nat OUTPUT': ['-j ISTIO_OUTPUT'],
    'nat ISTIO_INBOUND': [
      '-p tcp -m tcp --dport 15008 -j RETURN',
      '-p tcp -m tcp --dport 15090 -j RETURN',
      '-p tcp -m tcp --dport 15021 -j RETURN',
      '-p tcp -m tcp --dport 15020 -j RETURN',
      '-p tcp -j ISTIO_IN_REDIRECT',
    ],
    'nat ISTIO_REDIRECT': ['-p tcp -j REDIRECT --to-ports 15001'],
    'nat ISTIO_IN_REDIRECT': ['-p tcp -j REDIRECT --to-ports 15006'],
    'nat ISTIO_OUTPUT': [
      '-s 127.0.0.6/32 -o lo -j RETURN',
      ...OWN('uid'),
      ...OWN('gid'),
      '-d 127.0.0.1/32 -j RETURN',
      '-j ISTIO_REDIRECT',
    ],
  })
  const six = iptables(set, 'ipv6')
  t.same(six['nat ISTIO_OUTPUT'], [
    '-s ::6/128 -o lo -j RETURN',
    ...OWN('uid', '::1/128'),
    ...OWN('gid', '::1/128'),
    '-d ::1/128 -j RETURN',
    '-j ISTIO_REDIRECT',
  ])
  t.same(set.loopbackAddresses, ['::6/128'], 'which lo has to have')
  t.same(set.routes, [])
})

t.test('the same in nft: one table for both families', async (t) => {
  const set = rulesWith({})
  const own = (by: 'uid' | 'gid') => [
    `ip daddr != 127.0.0.1/32 oifname "lo" tcp dport != 15008 meta sk${by} 1337 jump istio-in-redirect`,
    `ip6 daddr != ::1/128 oifname "lo" tcp dport != 15008 meta sk${by} 1337 jump istio-in-redirect`,
    `oifname "lo" meta sk${by} != 1337 return`,
    `meta sk${by} 1337 return`,
  ]
  t.same(nft(set), {
    'nat prerouting': ['meta l4proto tcp jump istio-inbound'],
    'nat output': ['jump istio-output'],
    'nat istio-inbound': [
      'tcp dport 15008 return',
      'tcp dport 15090 return',
      'tcp dport 15021 return',
      'tcp dport 15020 return',
      'meta l4proto tcp jump istio-in-redirect',
    ],
    'nat istio-redirect': ['meta l4proto tcp redirect to :15001'],
    'nat istio-in-redirect': ['meta l4proto tcp redirect to :15006'],
    'nat istio-output': [
      'ip saddr 127.0.0.6/32 oifname "lo" return',
      'ip6 saddr ::6/128 oifname "lo" return',
      ...own('uid'),
      ...own('gid'),
      'ip daddr 127.0.0.1/32 return',
      'ip6 daddr ::1/128 return',
      'jump istio-redirect',
    ],
  })
  const [table] = nftTables(set)
  t.equal(`${table!.family} ${table!.name}`, 'inet istio-proxy-nat')
  t.same(
    table!.chains.filter((c) => c.hook !== null).map((c) => c.hook),
    ['type nat hook prerouting priority -100', 'type nat hook output priority -100'],
  )
})

t.test('without IPv6 nothing of IPv6 is captured or needed', async (t) => {
  const set = rulesWith({ ipv6: 'off' })
  t.equal(nftTables(set)[0]!.family, 'ip')
  t.notMatch(JSON.stringify(nft(set)), /ip6|::/)
  t.same(set.loopbackAddresses, [])
  t.same(set.families, ['ipv4'])
})

t.test('one chain at a time', async (t) => {
  const cases: readonly {
    readonly name: string
    readonly flags: Flags
    readonly family?: Family
    readonly chain: string
    readonly rules: readonly string[] | undefined
  }[] = [
    { name: 'no inbound ports: no capture', flags: { 'inbound-ports': '' }, chain: 'nat PREROUTING', rules: undefined },
    {
      name: 'a list of inbound ports, exclusions without effect',
      flags: { 'inbound-ports': '8080, 9090' },
      chain: 'nat ISTIO_INBOUND',
      rules: [
        '-p tcp -m tcp --dport 15008 -j RETURN',
        '-p tcp -m tcp --dport 8080 -j ISTIO_IN_REDIRECT',
        '-p tcp -m tcp --dport 9090 -j ISTIO_IN_REDIRECT',
      ],
    },
    {
      name: 'other ports of the proxy',
      flags: { 'inbound-tunnel-port': '25008', 'exclude-inbound-ports': '' },
      chain: 'nat ISTIO_INBOUND',
      rules: ['-p tcp -m tcp --dport 25008 -j RETURN', '-p tcp -j ISTIO_IN_REDIRECT'],
    },
    {
      name: 'excluded ports and ranges before included ones',
      flags: {
        'exclude-outbound-ports': '88',
        'exclude-outbound-ranges': '10.1.2.3/16,fd00::/8',
        'outbound-ports': '99',
        'outbound-ranges': '10.0.0.0/8,2001:db8::/32',
      },
      chain: 'nat ISTIO_OUTPUT',
      rules: [
        '-p tcp -m tcp --dport 88 -j RETURN',
        '-p udp -m udp --dport 88 -j RETURN',
        '-s 127.0.0.6/32 -o lo -j RETURN',
        ...OWN('uid'),
        ...OWN('gid'),
        '-d 127.0.0.1/32 -j RETURN',
        '-d 10.1.0.0/16 -j RETURN',
        '-p tcp -m tcp --dport 99 -j ISTIO_REDIRECT',
        '-d 10.0.0.0/8 -j ISTIO_REDIRECT',
      ],
    },
    {
      name: 'and those of IPv6 in IPv6',
      flags: { 'exclude-outbound-ranges': '10.1.2.3/16,fd00::/8', 'outbound-ranges': '10.0.0.0/8,2001:db8::/32' },
      family: 'ipv6',
      chain: 'nat ISTIO_OUTPUT',
      rules: [
        '-s ::6/128 -o lo -j RETURN',
        ...OWN('uid', '::1/128'),
        ...OWN('gid', '::1/128'),
        '-d ::1/128 -j RETURN',
        '-d fd00::/8 -j RETURN',
        '-d 2001:db8::/32 -j ISTIO_REDIRECT',
      ],
    },
    {
      name: 'loopback addresses that are captured by name are not passed by',
      flags: { 'outbound-ranges': '127.1.2.3/32' },
      chain: 'nat ISTIO_OUTPUT',
      rules: [
        '-s 127.0.0.6/32 -o lo -j RETURN',
        OWN('uid')[0]!,
        OWN('uid')[2]!,
        OWN('gid')[0]!,
        OWN('gid')[2]!,
        '-d 127.0.0.1/32 -j RETURN',
        '-d 127.1.2.3/32 -j ISTIO_REDIRECT',
      ],
    },
    {
      name: 'more than one user, groups of their own',
      flags: { 'proxy-uid': '3,4', 'proxy-gid': '5', 'outbound-ranges': '' },
      chain: 'nat ISTIO_OUTPUT',
      rules: [
        '-s 127.0.0.6/32 -o lo -j RETURN',
        ...OWN('uid').map((rule) => rule.replace('1337', '3')),
        ...OWN('uid').map((rule) => rule.replace('1337', '4')),
        ...OWN('gid').map((rule) => rule.replace('1337', '5')),
        '-d 127.0.0.1/32 -j RETURN',
      ],
    },
    {
      name: 'only these groups: by number and by name',
      flags: { 'owner-groups': '202,java', 'outbound-ranges': '' },
      chain: 'nat ISTIO_OUTPUT',
      rules: [
        '-s 127.0.0.6/32 -o lo -j RETURN',
        ...OWN('uid'),
        ...OWN('gid'),
        '-m owner ! --gid-owner 202 -m owner ! --gid-owner 900 -j RETURN',
        '-d 127.0.0.1/32 -j RETURN',
      ],
    },
    {
      name: 'all but these groups',
      flags: { 'exclude-owner-groups': '202,java', 'outbound-ranges': '' },
      chain: 'nat ISTIO_OUTPUT',
      rules: [
        '-s 127.0.0.6/32 -o lo -j RETURN',
        ...OWN('uid'),
        ...OWN('gid'),
        '-m owner --gid-owner 202 -j RETURN',
        '-m owner --gid-owner 900 -j RETURN',
        '-d 127.0.0.1/32 -j RETURN',
      ],
    },
    {
      name: 'a wider loopback',
      flags: { 'loopback-range': '127.0.0.1/8', 'outbound-ranges': '' },
      chain: 'nat ISTIO_OUTPUT',
      rules: [
        '-s 127.0.0.6/32 -o lo -j RETURN',
        ...OWN('uid', '127.0.0.0/8'),
        ...OWN('gid', '127.0.0.0/8'),
        '-d 127.0.0.0/8 -j RETURN',
      ],
    },
    {
      name: 'interfaces: guests first, then those left alone, each known as ours',
      flags: { 'virtual-interfaces': 'vm0', 'exclude-interfaces': 'eth9', 'outbound-ranges': '10.0.0.0/8,2001:db8::/32' },
      chain: 'nat PREROUTING',
      rules: [
        '-d 10.0.0.0/8 -i vm0 -j ISTIO_REDIRECT',
        '-i vm0 -m comment --comment heddle -j RETURN',
        '-i eth9 -m comment --comment heddle -j RETURN',
        '-p tcp -j ISTIO_INBOUND',
      ],
    },
    {
      name: 'interfaces that are left alone, outbound',
      flags: { 'exclude-interfaces': 'eth9' },
      chain: 'nat OUTPUT',
      rules: ['-o eth9 -m comment --comment heddle -j RETURN', '-j ISTIO_OUTPUT'],
    },
    {
      name: 'invalid packets',
      flags: { 'drop-invalid': 'true' },
      chain: 'mangle PREROUTING',
      rules: ['-m conntrack --ctstate INVALID -j ISTIO_DROP'],
    },
    { name: 'are dropped', flags: { 'drop-invalid': 'true' }, chain: 'mangle ISTIO_DROP', rules: ['-j DROP'] },
  ]
  for (const { name, flags, family = 'ipv4', chain, rules } of cases)
    t.same(iptables(rulesWith(flags), family)[chain], rules, name)
})

t.test('DNS: questions to the servers of resolv.conf', async (t) => {
  const set = rulesWith({ 'redirect-dns': 'true' })
  const rules = iptables(set, 'ipv4')
  const dns = (by: 'uid' | 'gid', direct: string) => [
    `! -d 127.0.0.1/32 -o lo -p tcp ${direct} -m owner --${by}-owner 1337 -j ISTIO_IN_REDIRECT`,
    `-o lo -p tcp -m tcp ! --dport 53 -m owner ! --${by}-owner 1337 -j RETURN`,
    `-m owner --${by}-owner 1337 -j RETURN`,
  ]
  t.same(rules['nat ISTIO_OUTPUT'], [
    '-s 127.0.0.6/32 -o lo -j RETURN',
    ...dns('uid', '-m multiport ! --dports 53,15008'),
    ...dns('gid', '-m tcp ! --dport 15008'),
    '-j ISTIO_OUTPUT_DNS',
    '-d 127.0.0.1/32 -j RETURN',
    '-j ISTIO_REDIRECT',
  ])
  t.same(rules['nat ISTIO_OUTPUT_DNS'], [
    '-d 10.96.0.10/32 -p tcp -m tcp --dport 53 -j REDIRECT --to-ports 15053',
    '-d 10.96.0.10/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053',
  ])
  t.same(rules['raw OUTPUT'], ['-j ISTIO_OUTPUT_DNS'])
  t.same(rules['raw PREROUTING'], ['-j ISTIO_INBOUND'])
  t.same(rules['raw ISTIO_OUTPUT_DNS'], [
    '-p udp -m udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1',
    '-p udp -m udp --sport 15053 -m owner --uid-owner 1337 -j CT --zone 2',
    '-p udp -m udp --dport 53 -m owner --gid-owner 1337 -j CT --zone 1',
    '-p udp -m udp --sport 15053 -m owner --gid-owner 1337 -j CT --zone 2',
    '-d 10.96.0.10/32 -p udp -m udp --dport 53 -j CT --zone 2',
  ])
  t.same(rules['raw ISTIO_INBOUND'], ['-s 10.96.0.10/32 -p udp -m udp --sport 53 -j CT --zone 1'])
  t.same(iptables(set, 'ipv6')['raw ISTIO_INBOUND'], ['-s fd00::10/128 -p udp -m udp --sport 53 -j CT --zone 1'])
  t.same(nft(set)['nat istio-output-dns'], [
    'ip daddr 10.96.0.10/32 tcp dport 53 redirect to :15053',
    'ip6 daddr fd00::10/128 tcp dport 53 redirect to :15053',
    'ip daddr 10.96.0.10/32 udp dport 53 redirect to :15053',
    'ip6 daddr fd00::10/128 udp dport 53 redirect to :15053',
  ])
  t.match(nft(set)['nat istio-output']![2], 'tcp dport != { 53, 15008 } meta skuid 1337')
  t.equal(nft(set)['raw istio-output-dns']![0], 'udp dport 53 meta skuid 1337 ct zone set 1')
})

t.test('DNS: every question', async (t) => {
  const rules = iptables(rulesWith({ 'redirect-dns': 'true', 'capture-all-dns': 'true' }), 'ipv6')
  t.same(rules['nat ISTIO_OUTPUT_DNS'], [
    '-p tcp -m tcp --dport 53 -j REDIRECT --to-ports 15053',
    '-p udp -m udp --dport 53 -j REDIRECT --to-ports 15053',
  ])
  t.equal(rules['raw ISTIO_OUTPUT_DNS']!.at(-1), '-p udp -m udp --dport 53 -j CT --zone 2')
  t.same(rules['raw ISTIO_INBOUND'], ['-p udp -m udp --sport 53 -j CT --zone 1'])
  t.same(iptables(rulesWith({ 'capture-all-dns': 'true' }), 'ipv4')['raw OUTPUT'], undefined, 'only with --redirect-dns')
})

t.test('TPROXY: mangle hands packets over as they are', async (t) => {
  const set = rulesWith({ mode: 'tproxy', 'exclude-inbound-ports': '15021', 'exclude-interfaces': 'eth9' })
  const rules = iptables(set, 'ipv4')
  t.same(rules['mangle PREROUTING'], [
    '-i eth9 -m comment --comment heddle -j RETURN',
    '-p tcp -j ISTIO_INBOUND',
    '-p tcp -m mark --mark 0x539 -m comment --comment heddle -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff',
  ])
  t.same(rules['mangle ISTIO_INBOUND'], [
    '-p tcp -m mark --mark 0x539 -j RETURN',
    '-s 127.0.0.6/32 -i lo -p tcp -j RETURN',
    '-i lo -p tcp -m mark ! --mark 0x53a -j RETURN',
    '-p tcp -m tcp --dport 15008 -j RETURN',
    '-p tcp -m tcp --dport 15021 -j RETURN',
    '-p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT',
    '-p tcp -j ISTIO_TPROXY',
  ])
  t.same(rules['mangle ISTIO_DIVERT'], ['-j MARK --set-xmark 0x539/0xffffffff', '-j ACCEPT'])
  t.same(rules['mangle ISTIO_TPROXY'], ['! -d 127.0.0.1/32 -p tcp -j TPROXY --on-port 15006 --tproxy-mark 0x539/0xffffffff'])
  const own = (by: string) =>
    `! -d 127.0.0.1/32 -o lo -p tcp -m owner --${by}-owner 1337 -m comment --comment heddle -j MARK --set-xmark 0x53a/0xffffffff`
  t.same(rules['mangle OUTPUT'], [
    '-o eth9 -m comment --comment heddle -j RETURN',
    '-o lo -p tcp -m mark --mark 0x539 -m comment --comment heddle -j RETURN',
    own('uid'),
    own('gid'),
    '-p tcp -m connmark --mark 0x539 -m comment --comment heddle -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff',
  ])
  t.equal(rules['nat PREROUTING']?.length, 1, 'nat has no inbound rules but the one for eth9')
  t.match(rules['nat ISTIO_OUTPUT']!.at(-1), 'ISTIO_REDIRECT', 'outbound is as ever')
  t.same(
    set.routes,
    (['ipv4', 'ipv6'] as const).map((family) => ({ family, mark: 1337, mask: 0xffffffff, table: 133, priority: null })),
  )
  t.equal(iptables(set, 'ipv6')['mangle ISTIO_INBOUND']![1], '-s ::6/128 -i lo -p tcp -j RETURN')
})

t.test('TPROXY in nft', async (t) => {
  const set = rulesWith({ mode: 'TPROXY', 'inbound-ports': '8080', 'tproxy-mark': '0x10', 'tproxy-route-table': '7' })
  const rules = nft(set)
  t.same(rules['mangle istio-inbound'], [
    'meta l4proto tcp meta mark == 0x10 return',
    'ip saddr 127.0.0.6/32 iifname "lo" meta l4proto tcp return',
    'ip6 saddr ::6/128 iifname "lo" meta l4proto tcp return',
    'iifname "lo" meta l4proto tcp meta mark != 0x53a return',
    'tcp dport 15008 return',
    'tcp dport 8080 ct state related,established jump istio-divert',
    'tcp dport 8080 jump istio-tproxy',
  ])
  t.same(rules['mangle istio-divert'], ['meta mark set 0x10', 'accept'])
  t.same(rules['mangle istio-tproxy'], [
    'ip daddr != 127.0.0.1/32 meta l4proto tcp tproxy ip to :15006 meta mark set 16 accept',
    'ip6 daddr != ::1/128 meta l4proto tcp tproxy ip6 to :15006 meta mark set 16 accept',
  ])
  t.equal(rules['mangle prerouting']![1], 'meta l4proto tcp meta mark == 0x10 ct mark set meta mark')
  t.equal(rules['mangle output']!.at(-1), 'meta l4proto tcp ct mark == 0x10 meta mark set ct mark')
  const mangle = nftTables(set).find(({ name }) => name === 'istio-proxy-mangle')!
  t.same(
    mangle.chains.flatMap((c) => c.hook ?? []),
    ['type filter hook prerouting priority -150', 'type route hook output priority -150'],
    'a changed mark routes again only in a chain of the type route',
  )
  t.same(set.routes[0], { family: 'ipv4', mark: 16, mask: 0xffffffff, table: 7, priority: null })
})
