// Upstreams that answer whatever comes while a client waits.
import { connectAny } from './any-client.ts'
import type { RequestSpec } from './raw-client.ts'
import type { Teardown } from './teardown.ts'
import type { AnswerSpec, Exchange, Upstream } from './upstream.ts'

/** Answers every request that comes to `upstreams` while a client of `port` waits for its response; that response, and what came. */
export async function answering(
  t: Teardown,
  port: number,
  upstreams: readonly Upstream[],
  spec: AnswerSpec,
  request: RequestSpec,
) {
  const first = upstreams.map((u) => u.exchanges.length)
  const client = await connectAny(t, port)
  await client.send(request)
  const answered = new Set<Exchange>()
  const seen = () => upstreams.flatMap((u, i) => u.exchanges.slice(first[i]))
  const timer = setInterval(() => {
    for (const e of seen()) {
      if (answered.has(e)) continue
      answered.add(e)
      void e.answer(spec)
    }
  }, 1)
  try {
    return { response: await client.response(), seen: seen() }
  } finally {
    clearInterval(timer)
    client.destroy()
  }
}
