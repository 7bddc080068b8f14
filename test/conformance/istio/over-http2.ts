// What was recorded over HTTP/1.1, asked over HTTP/2: whatever the version has no say in must come out the same.
import type { HeaderPair } from '../../support/h1-reader.ts'
import type { Counts, LongText, Outcome, RecordedRequest, Recording } from './recording.ts'

/** Field names that say something about one connection, and `host`, which is `:authority`. */
const OF_HTTP1 = /^(connection|keep-alive|proxy-connection|transfer-encoding|upgrade|http2-settings|host)$/i
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** Of what is repeated: enough to see shares. */
const MOST = 100

/** The recording with its requests over HTTP/2, as far as they can be said in it. Steps that change the world stay. */
export function overHttp2(recording: Recording, skip: RegExp | null): Recording {
  const requests = recording.requests.flatMap((r): RecordedRequest[] => {
    const wanted = recording.expected.get(r.name)
    if (skip?.test(r.name) !== true && (wanted === undefined || canBeSaid(r, wanted))) return [inHttp2(r)]
    const { name, restart, pauseMs, down, up } = r
    const world = {
      ...(restart === undefined ? {} : { restart }),
      ...(pauseMs === undefined ? {} : { pauseMs }),
      ...(down === undefined ? {} : { down }),
      ...(up === undefined ? {} : { up }),
    }
    return Object.keys(world).length === 0 ? [] : [{ name, ...world }]
  })
  return { ...recording, requests }
}

function inHttp2(r: RecordedRequest): RecordedRequest {
  if (r.path === undefined) return r
  return { ...r, protocol: 'http2', ...(r.repeat === undefined ? {} : { repeat: Math.min(r.repeat, MOST) }) }
}

function canBeSaid(r: RecordedRequest, wanted: Outcome | Counts): boolean {
  // What was recorded over HTTP/2 is replayed as it is.
  if (r.raw !== undefined || r.protocol === 'http2' || (r.authority ?? '') === '' || r.method === 'CONNECT') return false
  if (r.path === undefined || !/^[/*][!-~]*$/.test(r.path)) return false
  const names = headerPairs(r).map(([n]) => n)
  if (!names.every((n) => TOKEN.test(n) && !OF_HTTP1.test(n))) return false
  if (headerPairs(r).some(([n, v]) => n.toLowerCase() === 'te' && v !== 'trailers')) return false
  if ('statuses' in wanted) return true
  return wanted.details?.startsWith('http1.') !== true && !(wanted.upstream ?? []).some((u) => u.tcp !== undefined)
}

function headerPairs({ headers = [] }: RecordedRequest): readonly (readonly [string, unknown])[] {
  return Array.isArray(headers)
    ? (headers as readonly (readonly [string, LongText])[])
    : Object.entries(headers as Readonly<Record<string, unknown>>)
}

/** Without what belongs to the version of the client's side. */
export function withoutVersion(o: Outcome): Outcome {
  const { log, clientError, upstream } = o
  return {
    ...o,
    headers: o.headers.filter(ofAnyVersion),
    log: log === null ? null : { ...log, protocol: null },
    // A response that is cut takes its connection along only where that carries nothing else.
    ...(clientError?.startsWith('RST_STREAM') === true ? { clientError: 'closed' } : {}),
    // Where nobody knows what the endpoint speaks, it is asked in the client's version.
    ...(upstream === undefined ? {} : { upstream: upstream.map((u) => ({ ...u, protocol: '' })) }),
  }
}

function ofAnyVersion([name, value]: HeaderPair): boolean {
  // HTTP/1 has to say that there is no body.
  if (name === 'content-length' && value === '0') return false
  return name !== 'transfer-encoding' && name !== 'connection' && name !== 'keep-alive'
}
