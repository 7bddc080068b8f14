// Both ends of TLS connections of ours in one process, over real sockets: contexts from secrets that the test makes, handshakes, and owners that
// write down what they hear. Imports the transport of `lib/`, because that is what is tried.
import { once } from 'node:events'
import net from 'node:net'
import type { IdentityMaterial } from '../../lib/identity/material.ts'
import { type DownstreamTls, HANDSHAKE_MS, type UpstreamTls } from '../../lib/state/tls.ts'
import { ClientHandshake } from '../../lib/transport/client-handshake.ts'
import type { UpstreamProtocol } from '../../lib/transport/client-tls.ts'
import type { Connection, ConnectionOwner } from '../../lib/transport/connection.ts'
import type { HandshakeFailure } from '../../lib/transport/handshake.ts'
import { Io } from '../../lib/transport/io.ts'
import { type Credential, NO_SECRETS, type Secrets } from '../../lib/transport/secrets.ts'
import { ServerHandshake } from '../../lib/transport/server-handshake.ts'
import type { TlsConnection } from '../../lib/transport/tls-connection.ts'
import { eventually } from './eventually.ts'
import type { Issued } from './signing-ca.ts'
import type { Teardown } from './teardown.ts'

/** Mutual TLS of the mesh, 1.3 only. */
export function aDownstreamTls(over: Partial<DownstreamTls> = {}): DownstreamTls {
  return {
    certificate: 'default',
    trust: 'ROOTCA',
    requireClientCertificate: true,
    subjectAltNames: [],
    subjectAltNamePrefixes: [],
    pins: null,
    alpn: [],
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    curves: [],
    handshakeTimeoutMs: HANDSHAKE_MS,
    ...over,
  }
}

/** Mutual TLS of the mesh, 1.3 only; whoever the mesh vouches for. */
export function anUpstreamTls(over: Partial<UpstreamTls> = {}): UpstreamTls {
  return {
    certificate: 'default',
    trust: 'ROOTCA',
    sni: '',
    autoSni: false,
    subjectAltNames: [],
    subjectAltNamePrefixes: [],
    alpn: [],
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    curves: [],
    ...over,
  }
}

export interface MeshSecrets {
  readonly identity: string
  readonly issued: Issued
  /** Roots by trust domain; the first is our own. */
  readonly roots: Readonly<Record<string, readonly string[]>>
  readonly credentials?: readonly Credential[]
  readonly ticketKeys?: Uint8Array
  readonly notAfterMs?: number
}

let generations = 0

/** Secrets of a workload of the mesh. */
export function meshSecrets({ identity, issued, roots, credentials = [], ticketKeys, notAfterMs }: MeshSecrets): Secrets {
  const generation = ++generations
  const material: IdentityMaterial = {
    identity,
    certificateChainPem: issued.chain,
    privateKeyPem: issued.key,
    notBeforeMs: Date.now() - 60_000,
    notAfterMs: notAfterMs ?? Date.now() + 3_600_000,
    generation,
  }
  const bundles = Object.entries(roots).map(([trustDomain, rootsPem]) => ({ trustDomain, rootsPem }))
  return {
    ...NO_SECRETS,
    generation,
    own: identity,
    identities: [material],
    trust: { trustDomain: bundles[0]?.trustDomain ?? 'cluster.local', aliases: [], bundles, generation },
    credentials,
    ticketKeys: ticketKeys ?? NO_SECRETS.ticketKeys,
  }
}

/** Certificates that are not the mesh's. */
export function aCredential(name: string, issued: Issued | null, rootsPem: readonly string[] = [], crlPem = ''): Credential {
  return { name, certificateChainPem: issued?.chain ?? '', privateKeyPem: issued?.key ?? '', rootsPem, crlPem }
}

/** Writes down what a connection says. */
export class Recorder implements ConnectionOwner {
  readonly connection: Connection
  readonly chunks: Buffer[]
  bytes: number
  ended: boolean
  /** Times that it was writable again. */
  writable: number
  /** null: open. */
  closed: string | null
  /** Is called with each piece of data, a copy. */
  onBytes: ((bytes: Buffer) => void) | null

