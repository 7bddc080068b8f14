// The Istio CA as a source of certificates, against a CA by grpc-js and openssl.

import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { Rng } from '../../lib/base/rng.ts'
import { parseBootstrap } from '../../lib/bootstrap/load.ts'
import { type SigningRequest, SourceError } from '../../lib/identity/source/certificate-source.ts'
import { type IstioCaOptions, IstioCaSource } from '../../lib/identity/source/istio-ca.ts'
import { openManager } from '../../lib/identity/source/open-manager.ts'
import { eventually, within } from '../support/eventually.ts'
import { refusingPort } from '../support/free-port.ts'
import { CA_SERVER_NAME, IstioCaServer } from '../support/istio-ca-server.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'

const IDENTITY = 'spiffe://cluster.local/ns/shop/sa/web'
const FOREVER = new AbortController().signal

interface World {
  readonly ca: SigningCa
  readonly server: IstioCaServer
  readonly rootFile: string
  readonly tokenFile: string
  readonly csr: string
  /** What was waited between tries. */
  readonly waits: number[]
  source(options?: Partial<IstioCaOptions>): IstioCaSource
}

async function world(t: Teardown, ca?: SigningCa): Promise<World> {
  const authority = ca ?? (await SigningCa.root(t))
  const server = await IstioCaServer.start(t, authority)
  server.tokens.set('good', IDENTITY)
  const folder = mkdtempSync(path.join(tmpdir(), 'heddle-istio-ca-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const [rootFile, tokenFile] = [path.join(folder, 'root-cert.pem'), path.join(folder, 'istio-token')]
  writeFileSync(rootFile, authority.rootPem)
  writeFileSync(tokenFile, 'good\n')
  const waits: number[] = []
  return {
    ca: authority,
    server,
    rootFile,
    tokenFile,
    csr: csrIn(folder),
    waits,
    source: (options = {}) => {
      const made = new IstioCaSource({
        address: server.address,
        serverName: CA_SERVER_NAME,
        rootFile,
        tokenFile,
        clientCertificate: null,
        clusterId: 'Kubernetes',
        impersonates: false,
        rng: new Rng(1),
        pause: async (ms, signal) => {
          waits.push(ms)
          signal.throwIfAborted()
        },
        ...options,
      })
      t.teardown(() => made.close())
      return made
    },
  }
}

/** A request by openssl. */
function csrIn(folder: string): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const [key, csr] = [path.join(folder, 'key.pem'), path.join(folder, 'csr.pem')]
  writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  execFileSync('openssl', [
    'req',
    '-new',
    '-key',
    key,
    '-out',
    csr,
    '-subj',
    '/',
    '-addext',
    `subjectAltName=critical,URI:${IDENTITY}`,
  ])
  return readFileSync(csr, 'utf8')
}

const asks = (csrPem: string, change: Partial<SigningRequest> = {}): SigningRequest => ({
  identity: IDENTITY,
  csrPem,
  ttlMs: 24 * 3600_000,
  ...change,
})

async function failure(promise: Promise<unknown>): Promise<SourceError> {
  const outcome = await within(
    'a failure',
    promise.then(
      () => 'it succeeded',
      (error: unknown) => error,
    ),
  )
  if (outcome instanceof SourceError) return outcome
  throw new Error(`expected a SourceError, got ${outcome}`)
}

t.test('a certificate: what is asked, and how the answer is divided', async (t) => {
  const root = await SigningCa.root(t)
  const w = await world(t, await root.intermediate(t))
  const signed = await w
    .source({ metadata: { WorkloadName: 'web-1', WorkloadIP: '', CertSigner: 'x' } })
    .sign(asks(w.csr), FOREVER)
  t.match(w.server.calls, [
    {
      csr: w.csr,
      validitySeconds: 86400,
      metadata: { ClusterID: 'Kubernetes', WorkloadName: 'web-1', CertSigner: 'x' },
      token: 'good',
      clusterId: 'Kubernetes',
    },
  ])
  t.same(Object.keys(w.server.calls[0]?.metadata ?? {}), ['ClusterID', 'WorkloadName', 'CertSigner'])
  const chain =
    signed.certificateChainPem.match(/-----BEGIN[^-]*-----[^-]*-----END[^-]*-----\n/g)?.map((p) => new X509Certificate(p)) ?? []
  t.same(
    chain.map((c) => [c.ca, c.subjectAltName]),
    [
      [false, `URI:${IDENTITY}`],
      [true, undefined],
    ],
    'leaf and intermediate',
  )
  t.same(signed.rootsPem, [root.rootPem], 'the last element')
  t.ok(chain[0]?.verify((chain[1] as X509Certificate).publicKey))
})

t.test('the token is read for each call', async (t) => {
  const w = await world(t)
  const source = w.source()
  await source.sign(asks(w.csr), FOREVER)
  w.server.tokens.set('renewed', IDENTITY)
  writeFileSync(w.tokenFile, 'renewed')
  await source.sign(asks(w.csr), FOREVER)
  // Also between the tries of one request.
  w.server.moves.push({ kind: 'refuse', code: status.UNAVAILABLE })
  const again = w.source({
    pause: async () => {
      w.server.tokens.set('third', IDENTITY)
      writeFileSync(w.tokenFile, 'third')
    },
  })
  await again.sign(asks(w.csr), FOREVER)
  t.same(
    w.server.calls.map((c) => c.token),
    ['good', 'renewed', 'renewed', 'third'],
  )
})

t.test('a node asks for its pods', async (t) => {
  const w = await world(t)
  w.server.nodes.set('node', [IDENTITY])
  writeFileSync(w.tokenFile, 'node')
  const source = w.source({ impersonates: true, clusterId: '' })
  await source.sign(asks(w.csr), FOREVER)
  t.same(w.server.calls[0]?.metadata, { ImpersonatedIdentity: IDENTITY })
  t.equal(w.server.calls[0]?.clusterId, null)
  const foreign = await failure(source.sign(asks(w.csr, { identity: 'spiffe://cluster.local/ns/x/sa/y' }), FOREVER))
  t.equal(foreign.kind, 'refused')
  t.match(foreign.message, /Istio CA 127.0.0.1:\d+: UNAUTHENTICATED: request authenticate failure/)
})

t.test('what another try may make good is tried five times, what not is tried once', async (t) => {
  const w = await world(t)
  const retried = [status.CANCELLED, status.DEADLINE_EXCEEDED, status.RESOURCE_EXHAUSTED, status.ABORTED]
  for (const code of retried) w.server.moves.push({ kind: 'refuse', code })
  await w.source({ backoff: { initialMs: 100, maxMs: 10_000, factor: 2, jitter: 0 } }).sign(asks(w.csr), FOREVER)
  t.equal(w.server.calls.length, 5)
  t.same(w.waits, [100, 200, 400, 800])
  for (const code of [status.INTERNAL, status.UNAVAILABLE]) {
    w.server.calls.length = 0
    for (let i = 0; i < 5; i++) w.server.moves.push({ kind: 'refuse', code, details: 'not now' })
    const error = await failure(w.source().sign(asks(w.csr), FOREVER))
    t.match(error, { kind: 'unavailable', message: `${status[code]}: not now (5 tries)` })
    t.equal(w.server.calls.length, 5, status[code])
  }
  const once = [
    status.UNAUTHENTICATED,
    status.PERMISSION_DENIED,
    status.INVALID_ARGUMENT,
    status.UNIMPLEMENTED,
    status.FAILED_PRECONDITION,
    status.UNKNOWN,
  ]
  for (const code of once) {
    w.server.calls.length = 0
    w.server.moves.push({ kind: 'refuse', code, details: 'no' })
    const error = await failure(w.source().sign(asks(w.csr), FOREVER))
    t.match(error, {
      kind: 'refused',
      message: `Istio CA 127.0.0.1:${w.server.address.port}: ${status[code]}: no`,
    })
    t.equal(w.server.calls.length, 1, status[code])
  }
})

t.test('a CA that does not answer is left after the deadline', async (t) => {
  const w = await world(t)
  for (let i = 0; i < 2; i++) w.server.moves.push({ kind: 'hang' })
  const error = await failure(w.source({ deadlineMs: 50, tries: 2 }).sign(asks(w.csr), FOREVER))
  t.match(error, { kind: 'unavailable', message: /DEADLINE_EXCEEDED: no end in 50 ms \(2 tries\)$/ })
})

t.test('a request is given up with its signal, and with the source', async (t) => {
  const w = await world(t)
  w.server.moves.push({ kind: 'hang' }, { kind: 'hang' })
  const abort = new AbortController()
  const first = failure(w.source().sign(asks(w.csr), abort.signal))
  await eventually('the call', () => w.server.calls.length === 1)
  abort.abort()
  t.match(await first, { kind: 'unavailable', message: /given up/ })
  const source = w.source()
  const second = failure(source.sign(asks(w.csr), FOREVER))
  await eventually('the call', () => w.server.calls.length === 2)
  source.close()
  t.match(await second, { kind: 'unavailable', message: /given up/ })
  t.match(await failure(source.sign(asks(w.csr), FOREVER)), { message: /given up/ })
  t.same(w.waits, [])
})

t.test('why a token is not accepted, without showing it', async (t) => {
  const w = await world(t)
  const claims = (c: object): string => `h.${Buffer.from(JSON.stringify(c)).toString('base64url')}.secret`
  const rows: readonly (readonly [string, RegExp])[] = [
    [claims({ exp: 1000 }), /expired at 1970-01-01T00:16:40.000Z/],
    [claims({ aud: ['other'] }), /is for the audience "other", not "istio-ca"/],
    ['secret', /istio-token is no JWT/],
    [claims({ aud: ['istio-ca'] }), /is not accepted$/],
  ]
  for (const [token, message] of rows) {
    writeFileSync(w.tokenFile, token)
    const error = await failure(w.source().sign(asks(w.csr), FOREVER))
    t.match(error, { kind: 'refused', message })
    t.notMatch(error.message, /secret/)
  }
  writeFileSync(w.tokenFile, claims({ aud: ['istio-ca'] }))
  t.match(await failure(w.source({ impersonates: true }).sign(asks(w.csr), FOREVER)), { message: /CA_TRUSTED_NODE_ACCOUNTS/ })
  t.match(await failure(w.source({ tokenFile: null }).sign(asks(w.csr), FOREVER)), { message: /no token is configured/ })
  w.server.calls.length = 0
  const unusable: readonly (readonly [string, RegExp])[] = [
    ['', /token file .*istio-token is empty/],
    [' \n', /is empty/],
    ['secret\nsecond', /has more than a token in it/],
  ]
  for (const [content, message] of unusable) {
    writeFileSync(w.tokenFile, content)
    const error = await failure(w.source().sign(asks(w.csr), FOREVER))
    t.match(error, { kind: 'unavailable', message })
    t.notMatch(error.message, /secret/)
  }
  const absent = await failure(w.source({ tokenFile: '/nowhere/token' }).sign(asks(w.csr), FOREVER))
  t.match(absent, { kind: 'unavailable', message: /the token cannot be read: ENOENT.*\/nowhere\/token/ })
  t.same(w.server.calls, [], 'nothing is asked without a token')
})

t.test('answers that cannot be used', async (t) => {
  const w = await world(t)
  const rows: readonly (readonly [(chain: readonly string[]) => readonly string[], RegExp])[] = [
    [() => [], /the answer has no certificate/],
    [(chain) => chain.slice(0, 1), /the answer has one certificate/],
    [(chain) => [chain[0] as string, 'no PEM'], /element 1 of the answer's cert_chain is no PEM certificate/],
    [(chain) => ['', ...chain], /element 0 /],
    [(chain) => Array(101).fill(chain[0]), /more than 100 certificates/],
  ]
  for (const [of, message] of rows) {
    w.server.moves.push({ kind: 'chain', of })
    t.match(await failure(w.source().sign(asks(w.csr), FOREVER)), { kind: 'invalid', message })
  }
  w.server.moves.push({ kind: 'chain', of: (chain) => [chain[0] as string, `${chain[1]}${chain[1]}`] })
  const two = await w.source().sign(asks(w.csr), FOREVER)
  t.equal(two.rootsPem.join('').match(/BEGIN/g)?.length, 2, 'the last element may have several roots')
})

t.test('the CA itself is verified, by the roots that the file has when the connection is made', async (t) => {
  const w = await world(t)
  const other = await SigningCa.root(t)
  writeFileSync(w.rootFile, other.rootPem)
  const source = w.source({ tries: 1 })
  const stranger = await failure(source.sign(asks(w.csr), FOREVER))
  t.match(stranger, { kind: 'unavailable', message: /not signed by one of the given roots/ })
  t.same(w.server.calls, [], 'no token was shown')
  writeFileSync(w.rootFile, w.ca.rootPem)
  await source.sign(asks(w.csr), FOREVER)
  t.match(await failure(w.source({ tries: 1, serverName: 'other.svc' }).sign(asks(w.csr), FOREVER)), { message: /other\.svc/ })
  writeFileSync(w.rootFile, 'nothing')
  t.match(await failure(w.source({ tries: 1 }).sign(asks(w.csr), FOREVER)), { message: /root-cert.pem has no PEM certificate/ })
  rmSync(w.rootFile)
  t.match(await failure(w.source({ tries: 1 }).sign(asks(w.csr), FOREVER)), {
    message: /the CA's root certificate cannot be read: ENOENT/,
  })
})

t.test('a CA that is away, and comes back', async (t) => {
  const w = await world(t)
  const source = w.source({ tries: 2 })
  await source.sign(asks(w.csr), FOREVER)
  w.server.stop()
  const away = await failure(source.sign(asks(w.csr), FOREVER))
  t.match(away, { kind: 'unavailable', message: /UNAVAILABLE: no connection to .*ECONNREFUSED.* \(2 tries\)$/ })
  await w.server.resume()
  t.ok(await source.sign(asks(w.csr), FOREVER))
  const nobody = { kind: 'tcp', host: '127.0.0.1', port: await refusingPort() } as const
  t.match(await failure(w.source({ address: nobody, tries: 1 }).sign(asks(w.csr), FOREVER)), { message: /ECONNREFUSED/ })
})

t.test('many requests at once share one connection', async (t) => {
  const w = await world(t)
  const source = w.source()
  const all = await Promise.all(Array.from({ length: 10 }, () => source.sign(asks(w.csr), FOREVER)))
  t.equal(new Set(all.map((s) => s.certificateChainPem)).size, 10)
})

t.test('as heddle.yaml and the environment say it', async (t) => {
  const w = await world(t)
  const address = `127.0.0.1:${w.server.address.port}`
  const istioCa = { address, serverName: CA_SERVER_NAME, roots: w.rootFile, token: w.tokenFile }
  const text = { workload: { namespace: 'shop', serviceAccount: 'web' }, identity: { source: 'istio-ca', istioCa } }
  const read = parseBootstrap(JSON.stringify(text), '/heddle.yaml', {})
  if (!read.ok) throw new Error(read.errors.map((e) => e.message).join())
  const env = { 'CA_HEADER_X-Tenant': 'blue', CA_HEADER_: 'nothing', XDS_HEADER_X: 'of the control plane' }
  const log = { info: () => {}, warning: () => {} }
  const manager = await openManager({ bootstrap: read.config, env, log, rng: new Rng(1) })
  t.teardown(() => manager?.close())
  manager?.start()
  t.equal(await manager?.settled(5000), true)
  const [call] = w.server.calls
  t.match(call, { token: 'good', headers: { 'x-tenant': 'blue' } })
  t.notOk(Object.keys(call!.headers).some((name) => name === '' || name === 'x'))
})

const { ISTIOD_ADDR, ISTIOD_TOKEN_FILE, ISTIOD_ROOT_FILE, ISTIOD_SERVER_NAME, ISTIOD_IDENTITY, ISTIOD_CLUSTER_ID } = process.env
t.test(
  'a real istiod',
  {
    skip: ISTIOD_ADDR === undefined && 'NOT RUN: set ISTIOD_ADDR=host:port, ISTIOD_TOKEN_FILE, ISTIOD_ROOT_FILE, ISTIOD_IDENTITY',
  },
  async (t) => {
    const at = (ISTIOD_ADDR as string).lastIndexOf(':')
    const identity = ISTIOD_IDENTITY ?? IDENTITY
    const folder = mkdtempSync(path.join(tmpdir(), 'heddle-istiod-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const source = new IstioCaSource({
      address: { kind: 'tcp', host: (ISTIOD_ADDR as string).slice(0, at), port: Number((ISTIOD_ADDR as string).slice(at + 1)) },
      serverName: ISTIOD_SERVER_NAME ?? CA_SERVER_NAME,
      rootFile: ISTIOD_ROOT_FILE ?? null,
      tokenFile: ISTIOD_TOKEN_FILE ?? null,
      clientCertificate: null,
      clusterId: ISTIOD_CLUSTER_ID ?? 'Kubernetes',
      impersonates: false,
      rng: new Rng(1),
    })
    t.teardown(() => source.close())
    const signed = await source.sign({ identity, csrPem: csrIn(folder), ttlMs: 3600_000 }, FOREVER)
    const leaf = new X509Certificate(signed.certificateChainPem)
    t.equal(leaf.subjectAltName, `URI:${identity}`)
    t.ok(signed.rootsPem.length > 0)
  },
)
