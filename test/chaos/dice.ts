// Chance that can be repeated: every decision is drawn from the seed and from what is being decided, not from the order in which things
// happened to come.

/** Draws of one decision. Two with the same seed and label draw the same. */
export class Dice {
  private state: number

  constructor(seed: number, label: string) {
    let h = seed | 0
    for (let i = 0; i < label.length; i++) h = Math.imul(h ^ label.charCodeAt(i), 0x01000193) ^ (h >>> 15)
    this.state = h
    // Seeds and labels that are near each other must not draw alike.
    this.unit()
    this.unit()
  }

  /** 0 ≤ x < 1 (mulberry32). */
  unit(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000
  }

  /** from ≤ n < to. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.unit() * (to - from))
  }

  chance(share: number): boolean {
    return this.unit() < share
  }

  one<T>(list: readonly T[]): T {
    return list[this.whole(0, list.length)] as T
  }

  /** By weight; the weights need no particular sum. */
  weighted<T>(choices: readonly (readonly [weight: number, value: T])[]): T {
    let left = this.unit() * choices.reduce((sum, [w]) => sum + w, 0)
    for (const [weight, value] of choices) {
      left -= weight
      if (left < 0) return value
    }
    return (choices.at(-1) as readonly [number, T])[1]
  }
}
