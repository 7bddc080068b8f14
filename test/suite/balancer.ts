// What every balancer that has hosts of its own promises, whatever its policy; alone, and below the layers of a cluster.
import fc from 'fast-check'
import type { Test } from 'tap'
import { BalancedCluster } from '../../lib/cluster/lb/balanced-cluster.ts'
import { createBalancer } from '../../lib/cluster/lb/create.ts'
import { ACTIVE, Host } from '../../lib/cluster/lb/host.ts'
import { type Balancer, PickContext, type Picker } from '../../lib/cluster/lb/picker.ts'
import type { Cluster, LoadBalancerPolicy, LocalityWeight } from '../../lib/state/cluster.ts'
import { cluster, endpoint } from '../unit/route/world.ts'

/** Draws that repeat themselves from run to run: a linear congruential generator. */
export class Draws extends PickContext {
  #state: number

  constructor(seed: number) {
    super()
    this.#state = seed >>> 0
    this.next()
  }

  next(): this {
    this.draw = this.#step()
    this.draw2 = this.#step()
    return this
  }

  /** The high half of each of two states: the low bits of such a generator are poor. */
  #step(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    const high = this.#state >>> 16
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return high * 65_536 + (this.#state >>> 16)
  }
}

/** What a pick looks at, of two given draws. */
export function at(draw: number, draw2 = draw): PickContext {
  return Object.assign(new PickContext(), { draw, draw2 })
}

/** Gives a host so many requests in flight. */
export function keepBusy(host: Host, requests: number): void {
  while (host.active < requests) host.add(ACTIVE)
  while (host.active > requests) host.remove(ACTIVE)
}

export function hosts(weights: readonly number[]): Host[] {
  return weights.map((w, i) => new Host(i, endpoint(`127.0.0.${i + 1}`, 9080, w)))
}

/** Picks by host id. */
export function counts(balancer: Balancer, of: readonly Host[], picks: number, seed = 1): number[] {
  return countsOf(balancer.update(of, 0), of.length, picks, seed)
}

export function countsOf(picker: Picker, n: number, picks: number, seed = 1, nowMs = 0): number[] {
  const draws = new Draws(seed)
  draws.nowMs = nowMs
  const found = new Array<number>(n).fill(0)
  for (let i = 0; i < picks; i++) {
    const host = picker.pick(draws.next())
    if (host !== null) found[host.id] = (found[host.id] as number) + 1
  }
  return found
}

export interface GroupSpec {
  readonly priority?: number
  readonly zone?: string
  readonly healthy: number
  readonly total: number
}

/** Hosts group by group, the healthy ones of each first. */
export function grouped(groups: readonly GroupSpec[]): Host[] {
  const all: Host[] = []
  for (const { priority = 0, zone = '', healthy, total } of groups) {
    for (let i = 0; i < total; i++) {
      const id = all.length
      const locality = { region: 'r', zone, subzone: '' }
      const host = new Host(id, { ...endpoint(`10.0.${id >> 8}.${id & 255}`), priority, locality })
      host.available = i < healthy
      all.push(host)
    }
  }
  return all
}

export function zoneWeight(zone: string, weight: number, priority = 0): LocalityWeight {
  return { locality: { region: 'r', zone, subzone: '' }, priority, weight }
}

export function clusterWith(
  all: readonly Host[],
  over: Partial<Cluster> & { readonly loadBalancer: LoadBalancerPolicy },
): BalancedCluster {
  const config: Cluster = { ...cluster('c'), ...over }
  const made = new BalancedCluster(0, config)
  made.update(config, all, 0)
  return made
}

/** Percent of the draws that each priority gets: exact, since a hundred draws in a row name every percent once. */
export function percents(of: BalancedCluster, priorities: number, avoid = 0): number[] {
  const found = new Array<number>(priorities).fill(0)
  for (let draw = 0; draw < 100; draw++) {
    const host = of.picker.pick(Object.assign(at(draw), { avoidPriorities: avoid }))
    if (host !== null) found[host.endpoint.priority] = (found[host.endpoint.priority] as number) + 1
  }
  return found
}

