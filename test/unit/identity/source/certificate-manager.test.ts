// Who has a certificate when: real keys and certificates, a time that the test moves, a CA whose answers the test gives.
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import t from 'tap'
import type { IdentityUpdate } from '../../../../lib/identity/material.ts'
import { CertificateAuthority } from '../../../../lib/identity/source/certificate-authority.ts'
import { CertificateManager, type CertificateManagerOptions } from '../../../../lib/identity/source/certificate-manager.ts'
import {
  type CertificateSource,
  type DeliveredCertificate,
  type DeliveringSource,
  type DeliverySink,
  type SignedCertificate,
  type SigningRequest,
  type SigningSource,
  SourceError,
} from '../../../../lib/identity/source/certificate-source.ts'
import { generateKey, privateKeyPem } from '../../../../lib/identity/source/private-key.ts'
import { requestedKey } from '../../../../lib/identity/source/signing-request.ts'
import { eventually } from '../../../support/eventually.ts'
import { ManualTime } from '../../../support/manual-time.ts'
import type { Teardown } from '../../../support/teardown.ts'

const WEB = 'spiffe://cluster.local/ns/shop/sa/web'
const API = 'spiffe://cluster.local/ns/shop/sa/api'
const HOUR = 3_600_000
const START = Date.UTC(2026, 0, 1)

