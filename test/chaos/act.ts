// What a hostile upstream does with one attempt of one request: drawn from the seed, the request and the number of the attempt.
import { Dice } from './dice.ts'
import type { RequestPlan } from './request-plan.ts'

export type Shape = 'length' | 'chunked' | 'trailers' | 'until-close'
export type Ending = 'fin' | 'rst'

export interface Act {
  readonly shape: Shape
  readonly status: number
  /** Interim responses before it. */
  readonly interim: readonly number[]
  /** Answers without having read the body. */
  readonly early: boolean
  readonly delayMs: number
  readonly pace: 'whole' | 'halves' | 'trickle'
  /** Which part of the answer leaves: all of it, or so much, by share. */
  readonly upTo: number
  /** What happens when not all of it leaves. `stall`: nothing any more. */
  readonly cut: Ending | 'stall'
  /** Bytes that do not belong there, and where. */
  readonly garbage: 'none' | 'instead' | 'in-head' | 'in-body' | 'behind'
  /** Of the connection, after a whole answer. `late`: closes some milliseconds later, when it may be in use again. */
  readonly after: 'keep' | 'announced-close' | Ending | 'late' | 'half-close'
}

/** A whole and correct answer. */
export const KIND_ACT: Act = {
  shape: 'length',
  status: 200,
  interim: [],
  early: false,
  delayMs: 0,
  pace: 'whole',
  upTo: 1,
  cut: 'fin',
  garbage: 'none',
  after: 'keep',
}

/** `malice`: which share of the attempts goes wrong. */
export function drawAct(seed: number, plan: RequestPlan, attempt: number, malice: number): Act {
  const dice = new Dice(seed, `act ${plan.id} ${attempt}`)
  const shape = dice.weighted<Shape>([
    [50, 'length'],
    [25, 'chunked'],
    [15, 'trailers'],
    [10, 'until-close'],
  ])
  const base: Act = {
    ...KIND_ACT,
    shape,
    status: dice.chance(0.08) ? dice.one([500, 502, 503, 504, 409, 429, 404, 204, 304]) : 200,
    interim: dice.chance(0.05) ? dice.one([[100], [103], [100, 103, 103]]) : [],
    early: dice.chance(0.05),
    delayMs: dice.chance(0.1) ? dice.whole(1, 20) : 0,
    pace: dice.weighted([
      [85, 'whole'],
      [12, 'halves'],
      [plan.answerLength < 3000 ? 3 : 0, 'trickle'],
    ]),
    after: dice.weighted<Act['after']>([
      [75, 'keep'],
      [5, 'announced-close'],
      [6, 'fin'],
      [3, 'rst'],
      [8, 'late'],
      [3, 'half-close'],
    ]),
  }
  if (!dice.chance(malice)) return base
  const how = dice.weighted<'fin' | 'rst' | 'stall' | 'garbage'>([
    [40, 'fin'],
    [40, 'rst'],
    [5, 'stall'],
    [15, 'garbage'],
  ])
  if (how === 'garbage') return { ...base, garbage: dice.one(['instead', 'in-head', 'in-body', 'behind']) }
  // Half of them before the first byte, which is where a retry is tempting.
  return { ...base, upTo: dice.chance(0.5) ? 0 : dice.unit(), cut: how, early: dice.chance(0.3) }
}
