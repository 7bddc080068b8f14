// Clients that ask as planned, one connection after the other, and judge what comes back.
import { pause } from '../support/eventually.ts'
import { header, type ResponseMessage } from '../support/h1-reader.ts'
import { RawClient } from '../support/raw-client.ts'
import { contentOf, differsAt } from './content.ts'
import { MARK } from './hostile-answer.ts'
import type { RequestPlan } from './request-plan.ts'

/** What became of a request, as its client saw it. */
export interface Fate {
  readonly plan: RequestPlan
  /**
   * `local`: the proxy's own answer. `cut`: no whole answer. `left`: the client went away. `unheard`: it stood behind a request whose answer
   * was the last one on the connection.
   */
  readonly end: 'answered' | 'local' | 'cut' | 'left' | 'unheard'
  /** Bytes of the answer's body. */
  readonly bodyBytes: number
  /** 0: no head of an answer came. */
  readonly status: number
  /** Attempt whose answer it is; 0 when it is nobody's. */
  readonly attempt: number
  readonly sentMs: number
  readonly endedMs: number
  /** What must never be. */
  readonly wrong: string
  /** For messages: the client's connection. */
  readonly where: string
  /** Whose answer came before it on the same connection: `<request>.<attempt>…`; empty for none. */
  readonly behind: string
}

export const ANSWER_BUDGET_MS = 15_000
/** A client asks so often on one connection. */
export const REQUESTS_PER_CONNECTION = 40

export interface ClientOptions {
  readonly port: () => number
  /** The next request; null: no more. */
  readonly next: () => RequestPlan | null
  readonly onFate: (fate: Fate) => void
}

/** Asks until there is nothing left to ask. */
export async function runClient(options: ClientOptions): Promise<void> {
  const closers: (() => unknown)[] = []
  const teardown = { teardown: (fn: () => unknown) => void closers.push(fn) }
  let plan = options.next()
  while (plan !== null) {
    const client = await RawClient.connect(teardown, { port: options.port() })
    for (let n = 0; plan !== null && n < REQUESTS_PER_CONNECTION; n++) {
      const batch = [plan]
      if (plan.pipelined) {
        const second = options.next()
        if (second !== null) batch.push(second)
      }
      const lives = await askBatch(client, batch, options.onFate)
      plan = options.next()
      if (!lives) break
    }
    client.destroy()
    for (const close of closers.splice(0)) close()
  }
}

/** False when the connection is of no more use. */
async function askBatch(client: RawClient, batch: readonly RequestPlan[], onFate: (fate: Fate) => void): Promise<boolean> {
  const first = batch[0] as RequestPlan
  const sentMs = performance.now()
  const before = client.responses.length
  const writing = writeBatch(client, batch)
  let lives = true
  for (const [i, plan] of batch.entries()) {
    if (plan.mood === 'leaving') {
      await writing
      onFate(await leave(client, plan, before + i, sentMs))
      return false
    }
    const fate = await read(client, plan, before + i, sentMs, first.mood === 'sleepy')
    lives = lives && fate.end !== 'cut' && fate.wrong === '' && client.closedBy === null && first.mood !== 'half-closing'
    onFate(fate)
    const response = client.responses[before + i]
    if (fate.end !== 'cut' && (response === undefined || header(response, 'connection') !== 'close')) continue
    for (const unheard of batch.slice(i + 1)) onFate({ ...fate, plan: unheard, end: 'unheard', status: 0, attempt: 0, wrong: '' })
    return false
  }
  // An answer may be whole before its request is: the next one must not come into the middle of that.
  if (lives) await writing
  return lives
}

function headOf(plan: RequestPlan): string {
  let head = `${plan.method} /c/${plan.id} HTTP/1.1\r\nhost: ${plan.host}\r\nx-request-id: chaos-${plan.id}\r\n`
  if (plan.idempotencyKey) head += `idempotency-key: "${plan.id}"\r\n`
  if (plan.framing !== 'none') head += `x-body-bytes: ${plan.bodyLength}\r\n`
  if (plan.framing === 'length') head += `content-length: ${plan.bodyLength}\r\n`
  if (plan.framing === 'chunked') head += 'transfer-encoding: chunked\r\n'
  return `${head}\r\n`
}

function bytesOf(plan: RequestPlan): Buffer {
  const body = contentOf(plan.id, plan.bodyLength)
  if (plan.framing !== 'chunked') return Buffer.concat([Buffer.from(headOf(plan)), body])
  const half = Math.ceil(body.length / 2)
  const chunks = [body.subarray(0, half), body.subarray(half)].filter((c) => c.length > 0)
  const parts = chunks.flatMap((c) => [Buffer.from(`${c.length.toString(16)}\r\n`), c, Buffer.from('\r\n')])
  return Buffer.concat([Buffer.from(headOf(plan)), ...parts, Buffer.from('0\r\n\r\n')])
}

