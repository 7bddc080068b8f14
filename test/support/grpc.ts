// Both ends of gRPC by @grpc/grpc-js, with definitions made by hand and bytes as messages: nothing of it shares code with heddle.
import grpc from '@grpc/grpc-js'
import type { Teardown } from './teardown.ts'

const bytes = (b: Buffer): Buffer => b

function method(name: string, requestStream: boolean, responseStream: boolean): grpc.MethodDefinition<Buffer, Buffer> {
  return {
    path: `/test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  }
}

const ECHO = {
  Unary: method('Unary', false, false),
  Collect: method('Collect', true, false),
  Expand: method('Expand', false, true),
  Chat: method('Chat', true, true),
}

export type UnaryCall = grpc.ServerUnaryCall<Buffer, Buffer>
export type CollectCall = grpc.ServerReadableStream<Buffer, Buffer>
export type ExpandCall = grpc.ServerWritableStream<Buffer, Buffer>
export type ChatCall = grpc.ServerDuplexStream<Buffer, Buffer>
type Done = grpc.sendUnaryData<Buffer>

/** What a server does; each may be replaced. By default it answers `name:` and what it got. */
export interface Moves {
  unary: (call: UnaryCall, done: Done) => void
  collect: (call: CollectCall, done: Done) => void
  /** Three messages. */
  expand: (call: ExpandCall) => void
  chat: (call: ChatCall) => void
}

export interface ListenAt {
  /** `host:port` or `unix:/path`; default: a free port of the loopback. */
  readonly listen?: string
  readonly credentials?: grpc.ServerCredentials
}

const UNLIMITED = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 }

export class GrpcServer {
  readonly name: string
  readonly moves: Moves
  /** Metadata of each call, in order. */
  readonly calls: grpc.Metadata[]
  private readonly server: grpc.Server
  private port: number

  private constructor(name: string) {
    this.name = name
    this.calls = []
    this.port = 0
    this.moves = {
      unary: (call, done) => done(null, this.say(call.request)),
      collect: (call, done) => {
        const all: Buffer[] = []
        call.on('data', (d: Buffer) => all.push(d))
        call.on('end', () => done(null, this.say(Buffer.concat(all))))
      },
      expand: (call) => {
        for (let i = 0; i < 3; i++) call.write(this.say(Buffer.from(`${call.request}${i}`)))
        call.end()
      },
      chat: (call) => {
        call.on('data', (d: Buffer) => call.write(this.say(d)))
        call.on('end', () => call.end())
        call.on('error', () => {})
      },
    }
    this.server = new grpc.Server(UNLIMITED)
    const { calls, moves } = this
    this.server.addService(ECHO, {
      Unary: (call: UnaryCall, done: Done) => {
        calls.push(call.metadata)
        moves.unary(call, done)
      },
      Collect: (call: CollectCall, done: Done) => {
        calls.push(call.metadata)
        moves.collect(call, done)
      },
      Expand: (call: ExpandCall) => {
        calls.push(call.metadata)
        moves.expand(call)
      },
      Chat: (call: ChatCall) => {
        calls.push(call.metadata)
        moves.chat(call)
      },
    })
  }

  static async start(t: Teardown, name: string, at: ListenAt = {}): Promise<GrpcServer> {
    const server = new GrpcServer(name)
    t.teardown(() => server.stop())
    server.port = await new Promise<number>((resolve, reject) => {
      const { listen = '127.0.0.1:0', credentials = grpc.ServerCredentials.createInsecure() } = at
      server.server.bindAsync(listen, credentials, (error, port) => (error === null ? resolve(port) : reject(error)))
    })
    return server
  }

  /** Connections are cut. */
  stop(): void {
    this.server.forceShutdown()
  }

  /** No further calls are taken (GOAWAY); resolves when those that are open have ended. */
  drain(): Promise<void> {
    return new Promise((resolve) => this.server.tryShutdown(() => resolve()))
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  say(what: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${this.name}:`), what])
  }
}

/** How a call ended, as the client saw it. */
export interface Ended {
  readonly code: number
  readonly details: string
  readonly messages: readonly Buffer[]
  /** Null when none came, as in trailers-only. */
  readonly initial: grpc.Metadata | null
  readonly trailing: grpc.Metadata
}

export interface CallOptions {
  readonly metadata?: Readonly<Record<string, string | Buffer>>
  readonly deadlineMs?: number
}

type AnyCall = grpc.ClientReadableStream<Buffer> | grpc.ClientDuplexStream<Buffer, Buffer>

/** One channel: one connection to the proxy. It makes no attempts of its own. */
export class GrpcClient {
  private readonly client: grpc.Client

  constructor(t: Teardown, port: number, authority: string, options: grpc.ChannelOptions = {}) {
    this.client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      'grpc.default_authority': authority,
      'grpc.enable_retries': 0,
      'grpc.use_local_subchannel_pool': 1,
      ...UNLIMITED,
      ...options,
    })
    t.teardown(() => this.client.close())
  }

  unary(message: string | Buffer, options: CallOptions = {}): Promise<Ended> {
    const call = this.expandOf('Unary', message, options)
    return ended(call)
  }

  expand(message: string | Buffer, options: CallOptions = {}): Promise<Ended> {
    return ended(this.expanding(message, options))
  }

  /** The call itself; nothing is read of it yet. */
  expanding(message: string | Buffer, options: CallOptions = {}): grpc.ClientReadableStream<Buffer> {
    return this.expandOf('Expand', message, options)
  }

  collect(messages: readonly (string | Buffer)[], options: CallOptions = {}): Promise<Ended> {
    const call = this.chatOf('Collect', options)
    for (const m of messages) call.write(Buffer.from(m))
    call.end()
    return ended(call)
  }

  chat(options: CallOptions = {}): grpc.ClientDuplexStream<Buffer, Buffer> {
    return this.chatOf('Chat', options)
  }

  /** A client stream whose end is the caller's to say. */
  collecting(options: CallOptions = {}): grpc.ClientDuplexStream<Buffer, Buffer> {
    return this.chatOf('Collect', options)
  }

  // To a client, one message and a stream of one message are the same on the wire.

  private expandOf(name: string, message: string | Buffer, options: CallOptions): grpc.ClientReadableStream<Buffer> {
    const path = `/test.Echo/${name}`
    return this.client.makeServerStreamRequest(
      path,
      bytes,
      bytes,
      Buffer.from(message),
      metadataOf(options),
      callOptions(options),
    )
  }

  private chatOf(name: string, options: CallOptions): grpc.ClientDuplexStream<Buffer, Buffer> {
    return this.client.makeBidiStreamRequest(`/test.Echo/${name}`, bytes, bytes, metadataOf(options), callOptions(options))
  }
}

/** Reads a call to its end. */
export function ended(call: AnyCall): Promise<Ended> {
  const messages: Buffer[] = []
  let initial: grpc.Metadata | null = null
  call.on('metadata', (m: grpc.Metadata) => {
    initial = m
  })
  call.on('data', (d: Buffer) => messages.push(d))
  call.on('error', () => {})
  return new Promise((resolve) => {
    call.on('status', (s: grpc.StatusObject) => {
      resolve({ code: s.code, details: s.details, messages, initial, trailing: s.metadata })
    })
  })
}

function metadataOf({ metadata = {} }: CallOptions): grpc.Metadata {
  const out = new grpc.Metadata()
  for (const [name, value] of Object.entries(metadata)) out.set(name, value)
  return out
}

function callOptions({ deadlineMs }: CallOptions): grpc.CallOptions {
  return deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs }
}
