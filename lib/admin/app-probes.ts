// The kubelet's probes of an application, carried out from inside of its pod, where no capture and no mTLS stands in the way (Istio's rewriting of probes). Only
// what is configured is asked: a request chooses neither host nor port nor path.
import type { IncomingHttpHeaders } from 'node:http'
import { isIPv6 } from 'node:net'
import { Attempt } from '../cluster/health-checks/attempt.ts'
import type { AppProbe } from '../state/bootstrap-config.ts'

export interface ProbeResult {
  readonly status: number
  /** At most 10 KiB of what the application said, for the events of its pod. */
  readonly body: Buffer
  /** Why there is no answer of the application; empty: there is one. */
  readonly problem: string
}

/** The rules of the packet filter let what comes from here pass to the application. */
const PASSED_V4 = '127.0.0.6'
const PASSED_V6 = '::6'
const MAX_BODY_BYTES = 10 * 1024
const MAX_HEADER_BYTES = 16 * 1024
const MAX_REDIRECTS = 10
/** Of the connection between the kubelet and us (RFC 9110 §7.6.1), and what a GET does not have. */
const NOT_PASSED_ON = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect'],
  ...['content-length', 'host', 'proxy-authorization', 'proxy-authenticate'],
])

/** Never rejects: a probe that cannot be asked is one that fails. @param headers of the kubelet's request */
export async function askApplication(probe: AppProbe, address: string, headers: IncomingHttpHeaders): Promise<ProbeResult> {
  const { ask, timeoutMs } = probe
  const from = isIPv6(address) ? PASSED_V6 : PASSED_V4
  try {
    if (ask.kind === 'http') return await overHttp(ask, address, from, timeoutMs, headers)
    const attempt = new Attempt(timeoutMs, from)
    if (ask.kind === 'tcp') attempt.open(address, ask.port, () => attempt.pass('connected'))
    else (await import('../cluster/health-checks/grpc-probe.ts')).askGrpc(attempt, ask.service, address, ask.port)
    const { passed, seen } = await attempt.result
    return passed ? { status: 200, body: Buffer.alloc(0), problem: '' } : failed(seen)
  } catch (error) {
    const { name, code, message } = error as NodeJS.ErrnoException
    if (name === 'TimeoutError') return failed(`no whole answer within ${timeoutMs} ms`)
    return failed(typeof code === 'string' ? code : message)
  }
}

function failed(why: string): ProbeResult {
  return { status: 500, body: Buffer.from(`${why}\n`), problem: why }
}

type HttpAsk = AppProbe['ask'] & { readonly kind: 'http' }

async function overHttp(
  ask: HttpAsk,
  address: string,
  localAddress: string,
  timeoutMs: number,
  given: IncomingHttpHeaders,
): Promise<ProbeResult> {
  const { Client } = await import('undici')
  const origin = `${ask.tls ? 'https' : 'http'}://${address.includes(':') ? `[${address}]` : address}:${ask.port}`
  const client = new Client(origin, {
    // A connection for each: whether new ones are accepted is part of the question. As a kubelet does it, certificates are not verified.
    localAddress,
    connect: { rejectUnauthorized: false, timeout: timeoutMs },
    pipelining: 0,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    let path = ask.path
    for (let redirects = 0; ; redirects++) {
      const answer = await client.request({ method: 'GET', path, headers: headersOf(ask, given), signal })
      const next =
        answer.statusCode >= 300 && answer.statusCode < 400 ? sameOrigin(answer.headers['location'], origin, path) : null
      // To elsewhere it is not followed: the kubelet takes it for an answer.
      if (next === null) return { status: answer.statusCode, body: await beginningOf(answer.body), problem: '' }
      if (redirects === MAX_REDIRECTS) return failed(`stopped after ${MAX_REDIRECTS} redirects`)
      path = next
      for await (const _ of answer.body) break
    }
  } finally {
    client.destroy().catch(() => {})
  }
}

/** Names and values in turn, lower case. */
function headersOf(ask: HttpAsk, given: IncomingHttpHeaders): string[] {
  const own = ask.headers.map(([name, value]) => [name.toLowerCase().replace(/^:authority$/, 'host'), value] as const)
  const replaced = new Set(own.map(([name]) => name))
  const passed = Object.entries(given).filter(([name]) => !NOT_PASSED_ON.has(name) && !replaced.has(name))
  const headers = passed.flatMap(([name, value]) => [value ?? []].flat().flatMap((v) => [name, v]))
  const sent = own.filter(([name], i) =>
    name === 'host' ? own.findIndex(([other]) => other === 'host') === i : !NOT_PASSED_ON.has(name),
  )
  return [...headers, ...sent.flatMap(([name, value]) => (name.startsWith(':') ? [] : [name, value]))]
}

/** The path that is led to; null: it is none of the same host and port. */
function sameOrigin(location: string | string[] | undefined, origin: string, path: string): string | null {
  if (typeof location !== 'string') return null
  try {
    const url = new URL(location, new URL(path, origin))
    return url.origin === new URL(origin).origin ? url.pathname + url.search : null
  } catch {
    return null
  }
}

async function beginningOf(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes >= MAX_BODY_BYTES) break
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES)
}
