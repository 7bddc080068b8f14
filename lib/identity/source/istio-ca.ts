// istiod, or another CA with its service, as a source: IstioCertificateService.CreateCertificate over TLS, with the token of a
// Kubernetes service account as credential (istio/api security/v1alpha1/ca.proto; what Istio's agent does: security/pkg/nodeagent).
import { readFile } from 'node:fs/promises'
import { rootCertificates } from 'node:tls'
import { Backoff, type BackoffTerms } from '../../base/backoff.ts'
import { type Pause, pauseByClock } from '../../base/pause.ts'
import type { Rng } from '../../base/rng.ts'
import { addressText, type GrpcAddress, type GrpcTls } from '../../grpc/grpc-address.ts'
import { GrpcChannel } from '../../grpc/grpc-channel.ts'
import { GRPC, GrpcError } from '../../grpc/grpc-error.ts'
import { ProtobufError } from '../../grpc/protobuf-fields.ts'
import { pemBlocks } from '../chain.ts'
import { type SignedCertificate, type SigningRequest, type SigningSource, SourceError } from './certificate-source.ts'
import { decodeIstioCertificateResponse, encodeIstioCertificateRequest } from './istio-ca-messages.ts'
import { tokenFault } from './service-account-token.ts'

export interface IstioCaOptions {
  readonly address: GrpcAddress
  /** What the CA's certificate must be for: `istiod.istio-system.svc`. */
  readonly serverName: string
  /** PEM, read for each connection; null: the roots that Node brings. */
  readonly rootFile: string | null
  /** Read for each call, since Kubernetes renews it in place; null: no token, the client certificate says who we are. */
  readonly tokenFile: string | null
  /** PEM, read for each connection; null: none. */
  readonly clientCertificate: { readonly chainFile: string; readonly keyFile: string } | null
  /** `ClusterID` of the metadata; '' is left out. */
  readonly clusterId: string
  /** A node asks for the identities of its pods: each is named in the request, and the token is the node's own. */
  readonly impersonates: boolean
  /** Further strings of the request's metadata: `WorkloadName`, `WorkloadIP`, `CertSigner`; '' is left out. Default: none. */
  readonly metadata?: Readonly<Record<string, string>>
  /** Further metadata of the call, as something in front of the CA may want it. Default: none. */
  readonly headers?: Readonly<Record<string, string>>
  readonly rng: Rng
  /** Of one try; default 10 s. */
  readonly deadlineMs?: number
  /** Tries of one `sign`; default 5, as Istio's agent. */
  readonly tries?: number
  readonly backoff?: BackoffTerms
  readonly pause?: Pause
  /** Epoch, ms; default `Date.now`. Only for what is said of a token that was refused. */
  readonly wallMs?: () => number
}

const METHOD = '/istio.v1.auth.IstioCertificateService/CreateCertificate'
const DEADLINE_MS = 10_000
const TRIES = 5
/** Istio's agent waits 100 ms first, with a jitter of 0.1. */
const BACKOFF: BackoffTerms = { initialMs: 100, maxMs: 10_000, factor: 2, jitter: 0.1 }
/** A chain is some kilobytes. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024
const TOKEN_AUDIENCE = 'istio-ca'

/** What another try may make good (istio security/pkg/nodeagent/caclient). */
const RETRIED: readonly number[] = [
  GRPC.CANCELLED,
  GRPC.DEADLINE_EXCEEDED,
  GRPC.RESOURCE_EXHAUSTED,
  GRPC.ABORTED,
  GRPC.INTERNAL,
  GRPC.UNAVAILABLE,
]

export class IstioCaSource implements SigningSource {
  readonly kind: 'signs'
  readonly name: string
  readonly #options: IstioCaOptions
  readonly #channel: GrpcChannel
  readonly #closing: AbortController

