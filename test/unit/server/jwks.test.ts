// Keys of issuers: what is asked for them and what never, and when they are asked for again.
import type { lookup } from 'node:dns'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { fetchJwks, guarded, isForbidden, NotYet } from '../../../lib/server/jwks-fetch.ts'
import { JwksKeeper } from '../../../lib/server/jwks-keeper.ts'
import type { JwksSource, JwtProvider } from '../../../lib/state/jwt.ts'
import type { HttpChain, Listener } from '../../../lib/state/listener.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import { ManualTime } from '../../support/manual-time.ts'
import { aFilterChain, aListener, anHttpChain, aSnapshot } from '../../support/nouns.ts'

const MINUTE = 60_000

function source(uri: string, over: Partial<JwksSource> = {}): JwksSource {
  return { jwks: '', uri, discovery: false, timeoutMs: 2000, refreshMs: 20 * MINUTE, through: null, ...over }
}

async function serve(t: Test, answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('addresses of which nobody is an issuer', async (t) => {
  for (const address of [
    '169.254.169.254',
    '169.254.0.1',
    'fe80::1',
    'febf::1',
    'fd00:ec2::254',
    '100.100.100.200',
    '0.0.0.0',
    '::',
  ])
    t.ok(isForbidden(address), address)
  for (const address of ['::ffff:169.254.169.254', '::ffff:a9fe:a9fe']) t.ok(isForbidden(address), address)
  // Issuers of a mesh live in private networks, as Istio has it.
  for (const address of ['127.0.0.1', '10.0.0.1', '192.168.1.1', 'fd00::1', '8.8.8.8', '::1'])
    t.notOk(isForbidden(address), address)
})

t.test('what is not asked for', async (t) => {
  for (const uri of [
    'http://169.254.169.254/latest',
    'http://[fe80::1]/',
    'http://2852039166/',
    'http://0xa9fea9fe/',
    'http://[::ffff:169.254.169.254]/',
  ])
    await t.rejects(fetchJwks(source(uri)), /an address that keys are never asked for at/, uri)
  for (const uri of ['ftp://a/', 'file:///etc/passwd', 'nonsense'])
    await t.rejects(fetchJwks(source(uri)), /by http or https only/, uri)
})

t.test('a name that has a forbidden address among others is dialled nowhere', async (t) => {
  const resolving = (...addresses: string[]) =>
    guarded(((_name: string, _options: object, done: (error: null, found: object[]) => void) =>
      done(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      )) as unknown as typeof lookup)
  const dialled = (...addresses: string[]) =>
    new Promise((resolve) =>
      resolving(...addresses)('a.example', { all: true }, (error, found) => resolve(error?.message ?? found)),
    )
  t.match(await dialled('10.0.0.1', '169.254.169.254'), /^169\.254\.169\.254 is an address that keys are never asked for at$/)
  t.match(await dialled('::ffff:169.254.0.1'), /never asked for/)
  t.same(await dialled('10.0.0.1'), [{ address: '10.0.0.1', family: 4 }])
})

t.test('answers that are no keys, none of which is told further', async (t) => {
  const rows: readonly (readonly [RequestListener, RegExp])[] = [
    [(_q, s) => s.writeHead(404).end('secret'), /^the answer is 404$/],
    [(_q, s) => s.writeHead(302, { location: 'http://169.254.169.254/' }).end(), /^the answer is 302$/],
    [(_q, s) => s.end('secret'), /^the answer is no JSON$/],
    [(_q, s) => s.end('{"secret":1}'), /^the answer is no JSON Web Key Set: it has no list `keys`$/],
    [(_q, s) => s.end('null'), /no list `keys`/],
    [(_q, s) => s.end(JSON.stringify({ keys: Array(101).fill({}) })), /^the answer has 101 keys, more than 100$/],
    [(_q, s) => s.end(' '.repeat(1024 * 1024 + 1)), /^the answer has more than 1048576 bytes$/],
  ]
  for (const [answer, reason] of rows)
    await t.rejects(fetchJwks(source(await serve(t, answer))), { message: reason }, String(reason))
  const silent = await serve(t, () => {})
  await t.rejects(fetchJwks(source(silent, { timeoutMs: 50 })), /there was no answer in time/)
})

t.test('a document that leads to a forbidden address leads nowhere', async (t) => {
  const document =
    (to: unknown): RequestListener =>
    (_q, s) =>
      s.end(JSON.stringify({ jwks_uri: to }))
  const discovery = async (to: unknown) => fetchJwks(source(await serve(t, document(to)), { discovery: true }))
  await t.rejects(discovery('http://169.254.169.254/keys'), /never asked for/)
  await t.rejects(discovery('file:///etc/passwd'), /http or https only/)
  await t.rejects(discovery(7), /has no jwks_uri/)
  const keys = await serve(t, (_q, s) => s.end('{"keys":[]}'))
  t.equal(await discovery(keys), '{"keys":[]}')
})

function listenerWith(...sources: readonly JwksSource[]): Listener {
  const providers = sources.map((keys, i) => ({ name: `p${i}`, keys, origin: BUILT_IN }) as unknown as JwtProvider)
  const jwt = { providers, requires: { kind: 'none' as const }, bypassCorsPreflight: true, choosesRoute: false }
  return aListener({ filterChains: [aFilterChain({ network: anHttpChain({ jwt }) })] })
}

function keysIn(listener: Listener | undefined): readonly string[] {
  const network = listener?.filterChains[0]?.network as HttpChain
  return network.jwt?.providers.map((p) => p.keys.jwks) ?? []
}

function keeper(answers: (() => string)[]) {
  const time = new ManualTime(0)
  const told: string[] = []
  const asked: { readonly atMs: number; readonly uri: string }[] = []
  let changes = 0
  const made = new JwksKeeper({
    onChange: () => changes++,
    log: { info: (m) => told.push(m), warning: (m) => told.push(m) },
    fetch: async ({ uri }) => {
      asked.push({ atMs: time.nowMs, uri })
      const next = answers.length > 1 ? answers.shift() : answers[0]
      return (next as () => string)()
    },
    schedule: time.schedule,
    now: time.now,
    draw: () => 0.5,
  })
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
  const pass = async (ms: number) => {
    time.advance(ms)
    await settle()
  }
  return { keeper: made, told, asked, changes: () => changes, settle, pass }
}

const fails = () => {
  throw new Error('the answer is 503')
}

t.test('an address is asked once for all, and again when it is time', async (t) => {
  const k = keeper([() => '{"keys":[1]}', () => '{"keys":[1]}', () => '{"keys":[2]}'])
  const same = source('https://a/k?token=secret')
  const listeners = [listenerWith(same, same), listenerWith(same)]
  k.keeper.update(listeners)
  k.keeper.update(listeners)
  await k.settle()
  t.equal(k.asked.length, 1)
  t.equal(k.changes(), 1)
  const snapshot = aSnapshot({ listeners: [...listeners, aListener({ name: 'plain' })] })
  const first = k.keeper.inject(snapshot)
  t.same(first.listeners.slice(0, 2).map(keysIn), [['{"keys":[1]}', '{"keys":[1]}'], ['{"keys":[1]}']])
  t.equal(first.listeners[2], snapshot.listeners[2], 'one without keys stays as it is')
  t.equal(k.keeper.inject(snapshot), first, 'nothing new: the same object')
  await k.pass(20 * MINUTE)
  t.equal(k.asked.length, 2)
  t.equal(k.changes(), 1, 'the same keys are no change')
  t.equal(k.keeper.inject(snapshot), first)
  await k.pass(20 * MINUTE)
  t.same(k.keeper.inject(snapshot).listeners.slice(0, 1).map(keysIn), [['{"keys":[2]}', '{"keys":[2]}']])
  k.keeper.update([])
  await k.pass(60 * MINUTE)
  t.equal(k.asked.length, 3, 'who needs none asks for none')
})

t.test('what failed is tried again, later and later; what was good stays, for a week', async (t) => {
  const k = keeper([fails, fails, () => '{"keys":[]}', fails])
  const listener = listenerWith(source('https://a/k?token=secret'))
  const snapshot = aSnapshot({ listeners: [listener] })
  k.keeper.update([listener])
  await k.settle()
  t.same(keysIn(k.keeper.inject(snapshot).listeners[0]), [''])
  t.same(k.told, ['the keys at https://a/k cannot be fetched: the answer is 503; tokens that need them are refused'])
  await k.pass(1000)
  await k.pass(2000)
  t.same(
    k.asked.map((a) => a.atMs),
    [0, 1000, 3000],
  )
  t.equal(k.told.at(-1), 'the keys at https://a/k could be fetched again')
  await k.pass(20 * MINUTE)
  t.match(k.told.at(-1), /those that were fetched last stay in use/)
  const failedAt = 3000 + 20 * MINUTE
  for (const minutes of [1, 2, 4]) await k.pass(minutes * MINUTE)
  t.same(
    k.asked.slice(4).map((a) => (a.atMs - failedAt) / MINUTE),
    [1, 3, 7],
  )
  t.same(keysIn(k.keeper.inject(snapshot).listeners[0]), ['{"keys":[]}'])
  for (let hour = 0; hour < 7 * 24; hour++) await k.pass(60 * MINUTE)
  t.same(keysIn(k.keeper.inject(snapshot).listeners[0]), [''], 'too old')
})

t.test('a start waits for the first fetches, but no longer than it may', async (t) => {
  const k = keeper([() => '{"keys":[]}'])
  await k.keeper.settled(1000)
  k.keeper.update([listenerWith(source('https://a/k'))])
  await k.keeper.settled(1000)
  t.equal(k.changes(), 1)
  k.keeper.stop()
})

t.test(
  'through a cluster: tried again when it is there, told when it does not come, and not more often than once a second',
  async (t) => {
    const notYet = () => {
      throw new NotYet('there is no cluster keys')
    }
    const cluster = { cluster: 'keys', retries: 0, retryBaseMs: 1000, retryMaxMs: 10_000, againMs: 0 }
    const k = keeper([notYet, notYet, fails, fails, () => '{"keys":[1]}'])
    const listener = listenerWith(source('https://a/k', { through: cluster }))
    const asked = () => k.asked.map((a) => a.atMs)
    k.keeper.update([listener])
    await k.settle()
    t.same(k.told, [], 'it may just be coming')
    k.keeper.retry()
    await k.settle()
    t.same(asked(), [0, 0], 'nobody was asked before: at once')
    t.same(k.told, [
      'the keys at https://a/k (through keys) cannot be fetched: there is no cluster keys; tokens that need them are refused',
    ])
    k.keeper.retry()
    await k.settle()
    t.same(asked(), [0, 0, 0])
    for (let i = 0; i < 5; i++) k.keeper.retry()
    await k.settle()
    t.same(asked(), [0, 0, 0], 'whoever answered 503 is left alone for a second')
    await k.pass(1000)
    t.same(asked(), [0, 0, 0, 1000])
    k.keeper.retry()
    await k.pass(1000)
    t.same(keysIn(k.keeper.inject(aSnapshot({ listeners: [listener] })).listeners[0]), ['{"keys":[1]}'])
    k.keeper.retry()
    await k.pass(1000)
    t.equal(k.asked.length, 5, 'who has keys waits until it is time')
  },
)

t.test('a control plane says how long after a failure keys are asked for again', async (t) => {
  const cluster = { cluster: 'keys', retries: 0, retryBaseMs: 1000, retryMaxMs: 10_000, againMs: 5000 }
  const k = keeper([fails])
  k.keeper.update([listenerWith(source('https://a/k', { through: cluster }))])
  await k.settle()
  for (let s = 0; s < 15; s++) await k.pass(1000)
  t.same(
    k.asked.map((a) => a.atMs),
    [0, 5000, 10_000, 15_000],
  )
})
