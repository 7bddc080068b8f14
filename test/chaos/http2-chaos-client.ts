// The client of chaos-client.ts over HTTP/2: a few streams at once on each connection.
import { pause } from '../support/eventually.ts'
import { type Http2Call, Http2Client } from '../support/http2-client.ts'
import { ANSWER_BUDGET_MS, type ClientOptions, type Fate, judge, REQUESTS_PER_CONNECTION } from './chaos-client.ts'
import { contentOf } from './content.ts'
import type { RequestPlan } from './request-plan.ts'

/** Asks until there is nothing left to ask. */
export async function runHttp2Client(options: ClientOptions): Promise<void> {
  const closers: (() => unknown)[] = []
  const teardown = { teardown: (fn: () => unknown) => void closers.push(fn) }
  let batch = nextBatch(options)
  while (batch.length > 0) {
    const client = await Http2Client.connect(teardown, { port: options.port() })
    for (let n = 0; batch.length > 0 && n < REQUESTS_PER_CONNECTION && !client.isClosed && client.goawayCode === null; ) {
      n += batch.length
      await Promise.all(batch.map(async (plan) => options.onFate(await ask(client, plan))))
      batch = nextBatch(options)
    }
    client.destroy()
    for (const close of closers.splice(0)) close()
  }
}

/** As many as are asked at once: more behind one that is pipelined over HTTP/1. */
function nextBatch(options: ClientOptions): RequestPlan[] {
  const batch: RequestPlan[] = []
  for (let size = 1; batch.length < size; ) {
    const plan = options.next()
    if (plan === null) break
    batch.push(plan)
    if (plan.pipelined) size = Math.min(8, size + 2)
  }
  return batch
}

async function ask(client: Http2Client, plan: RequestPlan): Promise<Fate> {
  const sentMs = performance.now()
  const body = contentOf(plan.id, plan.bodyLength)
  const call = client.call({
    method: plan.method,
    target: `/c/${plan.id}`,
    host: plan.host,
    headers: {
      'x-request-id': `chaos-${plan.id}`,
      ...(plan.idempotencyKey ? { 'idempotency-key': `"${plan.id}"` } : {}),
      ...(plan.framing === 'none' ? {} : { 'x-body-bytes': String(plan.bodyLength) }),
      ...(plan.framing === 'length' ? { 'content-length': String(plan.bodyLength) } : {}),
    },
    open: plan.framing !== 'none',
  })
  if (plan.mood === 'leaving') return leave(client, call, plan, body, sentMs)
  if (plan.framing !== 'none') await write(call, body, plan.mood === 'hesitant' ? 6 : 1)
  if (plan.mood === 'sleepy') {
    call.stream.pause()
    await pause(plan.id % 40)
    call.stream.resume()
  }
  let hung = ''
  await call
    .until(`the answer to request ${plan.id}`, () => call.message.complete || call.closed, ANSWER_BUDGET_MS)
    .catch((error: Error) => {
      hung = error.message
    })
  const { message } = call
  const { attempt, wrong } = judge(plan, call.headCame ? message : undefined)
  const end = !message.complete ? 'cut' : attempt === 0 ? 'local' : 'answered'
  return fate(client, call, plan, sentMs, { end, attempt, wrong: hung || wrong })
}

async function write(call: Http2Call, body: Buffer, pieces: number): Promise<void> {
  const step = Math.max(1, Math.ceil(body.length / pieces))
  for (let at = 0; at < body.length && !call.closed; at += step) {
    call.write(body.subarray(at, at + step))
    await new Promise((resolve) => setImmediate(resolve))
  }
  call.end()
}

/** In the middle of the request or of the answer: the stream is reset. */
async function leave(client: Http2Client, call: Http2Call, plan: RequestPlan, body: Buffer, sentMs: number): Promise<Fate> {
  if (plan.framing !== 'none') {
    call.write(body.subarray(0, Math.floor(Math.min(1, plan.leavesAt) * body.length)))
    if (plan.leavesAt > 1) call.end()
  }
  if (plan.leavesAt > 1) await call.until('something', () => call.headCame || call.closed, ANSWER_BUDGET_MS).catch(() => {})
  // Node does not send the head of a stream that is reset in the same turn.
  else await pause(1)
  const { attempt, wrong } = judge(plan, call.headCame ? call.message : undefined)
  if (!call.closed) call.reset()
  return fate(client, call, plan, sentMs, { end: 'left', attempt, wrong })
}

function fate(
  client: Http2Client,
  call: Http2Call,
  plan: RequestPlan,
  sentMs: number,
  what: Pick<Fate, 'end' | 'attempt' | 'wrong'>,
): Fate {
  return {
    plan,
    ...what,
    status: call.message.status,
    bodyBytes: call.message.content.length,
    sentMs,
    endedMs: performance.now(),
    where: `${client.localAddress}, stream ${call.stream.id}, reset code ${call.resetCode}, GOAWAY ${client.goawayCode}`,
    behind: '',
  }
}
