// The loads that every target is put under.

export type ScenarioId =
  | 'h1-1k'
  | 'h1-64k'
  | 'open-1000rps'
  | 'h2-8x10'
  | 'h2-1x100'
  | 'h2-h1-8x10'
  | 'grpc-unary'
  | 'grpc-1m'
  | 'mtls-h1-1k'
  | 'mtls-h2-8x10'
  | 'hbone-1k'
  | 'hbone-bulk'

/** What is spoken on a connection. gRPC is HTTP/2 with answers that end in trailers. */
export type Protocol = 'http1' | 'http2' | 'grpc'

export interface Scenario {
  readonly id: ScenarioId
  readonly title: string
  /** Path of the file, or method, at the upstream. */
  readonly path: string
  /** Requests a second of an open loop; 0: closed loop, each connection or stream sends as soon as it was answered. */
  readonly ratePerSecond: number
  /** Between load generator and proxy. */
  readonly client: Protocol
  /** Between proxy and upstream. */
  readonly upstream: Protocol
  /**
   * Two hops through the proxy with mTLS between them, and what is spoken there; `hbone`: bytes, each connection in a CONNECT stream. null: one hop,
   * in plaintext.
   */
  readonly hop: 'http1' | 'http2' | 'hbone' | null
  /** Connections of the load generator; 0: as `--connections` says. */
  readonly connections: number
  /** Requests under way on each connection. */
  readonly streams: number
}

const HTTP1: Pick<Scenario, 'ratePerSecond' | 'client' | 'upstream' | 'hop' | 'connections' | 'streams'> = {
  ratePerSecond: 0,
  client: 'http1',
  upstream: 'http1',
  hop: null,
  connections: 0,
  streams: 1,
}
const HTTP2: typeof HTTP1 = { ...HTTP1, client: 'http2', upstream: 'http2', connections: 8, streams: 10 }
const GRPC: typeof HTTP1 = { ...HTTP2, client: 'grpc', upstream: 'grpc' }

export const SCENARIOS: readonly Scenario[] = [
  { ...HTTP1, id: 'h1-1k', title: 'HTTP/1.1 keep-alive GET, 1 KB, closed loop', path: '/1k' },
  { ...HTTP1, id: 'h1-64k', title: 'HTTP/1.1 keep-alive GET, 64 KB, closed loop', path: '/64k' },
  {
    ...HTTP1,
    id: 'open-1000rps',
    title: 'HTTP/1.1 keep-alive GET, 1 KB, open loop at 1,000 requests a second',
    path: '/1k',
    ratePerSecond: 1000,
  },
  { ...HTTP2, id: 'h2-8x10', title: 'HTTP/2 to HTTP/2, GET, 1 KB, 8 connections of 10 streams', path: '/1k' },
  {
    ...HTTP2,
    id: 'h2-1x100',
    title: 'HTTP/2 to HTTP/2, GET, 1 KB, 1 connection of 100 streams',
    path: '/1k',
    connections: 1,
    streams: 100,
  },
  {
    ...HTTP2,
    id: 'h2-h1-8x10',
    title: 'HTTP/2 to HTTP/1.1, GET, 1 KB, 8 connections of 10 streams',
    path: '/1k',
    upstream: 'http1',
  },
  {
    ...GRPC,
    id: 'grpc-unary',
    title: 'gRPC unary, messages of 100 bytes, 8 connections of 10 streams',
    path: '/bench.Echo/Unary',
  },
  {
    ...GRPC,
    id: 'grpc-1m',
    title: 'gRPC, a stream of 1 MB in answer to 100 bytes, 4 connections of 2 streams',
    path: '/bench.Echo/Stream',
    connections: 4,
    streams: 2,
  },
  {
    ...HTTP1,
    id: 'mtls-h1-1k',
    title: 'two hops with mTLS between them, HTTP/1.1, GET, 1 KB, closed loop',
    path: '/1k',
    hop: 'http1',
  },
  {
    ...HTTP2,
    id: 'mtls-h2-8x10',
    title: 'two hops with mTLS between them, HTTP/2, GET, 1 KB, 8 connections of 10 streams',
    path: '/1k',
    hop: 'http2',
  },
  {
    ...HTTP1,
    id: 'hbone-1k',
    title: 'TCP through two hops with HBONE between them, GET, 1 KB, closed loop',
    path: '/1k',
    hop: 'hbone',
  },
  {
    ...HTTP1,
    id: 'hbone-bulk',
    title: 'TCP through two hops with HBONE between them, answers of 4 MB over 4 connections',
    path: '/4m',
    hop: 'hbone',
    connections: 4,
  },
]

/** Bodies of the upstream's files by path, in bytes. */
export const FILE_BYTES: Readonly<Record<string, number>> = { '/1k': 1024, '/64k': 65536, '/4m': 4 * 2 ** 20 }

/** A gRPC message of 100 bytes with its prefix ("gRPC over HTTP/2", Length-Prefixed-Message). */
export const GRPC_REQUEST: Uint8Array = grpcMessage(100)

/** Messages of an answer by method: how many, of how many bytes. */
export const GRPC_ANSWERS: Readonly<Record<string, readonly [number, number]>> = {
  '/bench.Echo/Unary': [1, 100],
  '/bench.Echo/Stream': [16, 65536],
}

export function grpcMessage(bytes: number): Uint8Array {
  const message = new Uint8Array(5 + bytes)
  new DataView(message.buffer).setUint32(1, bytes)
  return message
}

/** Bytes of the body that `path` is answered with. */
export function answerBytes(path: string): number {
  const [messages, bytes] = GRPC_ANSWERS[path] ?? [0, 0]
  return FILE_BYTES[path] ?? messages * (bytes + 5)
}

/** The Host that every request carries; the mesh of the heddle target has a service of this name. */
export const HOST = 'echo.bench.svc.cluster.local'
