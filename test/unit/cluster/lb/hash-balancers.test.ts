// RING_HASH and MAGLEV against Envoy 1.40, and what a consistent hash promises.
import t from 'tap'
import { XxHash64 } from '../../../../lib/base/xx-hash64.ts'
import { BalancedCluster } from '../../../../lib/cluster/lb/balanced-cluster.ts'
import { createBalancer } from '../../../../lib/cluster/lb/create.ts'
import { Host } from '../../../../lib/cluster/lb/host.ts'
import { PickContext, type Picker } from '../../../../lib/cluster/lb/picker.ts'
import type { LoadBalancerPolicy } from '../../../../lib/state/cluster.ts'
import { balancerSuite, hosts } from '../../../suite/balancer.ts'
import { cluster, endpoint } from '../../route/world.ts'

const MAXIMUM = 8_388_608
const RING: LoadBalancerPolicy = { kind: 'RING_HASH', minimumRingSize: 1024, maximumRingSize: MAXIMUM }
const MAGLEV: LoadBalancerPolicy = { kind: 'MAGLEV', tableSize: 65_537 }

balancerSuite(t, 'RING_HASH', RING)
balancerSuite(t, 'MAGLEV', MAGLEV)

const hash = new XxHash64()
const ctx = new PickContext()
ctx.hashed = true

function pickFor(picker: Picker, key: string, again = 0): Host {
  hash.hash(key)
  ctx.hashHigh = hash.high
  ctx.hashLow = hash.low
  ctx.again = again
  return picker.pick(ctx) as Host
}

// What Envoy was asked: the value of the hashed header, by clusters of endpoints 127.0.9.N:8080.
const KEYS: readonly string[] = [
  ...['u1', 'u2', 'u3', 'alice', 'bob', 'carol', 'dave', '', '0', 'a', 'deadbeef', '550e8400-e29b-41d4-a716-446655440000'],
  ...['user@example.com', 'ü\xff', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(33)],
  ...['The quick brown fox jumps over the lazy dog, again and again and again', '10.0.0.1', 'k=v; w=x'],
  ...Array.from({ length: 20 }, (_, i) => `session-${i}`),
]

function numbered(numbers: readonly number[], weights: readonly number[] = numbers.map(() => 1)): Host[] {
  return numbers.map((n, i) => new Host(i, endpoint(`127.0.9.${n}`, 8080, weights[i] as number)))
}

const FIVE = numbered([1, 2, 3, 4, 5])
const WEIGHTED = numbered([1, 2, 3], [1, 2, 5])
const SEVEN = [7, 3, 5, 1, 2, 6, 4]

/** Last number of the endpoint's address, of IPv6 ones of its port, for each key. */
const ENVOY: readonly [name: string, policy: LoadBalancerPolicy, hosts: readonly Host[], answers: string][] = [
  ['ring of 1024, five', RING, FIVE, '2223545434514143255155212452213213353523'],
  ['ring of 1024, weights 1, 2, 5', RING, WEIGHTED, '2223333333333333221332212332233333323323'],
  ['ring of 64, seven', { ...RING, minimumRingSize: 64 }, numbered(SEVEN), '2451515654174251176423514355633325334675'],
  [
    'ring of 4 to 10, four: not the same number of entries for each',
    { ...RING, minimumRingSize: 4, maximumRingSize: 10 },
    numbered([1, 2, 3, 4]),
    '2212224212112212242212142242212241211244',
  ],
  [
    'ring of 1024, IPv6',
    RING,
    [8081, 8082, 8083].map((port, i) => new Host(i, endpoint('::1', port))),
    '1231112232123312121231322312321311213332',
  ],
  ['table of 65537, five', MAGLEV, FIVE, '4333415224443424443221325125222233151524'],
  ['table of 65537, weights 1, 2, 5', MAGLEV, WEIGHTED, '3333122333333322333223323123323233123323'],
  [
    'table of 251, seven unequal, listed in disorder',
    { kind: 'MAGLEV', tableSize: 251 },
    numbered(SEVEN, [1, 1, 2, 3, 5, 8, 13]),
    '1252612767224446664414223244564444627142',
  ],
]

