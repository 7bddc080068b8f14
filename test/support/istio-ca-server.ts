// A CA with Istio's service, by @grpc/grpc-js, protobufjs and openssl: nothing of it shares code with heddle. Like istiod it takes the
// identity from the token, or from the metadata when a node asks for a pod, and never from the request.
import grpc from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { ISTIO_CA } from './identity-protos.ts'
import type { SigningCa } from './signing-ca.ts'
import type { Teardown } from './teardown.ts'

export const CA_SERVER_NAME = 'istiod.istio-system.svc'

export interface CaCall {
  readonly csr: string
  readonly validitySeconds: number
  /** Strings of the Struct. */
  readonly metadata: Readonly<Record<string, string>>
  /** Without `Bearer `; null when there is none. */
  readonly token: string | null
  /** The header. */
  readonly clusterId: string | null
  /** All that are text. */
  readonly headers: Readonly<Record<string, string | Buffer>>
}

/** What is done with one call instead of issuing. */
export type CaMove =
  | { readonly kind: 'refuse'; readonly code: grpc.status; readonly details?: string }
  | { readonly kind: 'hang' }
  /** What is sent as `cert_chain`, made of what would have been sent. */
  | { readonly kind: 'chain'; readonly of: (chain: readonly string[]) => readonly string[] }
  /** A certificate for somebody else. */
  | { readonly kind: 'name'; readonly uris: readonly string[] }
  /** A certificate for a key that did not ask. */
  | { readonly kind: 'csr'; readonly csr: string }

interface Request {
  readonly csr: string
  readonly validityDuration: string
  readonly metadata: { readonly fields: Readonly<Record<string, { readonly stringValue?: string }>> } | null
}

type Done = grpc.sendUnaryData<{ certChain: readonly string[] }>

export class IstioCaServer {
  readonly calls: CaCall[]
  /** Taken from the front, one for each call; without one the call is answered as it should be. */
  readonly moves: CaMove[]
  /** Tokens that are accepted, and whose they are. */
  readonly tokens: Map<string, string>
  /** Tokens of nodes, which may ask for these identities by ImpersonatedIdentity. */
  readonly nodes: Map<string, readonly string[]>
  /** Of certificates to come; null: what is asked for. */
  lifetimeMs: number | null
  /** How long before now certificates to come begin; null: as SigningCa has it. */
  backdatedMs: number | null
  private readonly ca: SigningCa
  private readonly credentials: grpc.ServerCredentials
  private server: grpc.Server | null
  private port: number

  private constructor(ca: SigningCa, credentials: grpc.ServerCredentials) {
    this.calls = []
    this.moves = []
    this.tokens = new Map()
    this.nodes = new Map()
    this.lifetimeMs = null
    this.backdatedMs = null
    this.ca = ca
    this.credentials = credentials
    this.server = null
    this.port = 0
  }

  /** Its own certificate is for CA_SERVER_NAME, by the same authority. */
  static async start(t: Teardown, ca: SigningCa): Promise<IstioCaServer> {
    const { chain, key } = await ca.issue({ dnsNames: [CA_SERVER_NAME] })
    const pair = { cert_chain: Buffer.from(chain), private_key: Buffer.from(key) }
    const server = new IstioCaServer(ca, grpc.ServerCredentials.createSsl(Buffer.from(ca.rootPem), [pair], false))
    t.teardown(() => server.stop())
    await server.resume()
    return server
  }

  get address(): { readonly kind: 'tcp'; readonly host: string; readonly port: number } {
    return { kind: 'tcp', host: '127.0.0.1', port: this.port }
  }

  /** Connections are cut, and new ones refused. */
  stop(): void {
    this.server?.forceShutdown()
    this.server = null
  }

  /** Back on the same port. */
  async resume(): Promise<void> {
    const server = new grpc.Server()
    const definition = fromJSON(ISTIO_CA as never, { longs: String, defaults: true })
    server.addService(definition['istio.v1.auth.IstioCertificateService'] as grpc.ServiceDefinition, {
      CreateCertificate: (call: grpc.ServerUnaryCall<Request, unknown>, done: Done) => this.onCall(call, done),
    })
    this.port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${this.port}`, this.credentials, (error, port) => (error ? reject(error) : resolve(port)))
    })
    this.server = server
  }

  private onCall(call: grpc.ServerUnaryCall<Request, unknown>, done: Done): void {
    const { csr, validityDuration, metadata } = call.request
    const strings = Object.entries(metadata?.fields ?? {}).map(([key, value]) => [key, value.stringValue ?? ''] as const)
    const [authorization] = call.metadata.get('authorization')
    const [clusterId] = call.metadata.get('clusterid')
    const seen: CaCall = {
      csr,
      validitySeconds: Number(validityDuration),
      metadata: Object.fromEntries(strings),
      token: typeof authorization === 'string' ? authorization.replace(/^Bearer /, '') : null,
      clusterId: typeof clusterId === 'string' ? clusterId : null,
      headers: call.metadata.getMap(),
    }
    this.calls.push(seen)
    const move = this.moves.shift()
    if (move?.kind === 'hang') return
    if (move?.kind === 'refuse') {
      done({ code: move.code, details: move.details ?? 'refused by the test' })
      return
    }
    const identity = this.identityOf(seen)
    // What istiod says, whatever the reason is.
    if (identity === null) {
      done({ code: grpc.status.UNAUTHENTICATED, details: 'request authenticate failure' })
      return
    }
    this.issue(move?.kind === 'csr' ? move.csr : csr, move?.kind === 'name' ? move.uris : [identity], seen.validitySeconds).then(
      (chain) => done(null, { certChain: move?.kind === 'chain' ? move.of(chain) : chain }),
      (error: Error) => done({ code: grpc.status.INVALID_ARGUMENT, details: error.message.slice(0, 100) }),
    )
  }

  private identityOf({ token, metadata }: CaCall): string | null {
    const wanted = metadata['ImpersonatedIdentity']
    if (wanted === undefined) return this.tokens.get(token ?? '') ?? null
    return this.nodes.get(token ?? '')?.includes(wanted) === true ? wanted : null
  }

  /** Leaf, intermediates, and the root as the last. */
  private async issue(csr: string, uris: readonly string[], validitySeconds: number): Promise<string[]> {
    const lifetimeMs = this.lifetimeMs ?? validitySeconds * 1000
    const { backdatedMs } = this
    const wanted = { uris, lifetimeMs, ...(backdatedMs === null ? {} : { backdatedMs }) }
    return [await this.ca.sign(csr, wanted), ...this.ca.intermediates, this.ca.rootPem]
  }
}
