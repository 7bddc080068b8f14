// Fetches a JWK Set from the endpoints of a cluster, spoken to as the cluster says: its TLS with server name, trust and our certificate (Envoy RemoteJwks). Runs
// on the main thread, a few times an hour.
import { once } from 'node:events'
import { request } from 'node:http'
import { type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { addressText, isSocketPath } from '../base/socket-path.ts'
import type { Cluster, Endpoint } from '../state/cluster.ts'
import type { JwksCluster, JwksSource } from '../state/jwt.ts'
import { SYSTEM_TRUST, type UpstreamTls } from '../state/tls.ts'
import { ClientTls } from '../transport/client-tls.ts'
import type { Secrets } from '../transport/secrets.ts'
import { checkedSet, forbiddenText, isForbidden, limited, NotYet } from './jwks-fetch.ts'

/** What a fetch depends on besides its source, as it is now. */
export interface JwksSurroundings {
  /** With the addresses of its names; null: there is none of that name. */
  cluster(name: string): Cluster | null
  secrets(): Secrets
  /** 0 ≤ n < 1. Default: Math.random. */
  readonly draw?: () => number
}

/** Nobody answered, or with 5xx: another try may be better. */
class Unanswered extends Error {}

/** Of a cluster, before the others count as no better. */
const MAX_ENDPOINTS = 3

/** The text of the set. Rejects with an Error whose message says why there is none. */
export async function fetchThrough(source: JwksSource, through: JwksCluster, around: JwksSurroundings): Promise<string> {
  const signal = AbortSignal.timeout(source.timeoutMs)
  const { draw = Math.random } = around
  try {
    for (let tries = 0; ; tries++) {
      try {
        return checkedSet(await askCluster(new URL(source.uri), through.cluster, around, signal))
      } catch (error) {
        if (!(error instanceof Unanswered) || tries === through.retries) throw error
        const longest = Math.min(through.retryMaxMs, through.retryBaseMs * 2 ** Math.min(tries, 16))
        await pause(longest * draw(), undefined, { signal })
      }
    }
  } catch (error) {
    throw signal.aborted ? new Error(`there was no answer of ${through.cluster} in time`) : (error as Error)
  }
}

async function askCluster(uri: URL, name: string, around: JwksSurroundings, signal: AbortSignal): Promise<string> {
  const cluster = around.cluster(name)
  if (cluster === null) throw new NotYet(`there is no cluster ${name}`)
  if (cluster.proxyProtocol !== 'none')
    throw new Error(`${name} wants the PROXY protocol, and has no client whom it could tell of`)
  const endpoints = endpointsOf(cluster, around.draw ?? Math.random)
  let last: Error = new NotYet(noneText(cluster))
  for (const endpoint of endpoints.slice(0, MAX_ENDPOINTS)) {
    const tls = tlsFor(cluster, endpoint, uri, around.secrets())
    let socket: Socket
    try {
      socket = await dial(cluster, endpoint, uri, tls, signal)
    } catch (error) {
      last = new Unanswered(`${addressText(endpoint.address, endpoint.port)} of ${name}: ${(error as Error).message}`)
      signal.throwIfAborted()
      continue
    }
    try {
      return await (cluster.protocol === 'http2' ? askHttp2 : askHttp1)(socket, uri, signal)
    } catch (error) {
      throw inWords(error as Error, tls, socket, uri)
    } finally {
      socket.destroy()
    }
  }
  throw last
}

/** A server that refuses our certificate says so behind the handshake. */
function inWords(error: Error, tls: ClientTls | null, socket: Socket, { hostname }: URL): Error {
  const cause = error.cause as NodeJS.ErrnoException | undefined
  if (tls === null || !cause?.code?.startsWith('ERR_SSL')) return error
  return new Unanswered(tls.failureOf(socket as TLSSocket, hostname, cause).text)
}

/** Those of the first priority first, the healthy ones in front of the others, and drawn by weight among their like. */
function endpointsOf({ endpoints }: Cluster, draw: () => number): readonly Endpoint[] {
  const drawn = endpoints
    .filter((e) => e.tunnel === null && e.weight > 0)
    .map((endpoint) => ({ endpoint, at: -Math.log(1 - draw()) / endpoint.weight }))
  const order = drawn.toSorted(
    (a, b) => Number(b.endpoint.healthy) - Number(a.endpoint.healthy) || a.endpoint.priority - b.endpoint.priority || a.at - b.at,
  )
  return order.map(({ endpoint }) => endpoint)
}

function noneText({ name, endpoints }: Cluster): string {
  const tunnels = endpoints.some((e) => e.tunnel !== null)
  return tunnels ? `${name} is reached through tunnels, and keys are not fetched through those` : `${name} has no endpoints`
}

/** Of `https://` for a cluster that has none: keys that are asked for so are never taken from whoever answers. */
function ownTls({ hostname }: URL): UpstreamTls {
  return {
    certificate: '',
    trust: SYSTEM_TRUST,
    sni: '',
    autoSni: true,
    subjectAltNames: [hostname.replace(/^\[|\]$/g, '')],
    subjectAltNamePrefixes: [],
    alpn: [],
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    curves: [],
  }
}

/** null: plaintext. */
function tlsFor(cluster: Cluster, endpoint: Endpoint, uri: URL, secrets: Secrets): ClientTls | null {
  const said = endpoint.tls ? cluster.tls : null
  const config = said ?? (uri.protocol === 'https:' ? ownTls(uri) : null)
  if (config === null) return null
  const made = ClientTls.make(config, secrets)
  if (made === null) throw new NotYet(`the certificates that ${cluster.name} is spoken to with are not there`)
  return made
}

async function dial(
  cluster: Cluster,
  { address, port }: Endpoint,
  uri: URL,
  tls: ClientTls | null,
  signal: AbortSignal,
): Promise<Socket> {
  const isPath = isSocketPath(address)
  if (!isPath && isForbidden(address)) throw new Error(forbiddenText(address))
  const { connectTimeoutMs } = cluster.limits
  const within = connectTimeoutMs === 0 ? signal : AbortSignal.any([signal, AbortSignal.timeout(connectTimeoutMs)])
  const socket = connectTcp(isPath ? { path: address } : { host: address, port })
  try {
    await once(socket, 'connect', { signal: within })
    return tls === null ? socket : await secured(socket, cluster, uri, tls, within)
  } catch (error) {
    socket.destroy()
    throw within.aborted ? new Error('no connection in time') : (error as Error)
  }
}

async function secured(
  socket: Socket,
  { protocol }: Cluster,
  { hostname }: URL,
  tls: ClientTls,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const secure = connectTls({ ...tls.options(protocol === 'http2' ? 'http2' : 'http1', hostname, null), socket })
  try {
    await once(secure, 'secureConnect', { signal })
  } catch (error) {
    secure.on('error', () => {})
    secure.destroy()
    throw signal.aborted ? error : new Error(tls.failureOf(secure, hostname, error as NodeJS.ErrnoException).text)
  }
  const verdict = tls.verify(secure, hostname, null, Date.now())
  if (verdict.ok) return secure
  secure.destroy()
  throw new Error(verdict.failure.text)
}

async function askHttp1(socket: Socket, uri: URL, signal: AbortSignal): Promise<string> {
  const { pathname, search, host } = uri
  const headers = { host, accept: 'application/json', connection: 'close' }
  const asked = request({ createConnection: () => socket, path: pathname + search, headers, setHost: false, signal })
  const answered = once(asked, 'response').catch((error: Error) => {
    throw new Unanswered(error.message, { cause: error })
  })
  asked.end()
  const [response] = await answered
  asked.on('error', () => {})
  checkStatus(response.statusCode)
  return limited(response)
}

async function askHttp2(socket: Socket, uri: URL, signal: AbortSignal): Promise<string> {
  const session = connectHttp2(uri, { createConnection: () => socket })
  session.on('error', () => {})
  try {
    const stream: ClientHttp2Stream = session.request(
      { ':path': uri.pathname + uri.search, ':authority': uri.host, accept: 'application/json' },
      { signal, endStream: true },
    )
    const [headers] = await once(stream, 'response').catch((error: Error) => {
      throw new Unanswered(error.message, { cause: error })
    })
    stream.on('error', () => {})
    checkStatus(headers[constants.HTTP2_HEADER_STATUS])
    return await limited(stream)
  } finally {
    session.destroy()
  }
}

function checkStatus(status: number): void {
  if (status === 200) return
  const text = `the answer is ${status}`
  throw status >= 500 ? new Unanswered(text) : new Error(text)
}
