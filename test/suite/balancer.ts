// What every balancer that has hosts of its own promises, whatever its policy.
import fc from 'fast-check'
import type { Test } from 'tap'
import { ACTIVE, Host } from '../../lib/cluster/lb/host.ts'
import { type Balancer, PickContext } from '../../lib/cluster/lb/picker.ts'
import { endpoint } from '../unit/route/world.ts'

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
  const picker = balancer.update(of, 0)
  const draws = new Draws(seed)
  const found = of.map(() => 0)
  for (let i = 0; i < picks; i++) {
    const host = picker.pick(draws.next())
    if (host !== null) found[host.id] = (found[host.id] as number) + 1
  }
  return found
}

export function balancerSuite(t: Test, name: string, make: () => Balancer): void {
  t.test(`${name}: without hosts there is nothing to pick`, async (t) => {
    t.equal(make().update([], 0).pick(new Draws(1)), null)
    const gone = hosts([1, 2])
    for (const h of gone) h.available = false
    t.equal(make().update(gone, 0).pick(new Draws(1)), null)
  })

  t.test(`${name}: a single host takes everything`, async (t) => {
    t.strictSame(counts(make(), hosts([7]), 50), [50])
  })

  t.test(`${name}: a host that is picked is available, and every draw picks one`, async () => {
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
            return all.some((h) => h.available) ? host?.available === true : host === null
          })
        },
      ),
    )
  })

  t.test(`${name}: equal hosts get equal shares`, async (t) => {
    for (const seed of [1, 2, 3]) {
      for (const share of counts(make(), hosts([1, 1, 1, 1]), 8000, seed)) {
        t.ok(share > 1800 && share < 2200, `${share} of 8000 among four`)
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
}
