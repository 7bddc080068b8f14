// The SPIFFE Workload API as a source of certificates, against an agent by grpc-js and openssl.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { Rng } from '../../lib/base/rng.ts'
import type { Delivery, DeliverySink, SourceError } from '../../lib/identity/source/certificate-source.ts'
import { type WorkloadApiOptions, WorkloadApiSource } from '../../lib/identity/source/workload-api.ts'
import { eventually } from '../support/eventually.ts'
import { type Issued, SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { derOf, type SvidMessage, svidOf, WorkloadApiServer } from '../support/workload-api-server.ts'

const WEB = 'spiffe://shop.example/web'
const BACKOFF = { initialMs: 1000, maxMs: 8000, factor: 2, jitter: 0 }

/** What a source said, in order. */
class Heard implements DeliverySink {
  readonly deliveries: Delivery[] = []
  readonly errors: SourceError[] = []
  deliver(state: Delivery): void {
    this.deliveries.push(state)
  }
  failed(error: SourceError): void {
    this.errors.push(error)
  }
  get last(): Delivery | undefined {
    return this.deliveries.at(-1)
  }
  /** The URI SAN of each certificate of the last delivery. */
  get names(): readonly (string | undefined)[] {
    return (this.last?.certificates ?? []).map((c) =>
      new X509Certificate(c.certificateChainPem).subjectAltName?.replace('URI:', ''),
    )
  }
}

/** Waits are the test's to end; `waits` says how long they would have been. */
class Waits {
  readonly waits: number[] = []
  private go: (() => void) | null = null
  readonly pause = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      this.waits.push(ms)
      this.go = resolve
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  end(): void {
    this.go?.()
    this.go = null
  }
}

function listen(
  t: Teardown,
  agent: WorkloadApiServer,
  options: Partial<WorkloadApiOptions> = {},
): { heard: Heard; waits: Waits } {
  const [heard, waits] = [new Heard(), new Waits()]
  const defaults = { address: agent.address, hint: null, rng: new Rng(1), backoff: BACKOFF, pause: waits.pause }
  const source = new WorkloadApiSource({ ...defaults, ...options })
  t.teardown(() => source.close())
  source.start(heard)
  return { heard, waits }
}

interface World {
  readonly ca: SigningCa
  readonly agent: WorkloadApiServer
  svid(id?: string, hint?: string): Promise<SvidMessage>
}

async function world(t: Teardown): Promise<World> {
  const [ca, agent] = await Promise.all([SigningCa.root(t), WorkloadApiServer.start(t)])
  return { ca, agent, svid: async (id = WEB, hint = '') => svidOf(id, await ca.issue({ uris: [id] }), ca.rootPem, hint) }
}

t.test('certificates, keys and bundles arrive, and each message replaces all', async (t) => {
  const root = await SigningCa.root(t)
  const [ca, agent] = await Promise.all([root.intermediate(t), WorkloadApiServer.start(t)])
  const issued: Issued = await ca.issue({ uris: [WEB] })
  const other = await SigningCa.root(t)
  agent.state = {
    svids: [
      svidOf(WEB, issued, root.rootPem),
      svidOf('spiffe://shop.example/second', await ca.issue({ uris: ['spiffe://shop.example/second'] }), root.rootPem),
    ],
    crl: [Buffer.from('not looked at')],
    federatedBundles: { 'spiffe://partner.example': derOf(other.rootPem + root.rootPem) },
  }
  const { heard } = listen(t, agent)
  await eventually('a delivery', () => heard.deliveries.length === 1)
  t.same(heard.names, [WEB, 'spiffe://shop.example/second'])
  const [first] = heard.last?.certificates ?? []
  t.same(derOf(first?.certificateChainPem ?? ''), derOf(issued.chain), 'leaf and intermediate')
  t.ok(new X509Certificate(first?.certificateChainPem ?? '').checkPrivateKey(createPrivateKey(first?.privateKeyPem ?? '')))
  t.same(
    heard.last?.bundles.map((b) => [b.trustDomain, b.rootsPem.map((p) => derOf(p).toString('hex'))]),
    [
      ['shop.example', [derOf(root.rootPem).toString('hex')]],
      ['partner.example', [derOf(other.rootPem).toString('hex'), derOf(root.rootPem).toString('hex')]],
    ],
  )
  agent.push({ svids: [svidOf(WEB, await ca.issue({ uris: [WEB] }), other.rootPem)] })
  await eventually('the second delivery', () => heard.deliveries.length === 2)
  t.same(heard.names, [WEB])
  t.same(
    heard.last?.bundles.map((b) => b.trustDomain),
    ['shop.example'],
    'what is not told any more is gone',
  )
  t.same(heard.errors, [])
  t.equal(agent.calls, 1, 'over one stream')
})

t.test('which SVID is the first: the order of the agent, or a hint', async (t) => {
  const { agent, svid } = await world(t)
  const [a, b, c, d] = await Promise.all(
    ['a', 'b', 'c', 'd'].map((n) => svid(`spiffe://shop.example/${n}`, n === 'd' ? 'internal' : n === 'a' ? '' : 'internal')),
  )
  agent.state = { svids: [a, b, c, d] as SvidMessage[] }
  const plain = listen(t, agent)
  const hinted = listen(t, agent, { hint: 'internal' })
  const missing = listen(t, agent, { hint: 'external' })
  await eventually('both', () => plain.heard.deliveries.length === 1 && hinted.heard.deliveries.length === 1)
  t.same(
    plain.heard.names,
    ['spiffe://shop.example/a', 'spiffe://shop.example/b'],
    'of several with the same hint the first counts',
  )
  t.same(hinted.heard.names, ['spiffe://shop.example/b', 'spiffe://shop.example/a'])
  await eventually('an error', () => missing.heard.errors.length === 1)
  t.match(missing.heard.errors[0], { kind: 'invalid', message: /no SVID has the hint "external"; hints are "internal"/ })
  t.same(missing.heard.deliveries, [])
})

t.test('parts of a message that cannot be used are left out, and named', async (t) => {
  const { agent, svid, ca } = await world(t)
  const good = await svid()
  const nothing = Buffer.alloc(0)
  const rows: readonly (readonly [SvidMessage, RegExp])[] = [
    [{ ...good, spiffeId: '' }, /the SVID without an id is left out: it has no SPIFFE id/],
    [{ ...good, spiffeId: 'https://x' }, /does not begin with spiffe/],
    [{ ...good, x509Svid: nothing }, /it has no certificates/],
    [{ ...good, x509SvidKey: nothing }, /it has no key/],
    [{ ...good, bundle: nothing }, /it has no bundle/],
    [{ ...good, x509Svid: good.x509Svid.slice(0, -1) }, /its certificates are not concatenated DER/],
    [{ ...good, bundle: Buffer.from('PEM') }, /its bundle is not concatenated DER/],
    [{ ...good, x509Svid: Buffer.from([0x30, 0]) }, /of its certificate /],
    [{ ...good, spiffeId: 'spiffe://shop.example/other' }, /its certificate is for "spiffe:\/\/shop.example\/web"/],
    [
      svidOf(WEB, await ca.issue({ uris: [WEB, 'spiffe://shop.example/x'] }), ca.rootPem),
      /its certificate is for "spiffe.*", "spiffe/,
    ],
    [svidOf(WEB, await ca.issue({ dnsNames: ['web'] }), ca.rootPem), /its certificate is for nobody/],
  ]
  agent.state = { svids: [...rows.map(([message]) => message), await svid('spiffe://shop.example/good')] }
  const { heard } = listen(t, agent)
  await eventually('a delivery', () => heard.deliveries.length === 1)
  t.same(heard.names, ['spiffe://shop.example/good'])
  await eventually('what was left out', () => heard.errors.length === 1)
  for (const [, message] of rows) t.match(heard.errors[0], { kind: 'invalid', message })
  heard.errors.length = 0
  agent.push({
    svids: [good],
    federatedBundles: {
      'spiffe://p.example/path': good.bundle,
      'spiffe://q.example': Buffer.from('x'),
      bare: good.bundle,
      'SPIFFE://shop.example': Buffer.from([0x30, 0]),
    },
  })
  await eventually('a delivery', () => heard.deliveries.length === 2)
  t.same(
    heard.last?.bundles.map((b) => b.trustDomain),
    ['shop.example', 'bare'],
  )
  t.same(heard.last?.bundles[0]?.rootsPem.length, 1)
  await eventually('what was left out', () => heard.errors.length === 1)
  t.match(heard.errors[0]?.message, /"spiffe:\/\/p.example\/path" is left out: that is no trust domain/)
  t.match(heard.errors[0]?.message, /"spiffe:\/\/q.example" is left out: it is not/)
})

t.test('a message of which nothing can be used changes nothing', async (t) => {
  const { agent, svid } = await world(t)
  agent.state = { svids: [await svid()] }
  const { heard } = listen(t, agent)
  await eventually('a delivery', () => heard.deliveries.length === 1)
  agent.push({ svids: [] })
  agent.push({ svids: [{ ...(await svid()), x509SvidKey: Buffer.alloc(0) }] })
  await eventually('both to be told', () => heard.errors.length === 2)
  t.match(
    heard.errors.map((e) => e.message),
    [/the answer has no SVID/, /it has no key/],
  )
  agent.push({ svids: [await svid('spiffe://shop.example/next')] })
  await eventually('the next delivery', () => heard.deliveries.length === 2)
  t.same(heard.names, ['spiffe://shop.example/next'])
})

t.test('a stream that ends is asked for again at once, one that ends at its beginning after a while', async (t) => {
  const { agent, svid } = await world(t)
  agent.state = { svids: [await svid()] }
  let now = 0
  const { heard, waits } = listen(t, agent, { now: () => now })
  await eventually('a delivery', () => heard.deliveries.length === 1)
  now += 60_000
  agent.endStreams()
  await eventually('a second stream', () => heard.deliveries.length === 2)
  t.same(waits.waits, [])
  agent.endStreams()
  await eventually('a wait', () => waits.waits.length === 1)
  t.same(waits.waits, [1000])
  waits.end()
  await eventually('a third stream', () => heard.deliveries.length === 3)
  t.same(heard.errors, [], 'an agent that comes back is no failure')
})

t.test('an agent that is away: what was delivered stays, and it is asked with growing pauses until it is back', async (t) => {
  const { agent, svid } = await world(t)
  agent.state = { svids: [await svid()] }
  let now = 0
  const { heard, waits } = listen(t, agent, { now: () => now })
  await eventually('a delivery', () => heard.deliveries.length === 1)
  now += 60_000
  agent.stop()
  for (let i = 1; i <= 5; i++) {
    await eventually(`wait ${i}`, () => waits.waits.length === i)
    if (i < 5) waits.end()
  }
  t.same(waits.waits, [1000, 2000, 4000, 8000, 8000])
  t.equal(heard.deliveries.length, 1)
  t.equal(heard.errors.length, 5)
  t.match(heard.errors[0], {
    kind: 'unavailable',
    message: /^SPIFFE Workload API unix:.*: UNAVAILABLE: no connection to unix:.* ENOENT/,
  })
  await agent.resume()
  waits.end()
  await eventually('a delivery', () => heard.deliveries.length === 2)
  agent.endStreams(status.UNAVAILABLE)
  await eventually('another wait', () => waits.waits.length === 6)
  t.equal(waits.waits[5], 1000, 'the back-off began anew')
})

t.test('PermissionDenied drops what was given; it is asked again', async (t) => {
  const { agent, svid } = await world(t)
  agent.state = { svids: [await svid()] }
  const { heard, waits } = listen(t, agent)
  await eventually('a delivery', () => heard.deliveries.length === 1)
  agent.endStreams(status.PERMISSION_DENIED)
  await eventually('an empty delivery', () => heard.deliveries.length === 2)
  t.same(heard.last, { certificates: [], bundles: [] })
  t.match(heard.errors, [
    { kind: 'refused', message: /PERMISSION_DENIED: ended by the test; it knows no identity for this workload/ },
  ])
  agent.refusal = status.PERMISSION_DENIED
  await eventually('a wait', () => waits.waits.length === 1)
  waits.end()
  await eventually('a second refusal', () => heard.errors.length === 2)
  t.equal(heard.deliveries.length, 2, 'there is nothing more to drop')
  agent.refusal = null
  await eventually('a wait', () => waits.waits.length === 2)
  waits.end()
  await eventually('a delivery', () => heard.deliveries.length === 3)
  t.same(heard.names, [WEB])
})

t.test('Unavailable and other statuses keep it', async (t) => {
  const { agent, svid } = await world(t)
  agent.state = { svids: [await svid()] }
  const { heard, waits } = listen(t, agent)
  await eventually('a delivery', () => heard.deliveries.length === 1)
  agent.endStreams(status.UNAVAILABLE)
  for (const [i, code] of [status.UNAVAILABLE, status.INTERNAL, status.UNAUTHENTICATED, status.UNKNOWN].entries()) {
    await eventually('a wait', () => waits.waits.length === i + 1)
    agent.refusal = code
    waits.end()
    await eventually(status[code], () => heard.errors.length === i + 1)
    t.match(heard.errors[i], { kind: 'unavailable', message: `${status[code]}: refused by the test` })
  }
  t.equal(heard.deliveries.length, 1)
})

t.test('InvalidArgument and Unimplemented are not asked again', async (t) => {
  for (const code of [status.INVALID_ARGUMENT, status.UNIMPLEMENTED]) {
    const { agent } = await world(t)
    agent.refusal = code
    const { heard, waits } = listen(t, agent)
    await eventually('an error', () => heard.errors.length === 1)
    t.match(heard.errors, [{ kind: 'refused', message: /not asked again/ }], status[code])
    await new Promise((resolve) => setImmediate(resolve))
    t.same(waits.waits, [])
    t.equal(agent.calls, 1)
  }
})

t.test('a closed source says nothing more', async (t) => {
  const { agent, svid } = await world(t)
  agent.state = { svids: [await svid()] }
  const heard = new Heard()
  const source = new WorkloadApiSource({ address: agent.address, hint: null, rng: new Rng(1) })
  source.start(heard)
  await eventually('a delivery', () => heard.deliveries.length === 1)
  source.close()
  await eventually('the agent to see it', () => agent.streams.size === 0)
  t.same(heard.errors, [])
  const waiting = new WorkloadApiSource({ address: { kind: 'unix', path: '/nowhere' }, hint: null, rng: new Rng(1) })
  waiting.start(heard)
  await eventually('an error', () => heard.errors.length === 1)
  waiting.close()
})
