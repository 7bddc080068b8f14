// What the clients ask: drawn from the seed and the number of the request, so that the upstream knows it too.
import { Dice } from './dice.ts'

/** What becomes of the client while it asks. */
export type ClientMood =
  | 'patient'
  /** Reads slowly. */
  | 'sleepy'
  /** Writes in small pieces. */
  | 'hesitant'
  /** Ends its side behind the request and waits. */
  | 'half-closing'
  /** Goes away with FIN or RST before, in or behind its body, or in the answer. */
  | 'leaving'

export interface RequestPlan {
  readonly id: number
  readonly host: string
  readonly method: string
  readonly idempotencyKey: boolean
  readonly framing: 'none' | 'length' | 'chunked'
  readonly bodyLength: number
  /** Bytes of the answer's body, when there is one. */
  readonly answerLength: number
  readonly mood: ClientMood
  /** leaving: after this share of the request and, beyond 1, of the answer. */
  readonly leavesAt: number
  readonly leavesBy: 'fin' | 'rst'
  /** Whether the next request of this client goes out without waiting for the answer. */
  readonly pipelined: boolean
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** A second attempt cannot do harm (RFC 9110 §9.2.2), or the sender says so. */
export function isSafeToRepeat(plan: RequestPlan): boolean {
  return SAFE_METHODS.has(plan.method) || plan.idempotencyKey
}

export function planRequest(seed: number, id: number, hosts: readonly string[], bufferBytes: number): RequestPlan {
  const dice = new Dice(seed, `request ${id}`)
  const [method, framing, key] = dice.weighted<readonly [string, RequestPlan['framing'], boolean]>([
    [40, ['GET', 'none', false]],
    [6, ['HEAD', 'none', false]],
    [18, ['POST', 'length', false]],
    [12, ['POST', 'chunked', false]],
    [5, ['POST', 'length', true]],
    [4, ['POST', 'chunked', true]],
    [5, ['PUT', 'length', false]],
    [3, ['DELETE', 'none', false]],
    [3, ['PATCH', 'length', false]],
  ])
  const small = () => dice.whole(0, 1500)
  // A large one is more than what is kept for a retry.
  const length = () => (dice.chance(0.04) ? dice.whole(bufferBytes, 4 * bufferBytes) : small())
  const mood = dice.weighted<ClientMood>([
    [80, 'patient'],
    [3, 'sleepy'],
    [5, 'hesitant'],
    [4, 'half-closing'],
    [8, 'leaving'],
  ])
  return {
    id,
    host: dice.one(hosts),
    method,
    idempotencyKey: key,
    framing,
    bodyLength: framing === 'none' ? 0 : length(),
    answerLength: length(),
    mood,
    leavesAt: dice.unit() * 2,
    leavesBy: dice.one(['fin', 'rst']),
    pipelined: mood === 'patient' && method === 'GET' && dice.chance(0.15),
  }
}