  constructor(options: IstioCaOptions) {
    this.kind = 'signs'
    this.name = `Istio CA ${addressText(options.address)}`
    this.#options = options
    this.#closing = new AbortController()
    this.#channel = new GrpcChannel({
      address: options.address,
      tls: () => readTls(options),
      maxMessageBytes: MAX_MESSAGE_BYTES,
      userAgent: 'heddle',
    })
  }

  /** Short disturbances are waited out here: up to `tries` calls, a second or two together. */
  async sign(request: SigningRequest, signal: AbortSignal): Promise<SignedCertificate> {
    const { tries = TRIES, pause = pauseByClock } = this.#options
    const ended = AbortSignal.any([signal, this.#closing.signal])
    const backoff = new Backoff(this.#options.backoff ?? BACKOFF, this.#options.rng)
    for (let tried = 1; ; tried++) {
      // The token that was sent is kept for the one thing that may be said of it: why it was not accepted.
      const token = await this.#token()
      try {
        return this.#signed(await this.#call(request, token, ended))
      } catch (error) {
        if (ended.aborted) throw this.#error('unavailable', 'the request was given up')
        if (!(error instanceof GrpcError)) throw error
        if (!RETRIED.includes(error.code) || tried >= tries) throw this.#refusal(error, token, tried)
      }
      await pause(backoff.nextMs(), ended).catch(() => {
        throw this.#error('unavailable', 'the request was given up')
      })
    }
  }

  close(): void {
    this.#closing.abort()
    this.#channel.close()
  }

  #call(request: SigningRequest, token: string | null, signal: AbortSignal): Promise<Buffer> {
    const { clusterId, impersonates, metadata, headers = {}, deadlineMs = DEADLINE_MS } = this.#options
    const message = encodeIstioCertificateRequest({
      csr: request.csrPem,
      validitySeconds: Math.max(1, Math.ceil(request.ttlMs / 1000)),
      metadata: {
        ...named({ ClusterID: clusterId, ...metadata }),
        ...(impersonates ? { ImpersonatedIdentity: request.identity } : {}),
      },
    })
    return this.#channel.unary(METHOD, message, {
      deadlineMs,
      signal,
      metadata: {
        ...headers,
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...named({ ClusterID: clusterId }),
      },
    })
  }

  /** The first element is the leaf, the last has the roots, and what is between are intermediates. */
  #signed(answer: Buffer): SignedCertificate {
    let chain: string[]
    try {
      chain = decodeIstioCertificateResponse(answer)
    } catch (error) {
      if (error instanceof ProtobufError)
        throw this.#error('invalid', `the answer is no IstioCertificateResponse: ${error.message}`)
      throw error
    }
    const roots = chain.pop()
    if (roots === undefined) throw this.#error('invalid', 'the answer has no certificate')
    if (chain.length === 0) {
      throw this.#error(
        'invalid',
        'the answer has one certificate: expected a leaf, intermediates if any, and the roots as the last',
      )
    }
    const empty = [...chain, roots].findIndex((pem) => pemBlocks(pem).length === 0)
    if (empty >= 0) throw this.#error('invalid', `element ${empty} of the answer's cert_chain is no PEM certificate`)
    return { certificateChainPem: chain.map((pem) => `${pem.trimEnd()}\n`).join(''), rootsPem: [roots] }
  }

  async #token(): Promise<string | null> {
    const { tokenFile } = this.#options
    if (tokenFile === null) return null
    const text = await readFile(tokenFile, 'utf8').catch((error: unknown) => {
      throw this.#error('unavailable', `the token cannot be read: ${readFailure(error)}`)
    })
    const token = text.trim()
    if (token === '') throw this.#error('unavailable', `the token file ${tokenFile} is empty`)
    // It goes into a header. What is wrong with it is not shown.
    if (!/^[\x21-\x7e]+$/.test(token)) throw this.#error('unavailable', `the token file ${tokenFile} has more than a token in it`)
    return token
  }

  #refusal(error: GrpcError, token: string | null, tried: number): SourceError {
    const often = tried === 1 ? '' : ` (${tried} tries)`
    const said = `${error.name}: ${error.message}${often}`
    if (RETRIED.includes(error.code)) return this.#error('unavailable', said)
    if (error.fromServer && (error.code === GRPC.UNAUTHENTICATED || error.code === GRPC.PERMISSION_DENIED)) {
      return this.#error('refused', `${said}; ${this.#whyNotAccepted(token)}`)
    }
    return this.#error(error.fromServer ? 'refused' : 'unavailable', said)
  }

  /** istiod answers each refusal with the same bare status: what an operator can look at next. */
  #whyNotAccepted(token: string | null): string {
    const { tokenFile, impersonates, wallMs = Date.now } = this.#options
    if (token === null) return 'no token is configured'
    const fault = tokenFault(token, TOKEN_AUDIENCE, wallMs())
    if (fault !== null) return `the token of ${tokenFile} ${fault}`
    if (!impersonates) return `the token of ${tokenFile} is not accepted`
    return (
      `the token of ${tokenFile} is not accepted, or this account is not in istiod's CA_TRUSTED_NODE_ACCOUNTS, ` +
      'or no pod with that identity runs on this node'
    )
  }

  #error(kind: SourceError['kind'], what: string): SourceError {
    return new SourceError(kind, `${this.name}: ${what}`)
  }
}

async function readTls(options: IstioCaOptions): Promise<GrpcTls> {
  const { rootFile, clientCertificate, serverName } = options
  const read = (file: string, what: string): Promise<string> =>
    readFile(file, 'utf8').catch((error: unknown) => {
      throw new Error(`${what} cannot be read: ${readFailure(error)}`)
    })
  const roots = rootFile === null ? rootCertificates.join('\n') : await read(rootFile, "the CA's root certificate")
  if (rootFile !== null && pemBlocks(roots).length === 0) throw new Error(`${rootFile} has no PEM certificate`)
  if (clientCertificate === null) return { roots, serverName, client: null }
  const [chain, key] = await Promise.all([
    read(clientCertificate.chainFile, 'the client certificate'),
    read(clientCertificate.keyFile, 'the key of the client certificate'),
  ])
  return { roots, serverName, client: { chain, key } }
}

/** Without what is empty. */
function named(strings: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(strings).filter(([, value]) => value !== ''))
}

/** Node's text has code and path: `ENOENT: no such file or directory, open '/x'`. */
function readFailure(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