class Updates extends Array<IdentityUpdate> {
  #read = 1
  /** The next that was not read. */
  async next(): Promise<IdentityUpdate> {
    await eventually(`update ${this.#read}`, () => this.length > this.#read)
    return this[this.#read++] as IdentityUpdate
  }
}

interface Pending {
  readonly request: SigningRequest
  readonly signal: AbortSignal
  answer(answer: SignedCertificate): void
  sign(authority: CertificateAuthority): void
  fail(error: SourceError): void
}

class ScriptedCa implements SigningSource {
  readonly kind = 'signs'
  readonly name = 'test CA'
  readonly #time: ManualTime
  readonly #pending: Pending[] = []
  asked = 0
  closed = false

  constructor(time: ManualTime) {
    this.#time = time
  }

  get waiting(): number {
    return this.#pending.length
  }

  sign(request: SigningRequest, signal: AbortSignal): Promise<SignedCertificate> {
    this.asked++
    return new Promise((resolve, reject) => {
      this.#pending.push({
        request,
        signal,
        answer: resolve,
        sign: (authority) => resolve(answerOf(authority, request, this.#time)),
        fail: reject,
      })
    })
  }

  async next(): Promise<Pending> {
    await eventually('the CA is asked', () => this.#pending.length > 0)
    return this.#pending.shift() as Pending
  }

  close(): void {
    this.closed = true
  }
}

class ScriptedDelivery implements DeliveringSource {
  readonly kind = 'delivers'
  readonly name = 'test delivery'
  sink: DeliverySink | null = null
  start(sink: DeliverySink): void {
    this.sink = sink
  }
  close(): void {
    this.sink = null
  }
}

const authority = (trustDomain = 'cluster.local'): Promise<CertificateAuthority> =>
  CertificateAuthority.create({ trustDomain, intermediate: true, keyKind: 'ecdsa-p256', nowMs: START - HOUR })

const ca = await authority()
const otherCa = await authority()

t.test('a certificate from a CA, and its renewals', async (t) => {
  const { source, manager, time, updates, said } = setup(t)
  manager.start()
  t.equal(updates.length, 1)
  t.match(updates[0], { own: '', materials: [], trust: { trustDomain: 'cluster.local', bundles: [] } })
  const first = await source.next()
  t.match(first.request, { identity: WEB, ttlMs: 24 * HOUR })
  t.match(manager.status(), [{ identity: WEB, state: 'waiting', notAfterMs: 0, lastError: '' }])
  first.sign(ca)
  const one = await updates.next()
  t.match(one, {
    own: WEB,
    withdrawn: [],
    trust: { generation: 1, bundles: [{ trustDomain: 'cluster.local', rootsPem: [ca.material.rootPem] }] },
  })
  const [old] = one.materials
  if (old === undefined) throw new Error('no material')
  t.match(old, { identity: WEB, notAfterMs: START + 24 * HOUR, notBeforeMs: START - 120_000, generation: 1 })
  t.same(structuredClone(one), one)
  t.ok(new X509Certificate(old.certificateChainPem).checkPrivateKey(createPrivateKey(old.privateKeyPem)))
  t.match(manager.status(), [{ state: 'valid', renewalAtMs: START + 12 * HOUR }])

  time.advance(12 * HOUR - 1)
  t.equal(source.waiting, 0, 'not before half of the life')
  time.advance(1)
  const second = await source.next()
  t.equal(manager.material(WEB), old, 'the old one until the new one is there')
  t.notOk(requestedKey(second.request.csrPem)?.equals(createPublicKey(old.privateKeyPem)), 'with a new key')
  second.sign(ca)
  const two = await updates.next()
  t.match(two, { own: WEB, trust: null, materials: [{ identity: WEB, notAfterMs: START + 36 * HOUR, generation: 2 }] })
  t.same(said, [])

  time.advance(12 * HOUR)
  ;(await source.next()).sign(otherCa)
  t.match(await updates.next(), {
    trust: { generation: 2, bundles: [{ rootsPem: [otherCa.material.rootPem] }] },
    materials: [{ generation: 3 }],
  })
})

t.test('failures: back-off, and the old certificate as long as it is valid', async (t) => {
  const { source, manager, time, updates, said } = setup(t)
  manager.start()
  const fail = async (message: string): Promise<void> => {
    const failures = manager.status()[0]?.failures ?? 0
    ;(await source.next()).fail(new SourceError('unavailable', message))
    await eventually('the failure is noted', () => (manager.status()[0]?.failures ?? 0) > failures)
  }
  await fail('connection refused')
  t.match(said, [/no certificate for spiffe:.*web: connection refused; next try in 0\.5s; there is none to use meanwhile/])
  time.advance(499)
  t.equal(source.waiting, 0)
  time.advance(1)
  await fail('connection refused')
  t.equal(said.length, 1, 'the same again is not worth a line')
  time.advance(1000)
  ;(await source.next()).sign(ca)
  await updates.next()
  t.match(said[1], /has given a certificate after 2 failures/)
  const end = manager.material(WEB)?.notAfterMs ?? 0

  time.advance(12 * HOUR)
  let tries = 0
  for (const waitMs of [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000]) {
    tries++
    await fail('down')
    t.equal(manager.status()[0]?.renewalAtMs, time.nowMs + waitMs, `after ${tries} failures`)
    t.match(manager.status(), [{ state: 'valid', lastError: 'down', failures: tries }])
    time.advance(waitMs)
  }
  t.match(said[2], /down; next try in 0\.5s; the present one is valid until 2026-/)
  time.nowMs = end - 60_000
  await fail('down')
  t.equal(manager.status()[0]?.renewalAtMs, end - 500, 'once more before the end')
  time.advance(59_500)
  await fail('down')
  time.advance(1000)
  t.match(manager.status(), [{ state: 'expired' }])
  await fail('down')
  t.match(said.at(-1), /the present one expired at 2026-/)
  t.equal(said.length, 4)
  toRenewal(manager, time)
  ;(await source.next()).sign(ca)
  t.match(await updates.next(), { own: WEB, materials: [{ generation: 2 }] })
  t.match(manager.status(), [{ state: 'valid', failures: 0, lastError: '' }])
})

t.test('what a CA gives is not believed', async (t) => {
  const { source, manager, time, updates } = setup(t)
  manager.start()
  ;(await source.next()).sign(ca)
  const good = (await updates.next()).materials[0]
  time.advance(12 * HOUR)
  const key = createPublicKey(await generateKey('ecdsa-p256'))
  const rows: readonly (readonly [what: string, answer: (r: SigningRequest) => SignedCertificate, expected: RegExp])[] = [
    ['another identity', (r) => answerOf(ca, { ...r, identity: API }, time), /is for spiffe:.*api; asked was for spiffe:.*web/],
    [
      'another key',
      () => ({ certificateChainPem: ca.issue(WEB, key, HOUR, time.nowMs), rootsPem: [ca.material.rootPem] }),
      /key does not belong/,
    ],
    ['another root', (r) => ({ ...answerOf(ca, r, time), rootsPem: [otherCa.material.rootPem] }), /does not lead to a root/],
    ['no root', (r) => ({ ...answerOf(ca, r, time), rootsPem: [] }), /does not lead to a root/],
    [
      'without its intermediate',
      (r) => ({ ...answerOf(ca, r, time), certificateChainPem: leafOf(answerOf(ca, r, time)) }),
      /does not lead/,
    ],
    ['expired', (r) => answerOf(ca, { ...r, ttlMs: -1000 }, time), /expired at 2026-/],
    ['from the future', (r) => answerOf(ca, r, { nowMs: time.nowMs + HOUR }), /not valid until 2026-/],
    ['nothing', () => ({ certificateChainPem: '', rootsPem: [] }), /no PEM certificate/],
  ]
  for (const [what, answer, expected] of rows) {
    const failures = manager.status()[0]?.failures ?? 0
    const pending = await source.next()
    pending.answer(answer(pending.request))
    await eventually(what, () => (manager.status()[0]?.failures ?? 0) > failures)
    t.match(manager.status()[0]?.lastError, expected, what)
    t.equal(manager.material(WEB), good, `${what}: the old one stays`)
    toRenewal(manager, time)
  }
  t.equal(updates.length, 2, 'nobody was told anything')
})

t.test('many identities: eight at once, the urgent ones first', async (t) => {
  const { source, manager, updates } = setup(t, { ownIdentity: '' })
  manager.start()
  const names = Array.from({ length: 12 }, (_, i) => `spiffe://cluster.local/ns/n/sa/s${i}`)
  for (const name of names) manager.want(name, false)
  await eventually('eight are asked for', () => source.waiting === 8)
  manager.want('spiffe://cluster.local/ns/n/sa/urgent', true)
  manager.want(names[11] as string, true)
  manager.want(names[0] as string, true)
  const asked: string[] = []
  for (let i = 0; i < 13; i++) {
    const pending = await source.next()
    asked.push(pending.request.identity.replace(/.*\//, ''))
    t.ok(source.asked - i <= 8, 'never more than eight')
    pending.sign(ca)
    await updates.next()
  }
  t.same(asked.slice(0, 8).sort(), ['s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7'])
  t.same(asked.slice(8).sort(), ['s10', 's11', 's8', 's9', 'urgent'])
  t.ok(asked.indexOf('urgent') < asked.indexOf('s8') && asked.indexOf('s11') < asked.indexOf('s8'))
  t.equal(manager.everything().materials.length, 13, 'a new worker is told of all')
})

t.test('an identity that is not needed any more', async (t) => {
  const { source, manager, time, updates } = setup(t)
  manager.start()
  ;(await source.next()).sign(ca)
  await updates.next()
  manager.want(API, false)
  const pending = await source.next()
  manager.drop(API)
  t.equal(pending.signal.aborted, true)
  pending.sign(ca)
  manager.drop(WEB)
  t.match(await updates.next(), { own: '', materials: [], withdrawn: [WEB], trust: null })
  t.equal(manager.material(WEB), null)
  time.advance(24 * HOUR)
  t.equal(source.waiting, 0)
  t.equal(manager.everything().materials.length, 0)
  const { asked } = source
  manager.want(API, true)
  manager.drop(API)
  manager.want(WEB, true)
  ;(await source.next()).sign(ca)
  t.match(await updates.next(), { own: WEB })
  t.equal(source.asked, asked + 1, 'dropped before it was asked for')
})

t.test('a CA that does not answer', async (t) => {
  const { source, manager, time, said } = setup(t)
  manager.start()
  const pending = await source.next()
  time.advance(30_000)
  await eventually('it is given up', () => said.length > 0)
  t.match(said[0], /has not answered within 30s; next try in 0\.5s/)
  t.equal(pending.signal.aborted, true)
  time.advance(500)
  ;(await source.next()).sign(ca)
  await eventually('the next is good', () => manager.own === WEB)
})

t.test('waiting for the first certificate', async (t) => {
  const { source, manager, time } = setup(t)
  manager.start()
  const late = manager.settled(5000)
  time.advance(5000)
  t.equal(await late, false)
  const soon = manager.settled(5000)
  ;(await source.next()).sign(ca)
  t.equal(await soon, true)
  t.equal(await manager.settled(0), true)
  manager.close()
  t.equal(time.pending, 0, 'nothing is left')
  t.equal(source.closed, true)
})

t.test('what is delivered', async (t) => {
  const time = new ManualTime(START)
  const source = new ScriptedDelivery()
  const { manager, updates, said } = setup(t, { ownIdentity: '' }, source, time)
  manager.start()
  const sink = source.sink as DeliverySink
  t.match(manager.status(), [{ identity: '', state: 'waiting', lastError: /test delivery delivered no certificate/ }])
  const bundles = [{ trustDomain: 'cluster.local', rootsPem: [ca.material.rootPem] }]
  const [web, api] = [await delivered(WEB), await delivered(API)]
  sink.deliver({ certificates: [web, api], bundles: [...bundles, { trustDomain: 'b', rootsPem: [otherCa.material.rootPem] }] })
  t.match(await updates.next(), {
    own: WEB,
    materials: [{ identity: WEB }, { identity: API }],
    trust: { bundles: [{ trustDomain: 'cluster.local' }, { trustDomain: 'b' }] },
  })
  sink.deliver({ certificates: [web, api], bundles: [...bundles, { trustDomain: 'b', rootsPem: [otherCa.material.rootPem] }] })
  t.equal(updates.length, 2, 'the same again is no update')
  sink.deliver({ certificates: [api, await delivered(WEB)], bundles })
  t.match(await updates.next(), {
    own: WEB,
    materials: [{ identity: WEB, generation: 3 }],
    trust: { bundles: [{ trustDomain: 'cluster.local' }] },
  })

  sink.deliver({ certificates: [await delivered(WEB, otherCa), api], bundles })
  t.match(said.at(-1), /does not lead to a root.*what was good before stays in use/)
  t.equal(manager.material(WEB)?.generation, 3)
  t.match(manager.status(), [{ failures: 1, lastError: /does not lead/ }, {}])
  const foreign = await authority('td')
  sink.deliver({ certificates: [api, await delivered('spiffe://td/a', foreign)], bundles })
  t.match(said.at(-2), /not of our trust domain cluster\.local \(identity\.trustDomain\)/)
  t.match(said.at(-1), /withdrawn: spiffe:.*web/)
  t.match(await updates.next(), { own: API, withdrawn: [WEB], materials: [] }, 'and the other takes its place')
  sink.failed(new SourceError('unavailable', 'agent is gone'))
  t.match(said.at(-1), /agent is gone; what was good before stays in use/)
  t.equal(manager.own, API)

  time.advance(22 * HOUR)
  t.match(said.at(-1), /certificate of spiffe:.*api expires at 2026-01-02T00:00:00.000Z, and test delivery has not delivered/)
  const lines = said.length
  time.advance(2 * HOUR)
  t.match(said.at(-1), /has expired, and test delivery/)
  t.equal(said.length, lines + 1)
  t.match(manager.status(), [{ identity: API, state: 'expired' }])
  sink.deliver({ certificates: [], bundles: [] })
  t.match(await updates.next(), { own: '', withdrawn: [API], trust: { bundles: [] } })
  manager.close()
  t.equal(time.pending, 0)
})

t.test('a delivery without the identity that configuration names', async (t) => {
  const time = new ManualTime(START)
  const source = new ScriptedDelivery()
  const { manager, said } = setup(t, { ownIdentity: WEB }, source, time)
  manager.start()
  source.sink?.deliver({
    certificates: [await delivered(API)],
    bundles: [{ trustDomain: 'cluster.local', rootsPem: [ca.material.rootPem] }],
  })
  t.match(said, [/no certificate for spiffe:.*web: test delivery delivered spiffe:.*api, and not this one/])
  t.equal(manager.own, '')
  t.match(manager.status(), [
    { identity: WEB, state: 'waiting' },
    { identity: API, state: 'valid' },
  ])
})

t.test('bundles of configuration stand beside those of the source, which come first', async (t) => {
  const mine = { trustDomain: 'cluster.local', rootsPem: [otherCa.material.rootPem] }
  const other = { trustDomain: 'b', rootsPem: [otherCa.material.rootPem] }
  const { source, manager, updates } = setup(t, { bundles: [mine, other] })
  manager.start()
  t.same(manager.trust.bundles, [mine, other])
  ;(await source.next()).sign(ca)
  t.same((await updates.next()).trust?.bundles, [{ trustDomain: 'cluster.local', rootsPem: [ca.material.rootPem] }, other])
})

/** Not beyond it: a try that begins then has 30 s, and its key is made in real time. */
function toRenewal(manager: CertificateManager, time: ManualTime): void {
  time.advance((manager.status()[0]?.renewalAtMs ?? 0) - time.nowMs)
}

function setup<S extends CertificateSource = ScriptedCa>(
  t: Teardown,
  changes: Partial<CertificateManagerOptions> = {},
  given?: S,
  time: ManualTime = new ManualTime(START),
): { source: S; manager: CertificateManager; time: ManualTime; updates: Updates; said: string[] } {
  const source = given ?? (new ScriptedCa(time) as CertificateSource as S)
  const said: string[] = []
  const say = (line: string): void => {
    said.push(line)
  }
  const manager = new CertificateManager({
    source,
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    bundles: [],
    ownIdentity: WEB,
    rotation: { graceRatio: 0.5, jitter: 0.01 },
    ttlMs: 24 * HOUR,
    keyKind: 'ecdsa-p256',
    log: { info: say, warning: say },
    now: time.now,
    random: () => 0.5,
    schedule: time.schedule,
    ...changes,
  })
  const updates = new Updates()
  manager.subscribe({ onIdentityUpdate: (update) => updates.push(update) })
  t.teardown(() => manager.close())
  return { source, manager, time, updates, said }
}

function answerOf(authority: CertificateAuthority, request: SigningRequest, time: { readonly nowMs: number }): SignedCertificate {
  const key = requestedKey(request.csrPem)
  if (key === null) throw new Error('the signing request cannot be read')
  return {
    certificateChainPem: authority.issue(request.identity, key, request.ttlMs, time.nowMs),
    rootsPem: [authority.material.rootPem],
  }
}

function leafOf({ certificateChainPem }: SignedCertificate): string {
  return certificateChainPem.slice(0, certificateChainPem.indexOf('-----END') + 26)
}

async function delivered(identity: string, by: CertificateAuthority = ca): Promise<DeliveredCertificate> {
  const key = await generateKey('ecdsa-p256')
  return {
    certificateChainPem: by.issue(identity, createPublicKey(key), 24 * HOUR, START),
    privateKeyPem: privateKeyPem(key),
  }
}
