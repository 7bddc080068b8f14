import { pause } from '../../support/eventually.ts'
import type { HeaderPair } from '../../support/h1-reader.ts'
import { header } from '../../support/h1-reader.ts'
import { RawClient } from '../../support/raw-client.ts'
import type { Teardown } from '../../support/teardown.ts'
import type { LongText, RecordedRequest } from './recording.ts'

/** What the client saw. */
export interface Answer {
  /** `address:port` of the client: the access log knows the request by it. */
  readonly client: string
  readonly status: number | null
  /** Names in lower case. */
  readonly headers: readonly HeaderPair[]
  readonly location?: string
  /** At most 2000 characters; bytes that were no HTTP, if nothing else came. */
  readonly body: string
  readonly informational?: readonly number[]
  /** Why there is no complete response. */
  readonly clientError?: string
}

/** The exact bytes of a recorded request; nothing is repaired. */
export function bytesOf(r: RecordedRequest): Buffer {
  // Nobody who speaks HTTP/1.1 only can answer this preface, RFC 9113 §3.4.
  if (r.protocol === 'http2') return Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
  if (r.raw !== undefined) return Buffer.from(r.raw, 'latin1')
  const headers = pairs(r.headers)
  const has = (name: string) => headers.some(([n]) => n.toLowerCase() === name)
  const body = r.body === undefined ? null : Buffer.from(text(r.body), 'latin1')
  let head = `${r.method ?? 'GET'} ${r.path ?? '/'} HTTP/1.1\r\n`
  if (r.authority !== undefined) head += `host: ${r.authority}\r\n`
  for (const [name, value] of headers) head += `${name}: ${value}\r\n`
  if (body !== null && !has('content-length') && !has('transfer-encoding')) head += `content-length: ${body.length}\r\n`
  return Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), body ?? Buffer.alloc(0)])
}

/** Sends one request on a connection of its own. */
export async function ask(t: Teardown, port: number, r: RecordedRequest): Promise<Answer> {
  const client = await RawClient.connect(t, { port, ...(r.source === undefined ? {} : { localAddress: r.source }) })
  client.expectMethod(r.method ?? 'GET')
  const sent = client.write(bytesOf(r))
  const ended = () => client.responses[0]?.complete === true || client.closedBy !== null
  let why = 'closed'
  if (r.abortAfterMs !== undefined) {
    await pause(r.abortAfterMs)
    why = 'client gave up'
  } else {
    await client.until('an answer', ended, r.timeoutMs ?? 10000).catch(() => {
      why = 'timed out at the client'
    })
  }
  client.destroy()
  await sent
  const response = client.responses[0]
  const headers = (response?.headers ?? []).map(([n, v]): HeaderPair => [n.toLowerCase(), v])
  const location = header({ headers }, 'location')
  return {
    client: client.localAddress,
    status: response?.status ?? null,
    headers,
    body: (response?.body.toString('latin1') ?? client.text).slice(0, 2000),
    ...(location === undefined ? {} : { location }),
    ...(response !== undefined && response.informational.length > 0
      ? { informational: response.informational.map((i) => i.status) }
      : {}),
    ...(response?.complete === true ? {} : { clientError: why }),
  }
}

function text(value: LongText): string {
  return typeof value === 'string' ? value : value.fill.repeat(value.times)
}

function pairs(headers: RecordedRequest['headers']): HeaderPair[] {
  if (headers === undefined) return []
  if (Array.isArray(headers)) return (headers as readonly (readonly [string, LongText])[]).map(([n, v]) => [n, text(v)])
  return Object.entries(headers).flatMap(([n, v]) =>
    (Array.isArray(v) ? v : [v]).map((x): HeaderPair => [n, text(x as LongText)]),
  )
}
