import http2 from 'node:http2'
import net from 'node:net'
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
export function ask(t: Teardown, port: number, r: RecordedRequest): Promise<Answer> {
  return r.protocol === 'http2' ? askHttp2(t, port, r) : askHttp1(t, port, r)
}

/** With a client that we did not write. */
function askHttp2(t: Teardown, port: number, r: RecordedRequest): Promise<Answer> {
  const { source } = r
  const dial = { host: '127.0.0.1', port, ...(source === undefined ? {} : { localAddress: source }) }
  const session = http2.connect('http://127.0.0.1', {
    settings: { enablePush: false },
    createConnection: () => net.connect(dial),
  })
  t.teardown(() => session.destroy())
  return new Promise((resolve) => {
    let status: number | null = null
    let headers: HeaderPair[] = []
    let body = ''
    let trailers: HeaderPair[] = []
    const informational: number[] = []
    const done = (clientError?: string) => {
      const address = session.socket?.localAddress
      const client = address === undefined ? '' : `${address}:${session.socket.localPort}`
      session.destroy()
      const location = header({ headers }, 'location')
      resolve({
        client,
        status,
        headers,
        body: body.slice(0, 2000),
        ...(location === undefined ? {} : { location }),
        ...(informational.length > 0 ? { informational } : {}),
        ...(trailers.length > 0 ? { trailers } : {}),
        ...(clientError === undefined ? {} : { clientError }),
      } as Answer)
    }
    session.on('error', () => done('closed'))
    const own: Record<string, string | string[]> = {
      ':method': r.method ?? 'GET',
      ':path': r.path ?? '/',
      ...(r.authority === undefined ? {} : { ':authority': r.authority }),
      ':scheme': r.scheme ?? 'http',
    }
    for (const [n, v] of pairs(r.headers)) {
      const name = n.toLowerCase()
      const before = own[name]
      own[name] = before === undefined || name.startsWith(':') ? v : [...(Array.isArray(before) ? before : [before]), v]
    }
    const bytes = r.body === undefined ? null : Buffer.from(text(r.body), 'latin1')
    // As over HTTP/1.1. gRPC messages come without.
    if (bytes !== null && own['te'] === undefined) own['content-length'] ??= String(bytes.length)
    const stream = session.request(own, { endStream: bytes === null })
    if (bytes !== null) stream.end(bytes)
    stream.on('headers', (h) => informational.push(Number(h[':status'])))
    stream.on('response', (...[h, , raw]: ResponseEvent) => {
      status = Number(h[':status'])
      headers = lines(raw ?? [])
    })
    stream.on('trailers', (h) => {
      trailers = flat(h)
    })
    stream.setEncoding('latin1')
    stream.on('data', (d: string) => {
      body += d
    })
    let ended = false
    stream.on('end', () => {
      ended = true
    })
    stream.on('error', () => {})
    stream.on('close', () => done(stream.rstCode !== 0 ? `RST_STREAM ${stream.rstCode}` : ended ? undefined : 'closed'))
    setTimeout(() => done('timed out at the client'), r.timeoutMs ?? 10_000).unref()
    if (r.abortAfterMs !== undefined) setTimeout(() => done('client gave up'), r.abortAfterMs)
  })
}

/** The third argument is not in the declarations of Node's types. */
type ResponseEvent = [headers: http2.IncomingHttpHeaders, flags: number, raw?: readonly string[]]

/** Field lines as they came. */
function lines(raw: readonly string[]): HeaderPair[] {
  const all = raw.flatMap((name, i): HeaderPair[] => (i % 2 === 0 ? [[name, raw[i + 1] as string]] : []))
  return all.filter(([name]) => !name.startsWith(':'))
}

function flat(h: http2.IncomingHttpHeaders): HeaderPair[] {
  return Object.entries(h).flatMap(([n, v]): HeaderPair[] =>
    n.startsWith(':') || v === undefined ? [] : (Array.isArray(v) ? v : [v]).map((x): HeaderPair => [n, x]),
  )
}

async function askHttp1(t: Teardown, port: number, r: RecordedRequest): Promise<Answer> {
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