  constructor(connection: Connection) {
    this.connection = connection
    this.chunks = []
    this.bytes = 0
    this.ended = false
    this.writable = 0
    this.closed = null
    this.onBytes = null
    connection.owner = this
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('latin1')
  }

  onData(bytes: Buffer, length: number): void {
    const copy = Buffer.from(bytes.subarray(0, length))
    this.bytes += length
    this.chunks.push(copy)
    this.onBytes?.(copy)
  }

  onEnd(): void {
    this.ended = true
  }

  onWritable(): void {
    this.writable++
    this.onRoom()
  }

  onRoom(): void {}

  onClose(reason: string): void {
    this.closed = reason
  }

  /** As an owner inside of an event does it. */
  write(bytes: Buffer | string): void {
    const { io } = this.connection
    const all = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    io.run('test', () => this.connection.writeBytes(all, 0, all.length))
  }

  end(): void {
    this.connection.io.run('test', () => this.connection.end())
  }
}

/** One thread's transport with its secrets, and the handshakes that failed in it. */
export class TlsEnd {
  readonly io: Io
  readonly failures: { readonly side: string; readonly peer: string; readonly failure: HandshakeFailure }[]
  readonly errors: unknown[]

  constructor(secrets: Secrets) {
    this.failures = []
    this.errors = []
    this.io = new Io(
      (error) => this.errors.push(error),
      (side, peer, failure) => this.failures.push({ side, peer, failure }),
    )
    this.io.tls.use(secrets)
  }
}

export interface Outcome {
  readonly connection: TlsConnection | null
  readonly recorder: Recorder | null
  readonly failure: HandshakeFailure | null
}

/** Listens with our server's side. */
export class TlsListener {
  readonly outcomes: Outcome[]
  /** Below TLS, as they were accepted. */
  readonly sockets: readonly net.Socket[]
  readonly port: number
  private readonly server: net.Server

  private constructor(server: net.Server, outcomes: Outcome[], sockets: readonly net.Socket[]) {
    this.server = server
    this.sockets = sockets
    this.outcomes = outcomes
    this.port = (server.address() as net.AddressInfo).port
  }

  static async start(t: Teardown, end: TlsEnd, config: DownstreamTls): Promise<TlsListener> {
    const outcomes: Outcome[] = []
    const sockets: net.Socket[] = []
    const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
      sockets.push(socket)
      const context = end.io.tls.server(config)
      if (context === null) throw new Error('no context')
      end.io.run(
        'accept',
        () =>
          new ServerHandshake(end.io, socket, context, {
            onSecure: (connection) => outcomes.push({ connection, recorder: new Recorder(connection), failure: null }),
            onHandshakeFailed: (failure) => outcomes.push({ connection: null, recorder: null, failure }),
          }),
      )
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    return new TlsListener(server, outcomes, sockets)
  }

  /** The outcome with this number. */
  async outcome(index: number): Promise<Outcome> {
    return eventually(`handshake ${index} of the server`, () => this.outcomes[index] as Outcome)
  }

  close(): void {
    this.server.close()
  }
}

/** Dials with our client's side. */
export async function dialTls(
  t: Teardown,
  end: TlsEnd,
  port: number,
  config: UpstreamTls,
  protocol: UpstreamProtocol = 'tcp',
  host = 'reviews',
): Promise<Outcome> {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true })
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  const context = end.io.tls.client(config)
  if (context === null) throw new Error('no context')
  return new Promise((resolve) => {
    new ClientHandshake(end.io, socket, context, protocol, host, `127.0.0.1:${port}`, {
      onSecure: (connection) => resolve({ connection, recorder: new Recorder(connection), failure: null }),
      onHandshakeFailed: (failure) => resolve({ connection: null, recorder: null, failure }),
    })
  })
}

/** Bytes that differ from place to place. */
export function pattern(length: number, seed = 1): Buffer {
  const out = Buffer.allocUnsafe(length)
  let x = seed
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff
    out[i] = x >> 16
  }
  return out
}
