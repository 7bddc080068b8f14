// A request that has happened, explained: its steps from the ring, read against the tables that it was decided on. Loaded when somebody asks.
import { explain } from '../decide/explain.ts'
import { withTokens } from '../decide/explain-jwt.ts'
import { withAuthorization } from '../decide/explain-rbac.ts'
import type { ExplainedListener, ExplainedPeer, ExplainedStep, Explanation } from '../decide/explanation.ts'
import type { StepRing } from '../decide/steps.ts'
import type { HttpStream } from '../filter/http/http-stream.ts'
import { HttpRbacFacts } from '../filter/http/rbac-facts.ts'
import { parseRequestHead, StartLine } from '../http/h1/parse-head.ts'
import { HeaderMap } from '../http/header-map.ts'
import type { RequestView } from '../route/request-view.ts'
import { JWT_METADATA } from '../state/route.ts'
import { flagsText } from '../telemetry/response-flags.ts'
import type { TlsFacts } from '../transport/tls-facts.ts'

/** Null when newer requests have overwritten the steps. */
export function explainStream(stream: HttpStream, id: string, steps: StepRing): Explanation | null {
  const taken = stream.decision.steps < 0 ? new Int32Array(0) : steps.read(stream.decision.steps)
  if (taken === null) return null
  const request = viewOf(stream)
  const decided = explain({
    id,
    request,
    steps: taken,
    tables: stream.tables,
    dialled: stream.session.connection.originalDst || stream.manager.listener.originalDst,
    answer: {
      status: stream.responseCode,
      flags: flagsText(stream.responseFlags),
      details: stream.responseCodeDetails,
    },
  })
  const authorized =
    stream.authorizer === null
      ? decided
      : withAuthorization(decided, taken, stream.authorizer.config, new HttpRbacFacts().ask(stream, request))
  const { tokens, metadata } = stream
  const explanation =
    tokens === null ? authorized : withTokens(authorized, taken, tokens.config, metadata?.get(JWT_METADATA) ?? null)
  const listener = listenerOf(stream)
  const client = peerOf(stream.downstreamTls)
  const server = peerOf(stream.upstreamTls)
  const told = [
    ...(listener.dialled === '' ? [] : [listenerStep(listener)]),
    ...(client === null ? [] : [peerStep('client', client)]),
    ...explanation.steps.slice(0, -1),
    ...(server === null ? [] : [peerStep('endpoint', server)]),
    ...explanation.steps.slice(-1),
  ]
  return {
    ...explanation,
    listener,
    client,
    server,
    steps: told,
    at: new Date(stream.startTimeMs).toISOString(),
    tookMs: stream.durationMs,
  }
}

/** The chain as the newest configuration has it. */
function listenerOf({ manager, session }: HttpStream): ExplainedListener {
  const { name, filterChains } = manager.listener
  const chain = filterChains.find((c) => c.network === manager.config)
  return { name, chain: chain?.name ?? '', dialled: session.connection.originalDst }
}

function listenerStep({ name, chain, dialled }: ExplainedListener): ExplainedStep {
  const text = `the client dialled ${dialled}: listener ${name}, filter chain ${chain === '' ? '(gone)' : chain}`
  return { step: 'listener', text, condition: null, object: null }
}

function peerOf(tls: TlsFacts | null): ExplainedPeer | null {
  if (tls === null) return null
  const { peerIdentity, localIdentity, version, sni, alpn } = tls
  return { identity: peerIdentity, own: localIdentity, version, sni, alpn }
}

function peerStep(who: string, { identity, own, version }: ExplainedPeer): ExplainedStep {
  const is = identity === '' ? `spoke ${version} and showed no identity` : `is ${identity}, by ${version}`
  const shown = own === '' ? '' : `; we are ${own}`
  return { step: 'peer', text: `the ${who} ${is}${shown}`, condition: null, object: null }
}

/** HTTP/2 has no request line; its fields are kept as lines all the same, some pseudo-headers between them. */
const REQUEST_LINE = /^[^ :]+ [^ ]+ HTTP\/1\.[01]\r\n/
const ANY_LINE = 'GET / HTTP/1.1\r\n'
const PSEUDO_LINES = /^:.*\r\n/gm

/** The request as it was routed: its headers are read again from the head, since the map they were in serves another request now. */
function viewOf(stream: HttpStream): RequestView {
  const head = REQUEST_LINE.test(stream.head) ? stream.head : `${ANY_LINE}${stream.head.replace(PSEUDO_LINES, '')}`
  const text = `${head}\r\n`
  const bytes = Buffer.alloc(text.length + 1)
  bytes.write(text, 'latin1')
  const headers = new HeaderMap()
  parseRequestHead(bytes, 0, text.length, new StartLine(), headers, 1e9, 1e9)
  headers.block = head
  const { tokens, metadata } = stream
  if (tokens !== null) {
    tokens.hideTokens(headers)
    if (tokens.config.choosesRoute) tokens.outputsOf({ headers, query: null }, metadata?.get(JWT_METADATA) ?? null)
  }
  return {
    method: stream.method,
    path: stream.path,
    query: tokens === null || stream.query === null ? stream.query : tokens.withoutTokens(stream.query),
    scheme: stream.scheme,
    authority: headers.get('host') ?? stream.authority,
    headers,
    metadata,
  }
}
