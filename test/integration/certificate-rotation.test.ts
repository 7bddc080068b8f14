// Certificates that live for seconds, from a CA and from an agent that refuse, err, go away and come back: what uses them is a TLS
// server and clients of Node that never may fail.

import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { Rng } from '../../lib/base/rng.ts'
import type { IdentityMaterial } from '../../lib/identity/material.ts'
import { CertificateManager, type CertificateManagerOptions } from '../../lib/identity/source/certificate-manager.ts'
import { IstioCaSource } from '../../lib/identity/source/istio-ca.ts'
import { WorkloadApiSource } from '../../lib/identity/source/workload-api.ts'
import { eventually, pause } from '../support/eventually.ts'
import { CA_SERVER_NAME, IstioCaServer } from '../support/istio-ca-server.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { svidOf, WorkloadApiServer } from '../support/workload-api-server.ts'

const IDENTITY = 'spiffe://cluster.local/ns/shop/sa/web'

interface Managed {
  readonly manager: CertificateManager
  /** All that were in force, in order. */
  readonly materials: IdentityMaterial[]
  readonly warnings: string[]
}

function manage(t: Teardown, options: Pick<CertificateManagerOptions, 'source'> & Partial<CertificateManagerOptions>): Managed {
  const [materials, warnings]: [IdentityMaterial[], string[]] = [[], []]
  const manager = new CertificateManager({
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    bundles: [],
    ownIdentity: IDENTITY,
    rotation: { graceRatio: 0.5, jitter: 0.01 },
    ttlMs: 3_600_000,
    keyKind: 'ecdsa-p256',
    log: { info: () => {}, warning: (message) => void warnings.push(message) },
    now: Date.now,
    random: Math.random,
    ...options,
  })
  t.teardown(() => manager.close())
  manager.subscribe({ onIdentityUpdate: (update) => void materials.push(...update.materials) })
  manager.start()
  return { manager, materials, warnings }
}

interface World extends Managed {
  readonly ca: SigningCa
  readonly server: IstioCaServer
  readonly tokenFile: string
}