const numberOf = (host: Host) => (host.address.startsWith('[') ? host.address.slice(-1) : host.address.slice(8, 9))

t.test('every key goes where Envoy sends it', async (t) => {
  for (const [name, policy, all, answers] of ENVOY) {
    const picker = createBalancer(policy).update(all, 0)
    t.equal(KEYS.map((key) => numberOf(pickFor(picker, key))).join(''), answers, name)
  }
})

t.test('and where Envoy sends it when istiod has configured it', async (t) => {
  // Asked of the recorded world of five services each: endpoints 127.0.23.N:9080 by header, 127.0.24.N:9080 by cookie.
  const keys = [
    ...['u1', 'u2', 'alice', 'bob', 'carol', 'deadbeef', '550e8400-e29b-41d4-a716-446655440000', ''],
    ...Array.from({ length: 24 }, (_, i) => `session-${i}`),
  ]
  const five = (net: number) => [1, 2, 3, 4, 5].map((n) => new Host(n, endpoint(`127.0.${net}.${n}`, 9080)))
  const asked = (net: number, values: readonly string[]) => {
    const picker = createBalancer(RING).update(five(net), 0)
    return values.map((value) => pickFor(picker, value).id).join('')
  }
  t.equal(asked(23, keys), '31422333121131232544534243215241')
  t.equal(asked(24, ['abc', 'x', 'session-1', 'session-2']), '5111')
})

/** `1`: a host of weight 1; `2*3`: of weight 3; `4!`: one that is not well. Last number of its address. */
function zoneOf(zone: string, priority: number, text: string): Host[] {
  return text.split(' ').map((word) => {
    const [, n, weight = '1', ill] = /^(\d)(?:\*(\d))?(!)?$/.exec(word) as RegExpExecArray
    const locality = { region: 'r', zone, subzone: '' }
    const host = new Host(Number(n), { ...endpoint(`127.0.9.${n}`, 8080, Number(weight)), locality, priority })
    host.available = ill === undefined
    return host
  })
}

t.test(
  'with localities, priorities and panic too: one ring over weighted localities, the hash chooses the priority',
  async (t) => {
    const keys = Array.from({ length: 60 }, (_, i) => `session-${i}`)
    const weighted = [zoneOf('z1', 0, '1 2*3'), zoneOf('z2', 0, '3 4 5')]
    const ill = [zoneOf('z1', 0, '1 2*3!'), zoneOf('z2', 0, '3 4! 5! 6')]
    const gone = [zoneOf('z1', 0, '1 2'), zoneOf('z2', 0, '3!'), zoneOf('z3', 0, '4 5 6')]
    const levels = [zoneOf('z1', 0, '1 2! 3 4!'), zoneOf('z2', 1, '5 6 7')]
    const panic = [zoneOf('z1', 0, '1 2! 3! 4! 5!')]
    const panicking = [zoneOf('z1', 0, '1 2! 3!'), zoneOf('z2', 0, '4! 5!')]
    const rows: [
      name: string,
      policy: LoadBalancerPolicy,
      zones: readonly Host[][],
      weights: readonly number[] | null,
      answers: string,
    ][] = [
      ['localities of 30 and 70', RING, weighted, [30, 70], '552124522132533535232544254421235432242552441335312543432512'],
      ['localities of 30 and 70', MAGLEV, weighted, [30, 70], '223254252222331535242533525145222335245344524455354355455353'],
      [
        'unhealthy hosts leave localities their weights',
        RING,
        ill,
        [30, 70],
        '631613663331333633633663166611113331616663131666361111163613',
      ],
      [
        'a locality without healthy hosts',
        RING,
        gone,
        [30, 70, 50],
        '526124622125156525626544646511245464242522441564615511422512',
      ],
      [
        'a locality without healthy hosts',
        MAGLEV,
        gone,
        [30, 70, 50],
        '266251652626441515642661525165222415245544124455454565461654',
      ],
      [
        '70 % of the load for the first priority',
        RING,
        levels,
        null,
        '351733617337333533136511117133163313653133131611317111133613',
      ],
      [
        '70 % of the load for the first priority',
        MAGLEV,
        levels,
        null,
        '163731617136331513117731135111371333771333133611335331131613',
      ],
      ['panic', RING, panic, null, '552124522132133535232544254511235442242552441115312511432512'],
      ['panic', MAGLEV, panic, null, '213251252222331515242531525145222335245344124455354355451353'],
      [
        'panic leaves localities their weights',
        RING,
        panicking,
        [30, 70],
        '554124422133531555524544454441545444252554541435315514432554',
      ],
    ]
    for (const [name, loadBalancer, zones, weights, answers] of rows) {
      const localityWeights =
        weights === null
          ? null
          : zones.map(([host], i) => ({ locality: (host as Host).endpoint.locality, priority: 0, weight: weights[i] as number }))
      const config = { ...cluster('c'), loadBalancer, localityWeights, panicThreshold: 50 }
      const made = new BalancedCluster(0, config)
      made.update(config, zones.flat(), 0)
      t.equal(keys.map((key) => pickFor(made.picker, key).id).join(''), answers, `${loadBalancer.kind}: ${name}`)
    }
  },
)

