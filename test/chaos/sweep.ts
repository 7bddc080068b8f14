// An answer that ends at every one of its bytes, in every framing, by FIN and by RST.
import { type Act, type Ending, KIND_ACT, type Shape } from './act.ts'
import type { Fate } from './chaos-client.ts'
import { answerBytes } from './hostile-answer.ts'
import type { RequestPlan } from './request-plan.ts'

const SHAPES: readonly Shape[] = ['length', 'chunked', 'trailers', 'until-close']
const ENDINGS: readonly Ending[] = ['fin', 'rst']
const BODY_BYTES = 40

interface SweepCase {
  readonly plan: RequestPlan
  /** Of the first attempt; the second goes well. */
  readonly act: Act
  /** Bytes that leave before the end, and those of the head. */
  readonly at: number
  readonly headBytes: number
}

/** On a host that repeats everything, and with POST on one that repeats only what no endpoint has seen. */
export function sweepCases(): readonly SweepCase[] {
  const cases: SweepCase[] = []
  for (const shape of SHAPES) {
    for (const cut of ENDINGS) {
      for (const host of ['retrying', 'plain']) {
        const act: Act = { ...KIND_ACT, shape, cut }
        // As long as it is for the largest number of a request.
        const { bytes } = answerBytes(act, 9999, 1, 'GET', BODY_BYTES)
        for (let at = 0; at < bytes.length; at++) cases.push(oneCase(cases.length, host, act, at))
      }
    }
  }
  return cases
}

function oneCase(id: number, host: string, act: Act, at: number): SweepCase {
  const post = host === 'plain'
  const plan: RequestPlan = {
    id,
    host,
    method: post ? 'POST' : 'GET',
    idempotencyKey: false,
    framing: post ? 'length' : 'none',
    bodyLength: post ? 30 : 0,
    answerLength: BODY_BYTES,
    mood: 'patient',
    leavesAt: 0,
    leavesBy: 'fin',
    pipelined: false,
  }
  const { bytes } = answerBytes(act, id, 1, plan.method, BODY_BYTES)
  // Shorter numbers make shorter heads: their last cases are whole answers but for one byte.
  const end = Math.min(at, bytes.length - 1)
  return { plan, act: { ...act, upTo: (end + 0.5) / bytes.length }, at: end, headBytes: bytes.indexOf('\r\n\r\n') + 4 }
}

/** What must become of a case; empty when it did. */
export function judgeSweep({ plan, act, at, headBytes }: SweepCase, fate: Fate): string {
  const what = `${act.shape}, ${act.cut} at byte ${at} of a head of ${headBytes} (${plan.host})`
  const found = `${fate.end} ${fate.status}, attempt ${fate.attempt}`
  const is = (end: Fate['end'], status: number, attempt: number) =>
    fate.end === end && fate.status === status && fate.attempt === attempt
      ? ''
      : `${what}: ${found}, not ${end} ${status} by ${attempt}`
  if (at < headBytes) {
    if (plan.host === 'retrying') return is('answered', 200, 2)
    // Bytes that are no whole head are none at all.
    return is('local', fate.status === 502 ? 502 : 503, 0)
  }
  // The end of the connection is the end of such a body; RST is not.
  if (act.shape === 'until-close' && act.cut === 'fin') return is('answered', 200, 1)
  return is('cut', 200, 1)
}