async function istio(t: Teardown, graceRatio: number, lifetimeMs: number | null): Promise<World> {
  const ca = await (await SigningCa.root(t)).intermediate(t)
  const server = await IstioCaServer.start(t, ca)
  server.lifetimeMs = lifetimeMs
  server.tokens.set('token', IDENTITY)
  const folder = mkdtempSync(path.join(tmpdir(), 'heddle-rotation-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const [rootFile, tokenFile] = [path.join(folder, 'root-cert.pem'), path.join(folder, 'istio-token')]
  writeFileSync(rootFile, ca.rootPem)
  writeFileSync(tokenFile, 'token')
  const source = new IstioCaSource({
    address: server.address,
    serverName: CA_SERVER_NAME,
    rootFile,
    tokenFile,
    clientCertificate: null,
    clusterId: 'Kubernetes',
    impersonates: false,
    rng: new Rng(1),
    tries: 1,
  })
  return { ...manage(t, { source, rotation: { graceRatio, jitter: 0.01 } }), ca, server, tokenFile }
}

/** Mutual TLS all the time, each handshake with the certificate that is in force on each side then. */
class Handshakes {
  readonly failures: string[] = []
  done = 0
  /** Open since the beginning. */
  readonly first: Promise<tls.TLSSocket>
  firstEnded = false
  private readonly server: tls.Server
  private readonly managed: Managed
  private stopped = false

  constructor(t: Teardown, managed: Managed) {
    this.managed = managed
    this.server = tls.createServer({ requestCert: true, rejectUnauthorized: true, ...this.terms() }, (socket) => {
      socket.on('error', () => {})
      socket.write('x')
    })
    managed.manager.subscribe({ onIdentityUpdate: () => this.server.setSecureContext(this.terms()) })
    const listening = new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    this.first = listening.then(() => this.handshake())
    this.first.then(
      (socket) =>
        socket.on('close', () => {
          this.firstEnded = true
        }),
      () => {},
    )
    const loops = [0, 1].map(() => listening.then(() => this.loop()))
    t.teardown(async () => {
      this.stopped = true
      await Promise.all(loops)
      const first = await this.first.catch(() => null)
      first?.destroy()
      this.server.close()
    })
  }

  private terms(): { cert: string; key: string; ca: string[] } {
    const material = this.managed.materials.at(-1) as IdentityMaterial
    const roots = this.managed.manager.trust.bundles.flatMap((b) => b.rootsPem)
    return { cert: material.certificateChainPem, key: material.privateKeyPem, ca: roots }
  }

  private async loop(): Promise<void> {
    while (!this.stopped) {
      try {
        ;(await this.handshake()).destroy()
        this.done++
      } catch (error) {
        this.failures.push(String(error))
      }
      // The machine has other work, too.
      await pause(5)
    }
  }

  /** Resolves with the server's first byte: only then has it accepted our certificate. */
  private handshake(): Promise<tls.TLSSocket> {
    return new Promise((resolve, reject) => {
      const { port } = this.server.address() as { port: number }
      const socket = tls.connect({ port, host: '127.0.0.1', checkServerIdentity: () => undefined, ...this.terms() })
      socket.on('error', reject)
      socket.once('data', () => resolve(socket))
      socket.once('close', () => reject(new Error('closed')))
    })
  }
}

t.test('certificates of a few seconds, renewed under load with a token that changes each time', async (t) => {
  // Renewed after two seconds; the rest of the life is for machines that are busy.
  const w = await istio(t, 0.7, 6000)
  await eventually('a certificate', () => w.materials.length === 1)
  const load = new Handshakes(t, w)
  for (const round of [2, 3]) {
    w.server.tokens.clear()
    w.server.tokens.set(`token-${round}`, IDENTITY)
    writeFileSync(w.tokenFile, `token-${round}\n`)
    await eventually(`certificate ${round}`, () => w.materials.length === round, 10_000)
  }
  const before = load.done
  await eventually('more handshakes', () => load.done > before)
  t.same(load.failures, [])
  t.notOk(load.firstEnded, 'a connection of the first certificate is still open')
  t.equal(new Set(w.materials.map((m) => m.privateKeyPem)).size, 3, 'each has a key of its own')
  t.same(
    w.server.calls.map((c) => c.token),
    ['token', 'token-2', 'token-3'],
  )
  t.same(w.warnings, [])
})

t.test('a CA that is away when a renewal is due: the old certificate serves until it is back', async (t) => {
  // Lives for long, and is renewed after a second.
  const w = await istio(t, 0.983, 60_000)
  await eventually('a certificate', () => w.materials.length === 1)
  const load = new Handshakes(t, w)
  w.server.stop()
  await eventually('failures', () => (w.manager.status()[0]?.failures ?? 0) >= 2, 10_000)
  t.match(w.manager.status(), [
    { state: 'valid', lastError: /Istio CA 127.0.0.1:\d+: UNAVAILABLE: no connection to .*ECONNREFUSED/ },
  ])
  t.match(w.warnings, [/no certificate for spiffe:.*ECONNREFUSED.*; the present one is valid until /])
  t.equal(w.materials.length, 1)
  const [done] = [load.done]
  await eventually('handshakes meanwhile', () => load.done > done)
  await w.server.resume()
  await eventually('a new certificate', () => w.materials.length === 2, 10_000)
  const after = load.done
  await eventually('handshakes with it', () => load.done > after)
  t.same(load.failures, [])
  t.match(w.manager.status(), [{ state: 'valid', failures: 0, lastError: '' }])
})

t.test('refused at first, then given', async (t) => {
  const w = await istio(t, 0.5, null)
  await eventually('a certificate', () => w.materials.length === 1)
  w.server.moves.push({ kind: 'refuse', code: status.UNAUTHENTICATED }, { kind: 'refuse', code: status.PERMISSION_DENIED })
  const other = 'spiffe://cluster.local/ns/shop/sa/other'
  w.server.tokens.set('token', other)
  w.manager.want(other, true)
  await eventually('the second certificate', () => w.materials.length === 2, 10_000)
  t.equal(w.materials[1]?.identity, other)
  t.match(w.warnings, [/UNAUTHENTICATED: refused by the test; the token of .*istio-token is no JWT/, /PERMISSION_DENIED/])
})

t.test('what the CA gives is not believed: another name, another key, another root, a life that is over', async (t) => {
  const w = await istio(t, 0.5, null)
  await eventually('a certificate', () => w.materials.length === 1)
  const stranger = await SigningCa.root(t)
  const foreign = await stranger.issue({ uris: ['spiffe://cluster.local/ns/shop/sa/w4'] })
  const own = w.server.calls[0]?.csr as string
  const rows = [
    [
      { kind: 'name', uris: ['spiffe://cluster.local/ns/shop/sa/admin'] },
      /is for spiffe:\/\/cluster.local\/ns\/shop\/sa\/admin; asked was for/,
    ],
    [{ kind: 'name', uris: [IDENTITY, `${IDENTITY}2`] }, /has 2 URI SANs/],
    [{ kind: 'name', uris: [] }, /has 0 URI SANs/],
    [{ kind: 'csr', csr: own }, /the key does not belong to the certificate/],
    [{ kind: 'chain', of: () => [foreign.chain, stranger.rootPem] }, /the key does not belong to the certificate/],
    [
      { kind: 'chain', of: (c: readonly string[]) => [...c.slice(0, -1), stranger.rootPem] },
      /does not lead to a root that came with it/,
    ],
    [{ kind: 'chain', of: (c: readonly string[]) => c.slice(0, 1) }, /the answer has one certificate/],
  ] as const
  for (const [i, [move, words]] of rows.entries()) {
    const identity = `spiffe://cluster.local/ns/shop/sa/w${i}`
    w.server.moves.push(move)
    w.server.tokens.set('token', identity)
    w.manager.want(identity, true)
    await eventually(String(words), () => w.manager.status().some((s) => s.identity === identity && words.test(s.lastError)))
    t.match(
      w.manager.status().find((s) => s.identity === identity),
      { state: 'waiting' },
    )
    w.manager.drop(identity)
  }
  w.server.lifetimeMs = -1000
  const late = 'spiffe://cluster.local/ns/shop/sa/late'
  w.server.tokens.set('token', late)
  w.manager.want(late, true)
  await eventually('an expired one to be refused', () => w.warnings.some((m) => /the certificate expired at/.test(m)))
  t.same(
    w.materials.map((m) => m.identity),
    [IDENTITY],
    'none of them was published',
  )
})

t.test('an agent rotates, goes away and comes back, and withdraws', async (t) => {
  const [ca, agent] = await Promise.all([SigningCa.root(t), WorkloadApiServer.start(t)])
  const svid = async (): Promise<{ svids: ReturnType<typeof svidOf>[] }> => ({
    svids: [svidOf(IDENTITY, await ca.issue({ uris: [IDENTITY], lifetimeMs: 60_000 }), ca.rootPem)],
  })
  agent.state = await svid()
  const backoff = { initialMs: 20, maxMs: 40, factor: 2, jitter: 0 }
  const source = new WorkloadApiSource({ address: agent.address, hint: null, rng: new Rng(1), backoff })
  const w = manage(t, { source, ownIdentity: '' })
  await eventually('a certificate', () => w.materials.length === 1)
  t.equal(w.manager.own, IDENTITY)
  const load = new Handshakes(t, w)
  for (const round of [2, 3, 4]) {
    agent.push(await svid())
    await eventually(`certificate ${round}`, () => w.materials.length === round)
  }
  agent.stop()
  await eventually('a failure', () => /no connection to unix/.test(w.manager.status()[0]?.lastError ?? ''))
  t.match(w.manager.status(), [{ identity: IDENTITY, state: 'valid' }])
  agent.state = await svid()
  await agent.resume()
  await eventually('a certificate', () => w.materials.length === 5)
  const done = load.done
  await eventually('handshakes', () => load.done > done)
  t.same(load.failures, [])
  t.ok(w.materials.every((m) => new X509Certificate(m.certificateChainPem).subjectAltName === `URI:${IDENTITY}`))
  agent.refusal = status.PERMISSION_DENIED
  agent.endStreams(status.PERMISSION_DENIED)
  await eventually('it to be withdrawn', () => w.manager.own === '')
  t.match(w.warnings.join('\n'), /withdrawn: spiffe:/)
  t.same(w.manager.trust.bundles, [])
})