t.test('attempts that are to avoid the hosts before find those that Envoy finds', async (t) => {
  // Three retries of a request that always fails, previous-hosts predicate, five more picks: the hosts of the four attempts.
  const rows: [policy: LoadBalancerPolicy, answers: string][] = [
    [RING, '2134 2413 2354 3121 5421 4231 5431 4333 3511 4513 5314 1244 4351 1352'],
    [MAGLEV, '4215 3125 3425 3415 4153 1435 5431 2532 2435 4351 4512 4523 3454 4125'],
  ]
  for (const [policy, answers] of rows) {
    const picker = createBalancer(policy).update(FIVE, 0)
    const found = answers.split(' ').map((_, i) => {
      const tried: Host[] = []
      for (let attempt = 0; attempt < 4; attempt++) {
        let host = pickFor(picker, KEYS[i] as string)
        for (let again = 1; again <= 5 && tried.includes(host); again++) host = pickFor(picker, KEYS[i] as string, again)
        tried.push(host)
      }
      return tried.map(numberOf).join('')
    })
    t.equal(found.join(' '), answers, policy.kind)
  }
})

const many = (n: number) => Array.from({ length: n }, (_, i) => new Host(i, endpoint(`10.1.${i >> 8}.${i & 255}`, 80)))
const SESSIONS = Array.from({ length: 4000 }, (_, i) => `s${i}`)

