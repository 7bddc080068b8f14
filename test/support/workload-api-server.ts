// A SPIFFE agent with the Workload API on a unix socket, by @grpc/grpc-js and protobufjs: nothing of it shares code with heddle.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import grpc from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { WORKLOAD_API } from './identity-protos.ts'
import type { Issued } from './signing-ca.ts'
import type { Teardown } from './teardown.ts'

export interface SvidMessage {
  readonly spiffeId: string
  readonly x509Svid: Uint8Array
  readonly x509SvidKey: Uint8Array
  readonly bundle: Uint8Array
  readonly hint?: string
}

export interface SvidState {
  readonly svids: readonly SvidMessage[]
  readonly crl?: readonly Uint8Array[]
  readonly federatedBundles?: Readonly<Record<string, Uint8Array>>
}

type Stream = grpc.ServerWritableStream<unknown, SvidState>

export class WorkloadApiServer {
  readonly socket: string
  /** What each new stream is told first; null: nothing yet. */
  state: SvidState | null
  /** Each new call is refused with this. */
  refusal: grpc.status | null
  /** Calls that came, those that were refused among them. */
  calls: number
  readonly streams: Set<Stream>
  private server: grpc.Server | null

  private constructor(socket: string) {
    this.socket = socket
    this.state = null
    this.refusal = null
    this.calls = 0
    this.streams = new Set()
    this.server = null
  }

  static async start(t: Teardown): Promise<WorkloadApiServer> {
    const folder = mkdtempSync(path.join(tmpdir(), 'heddle-agent-'))
    const server = new WorkloadApiServer(path.join(folder, 'api.sock'))
    t.teardown(() => {
      server.stop()
      rmSync(folder, { recursive: true, force: true })
    })
    await server.resume()
    return server
  }

  get address(): { readonly kind: 'unix'; readonly path: string } {
    return { kind: 'unix', path: this.socket }
  }

  /** The new state goes to all. */
  push(state: SvidState): void {
    this.state = state
    for (const stream of this.streams) stream.write(state)
  }

  /** Ends all streams, with OK or a status. */
  endStreams(code: grpc.status = grpc.status.OK): void {
    for (const stream of this.streams) {
      if (code === grpc.status.OK) stream.end()
      else stream.emit('error', { code, details: 'ended by the test' })
    }
  }

  /** Connections are cut, and the socket is gone. */
  stop(): void {
    this.server?.forceShutdown()
    this.server = null
    rmSync(this.socket, { force: true })
  }

  /** Back on the same socket. */
  async resume(): Promise<void> {
    const server = new grpc.Server()
    const definition = fromJSON(WORKLOAD_API as never, {})
    server.addService(definition['SpiffeWorkloadAPI'] as grpc.ServiceDefinition, {
      FetchX509SVID: (call: Stream) => this.onCall(call),
    })
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${this.socket}`, grpc.ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      )
    })
    this.server = server
  }

  private onCall(call: Stream): void {
    this.calls++
    const refusal = call.metadata.get('workload.spiffe.io')[0] === 'true' ? this.refusal : grpc.status.INVALID_ARGUMENT
    if (refusal !== null) return void call.emit('error', { code: refusal, details: 'refused by the test' })
    this.streams.add(call)
    call.on('close', () => this.streams.delete(call))
    call.on('cancelled', () => this.streams.delete(call))
    if (this.state !== null) call.write(this.state)
  }
}

/** An SVID of the agent for what an authority issued. */
export function svidOf(spiffeId: string, issued: Issued, rootPem: string, hint = ''): SvidMessage {
  const key = createPrivateKey(issued.key).export({ type: 'pkcs8', format: 'der' })
  return { spiffeId, x509Svid: derOf(issued.chain), x509SvidKey: key, bundle: derOf(rootPem), hint }
}

/** All certificates of a PEM text, concatenated. */
export function derOf(pem: string): Buffer {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  return Buffer.concat(blocks.map((block) => new X509Certificate(block).raw))
}