export function balancerSuite(t: Test, name: string, policy: LoadBalancerPolicy): void {
  const make = (): Balancer => createBalancer(policy)

  t.test(`${name}: without hosts there is nothing to pick`, async (t) => {
    t.equal(make().update([], 0).pick(new Draws(1)), null)
  })

  t.test(`${name}: a single host takes everything`, async (t) => {
    t.strictSame(counts(make(), hosts([7]), 50), [50])
  })

  t.test(`${name}: every draw picks one of the hosts that were given, and health is not the policy's to ask for`, async () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ weight: fc.integer({ min: 1, max: 100 }), up: fc.boolean(), active: fc.nat(20) }), {
          minLength: 1,
          maxLength: 12,
        }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0, max: 0xffff_ffff })), { minLength: 1 }),
        (specs, draws) => {
          const all = hosts(specs.map((s) => s.weight))
          all.forEach((h, i) => {
            h.available = specs[i]?.up ?? true
            keepBusy(h, specs[i]?.active ?? 0)
          })
          const picker = make().update(all, 0)
          return draws.every(([draw, draw2]) => {
            const host = picker.pick(at(draw, draw2))
            return host !== null && all.includes(host)
          })
        },
      ),
    )
  })

  t.test(`${name}: equal hosts get equal shares`, async (t) => {
    for (const seed of [1, 2, 3]) {
      for (const share of counts(make(), hosts([1, 1, 1, 1]), 8000, seed)) {
        t.ok(share > 1700 && share < 2300, `${share} of 8000 among four`)
      }
    }
  })

  t.test(`${name}: an update does not disturb who holds the picker of before`, async (t) => {
    const balancer = make()
    const first = hosts([1])
    const before = balancer.update(first, 0)
    balancer.update(hosts([1, 1]), 0)
    t.equal(before.pick(new Draws(1)), first[0])
  })

  t.test(`${name}: in a cluster, hosts that are not available are picked in panic only`, async () => {
    const level = fc.record({ healthy: fc.nat(4), sick: fc.nat(4), zones: fc.integer({ min: 1, max: 3 }) })
    fc.assert(
      fc.property(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean(), fc.nat(1000), (levels, weighted, seed) => {
        const zones = ['a', 'b', 'c']
        const groups = levels.flatMap(({ healthy, sick, zones: n }, priority) =>
          zones.slice(0, n).map((zone) => ({ priority, zone, healthy, total: healthy + sick })),
        )
        const all = grouped(groups)
        const localityWeights = weighted ? groups.map(({ zone, priority }, i) => zoneWeight(zone, 1 + (i % 3), priority)) : null
        const made = clusterWith(all, { loadBalancer: policy, panicThreshold: 0, localityWeights })
        const draws = new Draws(seed)
        const anyWell = all.some((h) => h.available)
        for (let i = 0; i < 50; i++) {
          const host = made.picker.pick(draws.next())
          if (anyWell ? host?.available !== true : host !== null) return false
        }
        return true
      }),
    )
  })

  t.test(`${name}: in a cluster, a priority in panic uses all of its hosts`, async (t) => {
    const all = grouped([{ healthy: 1, total: 4 }])
    const made = clusterWith(all, { loadBalancer: policy, panicThreshold: 50 })
    for (const share of countsOf(made.picker, 4, 8000)) t.ok(share > 1700 && share < 2300, `${share} of 8000 among four`)
  })

  t.test(`${name}: in a cluster, priorities get the load that their health allows`, async (t) => {
    const all = grouped([
      { priority: 0, healthy: 2, total: 8 },
      { priority: 1, healthy: 4, total: 4 },
    ])
    t.strictSame(percents(clusterWith(all, { loadBalancer: policy }), 2), [35, 65])
  })
}