for (const policy of [RING, MAGLEV]) {
  t.test(`${policy.kind}: a host that goes moves its own keys, and at most as many others`, async (t) => {
    for (const n of [2, 5, 20]) {
      const all = many(n)
      const before = createBalancer(policy).update(all, 0)
      const after = createBalancer(policy).update(all.slice(1), 0)
      const moved = SESSIONS.filter((s) => pickFor(before, s) !== pickFor(after, s))
      const orphaned = SESSIONS.filter((s) => pickFor(before, s) === all[0])
      t.ok(orphaned.length > (0.6 * SESSIONS.length) / n, `${orphaned.length} of ${SESSIONS.length} had been with one of ${n}`)
      t.ok(orphaned.length < (1.4 * SESSIONS.length) / n)
      // A ring of about the same size gives the others more entries each; Maglev trades some stability for even shares (paper, §5.3).
      const others = moved.length - orphaned.length
      t.ok(others < (1.2 * SESSIONS.length) / n, `${others} others moved`)
    }
  })

  t.test(`${policy.kind}: the order of the hosts plays no part`, async (t) => {
    const all = many(8)
    const one = createBalancer(policy).update(all, 0)
    const other = createBalancer(policy).update(all.toReversed(), 0)
    t.same(
      SESSIONS.filter((s) => pickFor(one, s) !== pickFor(other, s)),
      [],
    )
  })

  t.test(`${policy.kind}: shares follow weights, the hosts' own or those given for them`, async (t) => {
    const shares = (picker: Picker, n: number) => {
      const found = new Array<number>(n).fill(0)
      for (const s of SESSIONS) found[pickFor(picker, s).id]!++
      return found.map((c) => c / SESSIONS.length)
    }
    const own = shares(createBalancer(policy).update(hosts([1, 3]), 0), 2)
    t.ok(Math.abs((own[1] as number) - 0.75) < 0.05, `${own}`)
    const given = shares(createBalancer(policy).update(hosts([1, 1, 1]), 0, [0.1, 0.1, 0.8]), 3)
    t.ok(Math.abs((given[2] as number) - 0.8) < 0.05, `${given}`)
  })

  t.test(`${policy.kind}: without a hash it draws`, async (t) => {
    const picker = createBalancer(policy).update(FIVE, 0)
    const found = new Set<Host | null>()
    for (let i = 0; i < 64; i++) {
      const drawn = new PickContext()
      drawn.draw = (i * 0x0654_3211) >>> 0
      drawn.draw2 = (i * 0x0123_4567) >>> 0
      drawn.hashHigh = 7
      found.add(picker.pick(drawn))
    }
    t.equal(found.size, 5)
  })

  t.test(`${policy.kind}: an update that changes nothing costs nothing; a weight does change it`, async (t) => {
    const balancer = createBalancer(policy)
    const all = hosts([1, 1])
    const first = balancer.update(all, 0)
    t.equal(balancer.update([...all], 1), first)
    ;(all[1] as Host).weight = 3
    t.not(balancer.update(all, 2), first)
    t.not(balancer.update(all.slice(1), 3), first)
  })
}

t.test('RING_HASH: where the number of entries stays, nobody else moves', async (t) => {
  const all = many(50)
  const balancer = { ...RING, minimumRingSize: 1 }
  const before = createBalancer(balancer).update(all, 0)
  const after = createBalancer(balancer).update(all.slice(1), 0)
  const moved = SESSIONS.filter((s) => pickFor(before, s) !== pickFor(after, s))
  t.ok(moved.length > 0)
  t.ok(moved.every((s) => pickFor(before, s) === all[0]))
})

t.test('RING_HASH: hashes at both ends of the numbers, and one that is an entry', async (t) => {
  const one = new Host(0, endpoint('127.0.9.1', 8080))
  const two = new Host(1, endpoint('127.0.9.2', 8080))
  const picker = createBalancer({ kind: 'RING_HASH', minimumRingSize: 2, maximumRingSize: MAXIMUM }).update([one, two], 0)
  const entries = [one, two]
    .map((host) => {
      hash.hash(`${host.address}_0`)
      return { host, high: hash.high, low: hash.low }
    })
    .sort((a, b) => a.high - b.high)
  const [low, high] = entries as [(typeof entries)[0], (typeof entries)[0]]
  const rows: [what: string, hashHigh: number, hashLow: number, expected: Host][] = [
    ['the smallest number', 0, 0, low.host],
    ['the largest wraps around', 0xffff_ffff, 0xffff_ffff, low.host],
    ['the lower entry itself', low.high, low.low, low.host],
    ['one above it', low.high, low.low + 1, high.host],
    ['one below the upper', high.high, high.low - 1, high.host],
    ['one above the upper', high.high, high.low + 1, low.host],
  ]
  for (const [what, hashHigh, hashLow, expected] of rows) {
    t.equal(picker.pick(Object.assign(new PickContext(), { hashed: true, hashHigh, hashLow })), expected, what)
  }
})