async function writeBatch(client: RawClient, batch: readonly RequestPlan[]): Promise<void> {
  const first = batch[0] as RequestPlan
  for (const plan of batch) client.expectMethod(plan.method)
  const bytes = Buffer.concat(batch.map(bytesOf))
  if (first.mood === 'leaving') {
    // At least the head: without one there is no request.
    const head = headOf(first).length
    await client.write(bytes.subarray(0, head + Math.floor(Math.min(1, first.leavesAt) * (bytes.length - head))))
  } else if (first.mood === 'hesitant') {
    const step = Math.max(1, Math.ceil(bytes.length / 6))
    await client.writeSplit(
      bytes,
      Array.from({ length: 5 }, (_, i) => (i + 1) * step),
    )
  } else await client.write(bytes)
  if (first.mood === 'half-closing') client.end()
}

async function leave(client: RawClient, plan: RequestPlan, index: number, sentMs: number): Promise<Fate> {
  // Some leave at once, some when the answer has begun.
  if (plan.leavesAt > 1) await client.until('something', () => client.responses.length > index || client.closedBy !== null)
  const response = client.responses[index]
  if (plan.leavesBy === 'rst') client.reset()
  else client.destroy()
  const endedMs = performance.now()
  const { wrong } = judge(plan, response)
  return {
    plan,
    end: 'left',
    status: response?.status ?? 0,
    attempt: 0,
    bodyBytes: 0,
    sentMs,
    endedMs,
    wrong,
    ...whereOf(client, index),
  }
}

async function read(client: RawClient, plan: RequestPlan, index: number, sentMs: number, sleepy: boolean): Promise<Fate> {
  if (sleepy) {
    client.pause()
    await pause(plan.id % 40)
    client.resume()
  }
  const there = () => client.responses[index]?.complete === true || client.closedBy !== null || client.parseError !== null
  let hung = ''
  await client.until(`the answer to request ${plan.id}`, there, ANSWER_BUDGET_MS).catch((error: Error) => {
    hung = error.message
  })
  const response = client.responses[index]
  const endedMs = performance.now()
  const { attempt, wrong } = judge(plan, response)
  const end = response?.complete !== true ? 'cut' : attempt === 0 ? 'local' : 'answered'
  const parse = client.parseError?.message ?? ''
  // The reader of the kit calls a cut inside of a message an error too.
  const bytes = parse === '' || parse.startsWith('closed inside') ? '' : `not HTTP: ${parse}`
  const bodyBytes = response?.body.length ?? 0
  return {
    plan,
    end,
    status: response?.status ?? 0,
    attempt,
    bodyBytes,
    sentMs,
    endedMs,
    wrong: hung || wrong || bytes,
    ...whereOf(client, index),
  }
}

/** Whose answer it is, and what is wrong with it. */
export function judge(plan: RequestPlan, response: ResponseMessage | undefined): { attempt: number; wrong: string } {
  if (response === undefined) return { attempt: 0, wrong: '' }
  const mark = header(response, MARK)
  if (mark === undefined) return { attempt: 0, wrong: response.status < 400 ? `${response.status} from nobody` : '' }
  const [id, attempt, length] = mark.split('.').map(Number) as [number, number, number]
  if (id !== plan.id) return { attempt: 0, wrong: `the answer of another request: ${mark}` }
  for (const interim of response.informational) {
    if (Number(header(interim, 'x-interim')) !== id) return { attempt, wrong: `an interim response of another request` }
  }
  const { body } = response
  const at = differsAt(id, body)
  if (at >= 0) return { attempt, wrong: `the body of the answer is another one from byte ${at} on` }
  const bodiless = plan.method === 'HEAD' || response.status === 204 || response.status === 304
  if (response.complete && !bodiless && body.length !== length && !mark.endsWith('until-close'))
    return { attempt, wrong: `complete with ${body.length} of ${length} bytes` }
  return { attempt, wrong: '' }
}

function whereOf(client: RawClient, index: number): { where: string; behind: string } {
  const before = client.responses[index - 1]
  const behind = before === undefined ? '' : (header(before, MARK) ?? '')
  const where = `${client.localAddress}, its request ${index + 1}, after ${behind || before?.status}, closed by ${client.closedBy ?? 'nobody'}`
  return { where, behind }
}
