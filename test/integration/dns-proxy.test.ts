// The DNS proxy asked by c-ares (node:dns), by dig where it is installed, and by sockets that say what no resolver would.
import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { connect, createServer, type Server } from 'node:net'
import t from 'tap'
import type { DnsOutcome } from '../../lib/dns/dns-counts.ts'
import { DnsProxy } from '../../lib/dns/dns-proxy.ts'
import { NameTable } from '../../lib/dns/name-table.ts'
import { DnsServer } from '../support/dns-server.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import type { Teardown } from '../support/teardown.ts'

const TERMS = { namespace: 'shop', domain: 'cluster.local', searchDomain: 'shop.svc.cluster.local' }
const OF_KUBERNETES = { registry: 'Kubernetes', namespace: 'shop', alsoCalled: [] }
const MANY = Array.from({ length: 60 }, (_, i) => `10.1.0.${i + 1}`)
const TABLE = new NameTable(
  [
    { ...OF_KUBERNETES, host: 'reviews.shop.svc.cluster.local', shortName: 'reviews', addresses: ['10.0.0.1'] },
    { ...OF_KUBERNETES, host: 'many.shop.svc.cluster.local', shortName: 'many', addresses: MANY },
    { ...OF_KUBERNETES, host: 'six.shop.svc.cluster.local', shortName: 'six', addresses: ['2001:db8::1'] },
  ],
  TERMS,
)

interface Asked {
  readonly proxy: DnsProxy
  readonly port: number
  readonly resolver: Resolver
  readonly counted: DnsOutcome[]
  readonly warnings: string[]
}

async function start(t: Teardown, servers: readonly string[], timeoutMs = 5000): Promise<Asked> {
  const counted: DnsOutcome[] = []
  const warnings: string[] = []
  const proxy = new DnsProxy({
    ...{ address: '127.0.0.1', port: 0, servers: () => servers, timeoutMs },
    counts: { query: (outcome) => counted.push(outcome), upstreamFailure: () => {} },
    log: { warning: (message) => warnings.push(message) },
  })
  const { port } = await proxy.listen()
  t.teardown(() => proxy.close())
  proxy.use(TABLE)
  const resolver = new Resolver({ timeout: 4000, tries: 1 })
  resolver.setServers([`127.0.0.1:${port}`])
  return { proxy, port, resolver, counted, warnings }
}

/** What comes back for these bytes over UDP. */
function datagram(t: Teardown, port: number, message: Buffer): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4')
    t.teardown(() => socket.close())
    socket.once('message', resolve)
    socket.send(message, port, '127.0.0.1')
  })
}

function question(name: string, type = 1, id = 0x0707): Buffer {
  const labels = name.split('.').flatMap((l) => [l.length, ...Buffer.from(l)])
  return Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, type >> 8, type & 255, 0, 1])
}

t.test('names of the mesh are answered, others are passed on', async (t) => {
  const upstream = await DnsServer.start(t, { 'example.com': { addresses: ['1.2.3.4'], ttl: 7 }, 'broken.example': 'fail' })
  const { resolver, counted, port } = await start(t, [upstream.address])
  t.same(await resolver.resolve4('reviews.shop', { ttl: true }), [{ address: '10.0.0.1', ttl: 30 }])
  t.same(await resolver.resolve4('Reviews.SHOP.svc.cluster.local'), ['10.0.0.1'])
  t.same(await resolver.resolve4('reviews.shop.shop.svc.cluster.local'), ['10.0.0.1'], 'behind an alias')
  await t.rejects(resolver.resolve6('reviews.shop'), { code: 'ENODATA' }, 'there is such a name')
  t.same(await resolver.resolve6('six'), ['2001:db8::1'])
  t.same(counted, ['table', 'table', 'table', 'table', 'table'])
  t.same(upstream.asked, [])

  t.same(await resolver.resolve4('example.com', { ttl: true }), [{ address: '1.2.3.4', ttl: 7 }])
  await t.rejects(resolver.resolve4('nobody.example.com'), { code: 'ENOTFOUND' })
  await t.rejects(resolver.resolve4('broken.example'), { code: 'ESERVFAIL' }, 'as they said')
  t.same(counted.slice(5), ['upstream', 'upstream', 'upstream'])
  const mx = await datagram(t, port, question('reviews.shop', 15))
  t.equal((mx[3] as number) & 15, 3, 'other types are for others to say')

  const orders = new Set<string>()
  for (let i = 0; i < 5; i++) orders.add((await resolver.resolve4('many')).join())
  t.ok(orders.size > 1, 'in another order each time; asked again over TCP, since they do not fit')
  t.same((await resolver.resolve4('many')).toSorted(), MANY.toSorted())
})

t.test('more than fits', async (t) => {
  const { port } = await start(t, [])
  const answer = await datagram(t, port, question('many'))
  t.ok(answer.length <= 512)
  t.equal((answer[2] as number) & 2, 2, 'TC')
})

t.test('over TCP, several on one connection, in pieces', async (t) => {
  const { port } = await start(t, [])
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let got = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    got = Buffer.concat([got, chunk])
  })
  const one = question('reviews', 1, 1)
  const two = question('reviews', 28, 2)
  const bytes = Buffer.concat([Buffer.from([0, one.length]), one, Buffer.from([0, two.length]), two])
  for (const byte of bytes) socket.write(Buffer.from([byte]))
  await eventually('both answers', async () => got.length >= 2 + one.length + 16 + 2 + two.length)
  t.equal(got.readUInt16BE(0), one.length + 16)
  t.same([...got.subarray(2 + one.length + 12, 2 + one.length + 16)], [10, 0, 0, 1])
  t.equal(got.readUInt16BE(2 + one.length + 16), two.length, 'and one without records')
  socket.end()
  await eventually('the connection is ended', async () => socket.destroyed)
})

t.test('servers that do not answer', async (t) => {
  const silent = createSocket('udp4')
  await new Promise<void>((resolve) => silent.bind(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const good = await DnsServer.start(t, { 'example.com': { addresses: ['1.2.3.4'], ttl: 7 } })
  const nobody = `127.0.0.1:${await freePort()}`
  const failing = await DnsServer.start(t, { 'example.com': 'fail' })
  const all = await start(t, [nobody, failing.address, `127.0.0.1:${silent.address().port}`, good.address], 200)
  for (let i = 0; i < 6; i++) t.same(await all.resolver.resolve4('example.com'), ['1.2.3.4'], 'the next one is asked')
  const none = await start(t, [nobody], 200)
  await t.rejects(none.resolver.resolve4('example.com'), { code: 'ESERVFAIL' })
  t.same(none.counted, ['failed'])
  const empty = await start(t, [])
  await t.rejects(empty.resolver.resolve4('example.com'), { code: 'ESERVFAIL' })
})

t.test('an answer that is not one is not believed', async (t) => {
  const liar = createSocket('udp4')
  await new Promise<void>((resolve) => liar.bind(0, '127.0.0.1', resolve))
  t.teardown(() => liar.close())
  const ids = new Set<number>()
  const ports = new Set<number>()
  liar.on('message', (query, from) => {
    ids.add(query.readUInt16BE(0))
    ports.add(from.port)
    const forged = Buffer.concat([query, Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 6, 6, 6, 6])])
    forged[2] = 0x81
    forged[7] = 1
    const wrongId = Buffer.from(forged)
    wrongId.writeUInt16BE((query.readUInt16BE(0) + 1) & 0xffff, 0)
    const wrongName = Buffer.from(forged)
    wrongName[13] = 0x7a
    for (const message of [Buffer.from([1]), query, wrongId, wrongName]) liar.send(message, from.port, from.address)
    const honest = Buffer.from(forged)
    honest[honest.length - 1] = 7
    liar.send(honest, from.port, from.address)
  })
  const { resolver } = await start(t, [`127.0.0.1:${liar.address().port}`])
  for (let i = 0; i < 8; i++) t.same(await resolver.resolve4('example.com'), ['6.6.6.7'])
  t.ok(ids.size > 1 && ports.size > 1, 'neither id nor port can be foretold')
})

t.test('answers for clients that take little', async (t) => {
  const upstream = createSocket('udp4')
  await new Promise<void>((resolve) => upstream.bind(0, '127.0.0.1', resolve))
  t.teardown(() => upstream.close())
  upstream.on('message', (query, from) => {
    const big = Buffer.concat([query, Buffer.alloc(800)])
    big[2] = 0x81
    upstream.send(big, from.port, from.address)
  })
  const { port } = await start(t, [`127.0.0.1:${upstream.address().port}`])
  const answer = await datagram(t, port, question('example.com'))
  t.equal(answer.length, question('example.com').length)
  t.equal((answer[2] as number) & 2, 2, 'TC')
  t.equal(answer.readUInt16BE(0), 0x0707, 'with the id of the question')
})

t.test('what makes no sense', async (t) => {
  const { port, counted, resolver } = await start(t, [])
  const formErr = await datagram(t, port, Buffer.from([0, 5, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63]))
  t.equal((formErr[3] as number) & 15, 1)
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  for (const bytes of [[], [1, 2, 3], [0, 5, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]])
    socket.send(Buffer.from(bytes), port, '127.0.0.1')
  await eventually('they are dropped', async () => counted.filter((c) => c === 'dropped').length === 3)
  const tcp = connect(port, '127.0.0.1')
  t.teardown(() => tcp.destroy())
  tcp.write(Buffer.from([0, 3, 1, 2, 3]))
  tcp.resume()
  await eventually('the connection is ended', async () => tcp.destroyed)
  t.same(await resolver.resolve4('reviews'), ['10.0.0.1'], 'it goes on')
})

t.test('no circles', async (t) => {
  const ports: string[] = []
  const { resolver, counted, port, warnings } = await start(t, ports, 300)
  ports.push(`127.0.0.1:${port}`)
  await t.rejects(resolver.resolve4('example.com'), { code: 'ESERVFAIL' }, 'itself it does not ask')
  // As rules of a packet filter would lead its own questions back, with the port that they were sent from.
  ports[0] = `127.0.0.2:${port}`
  const relay = await loopback(t, port)
  await t.rejects(resolver.resolve4('example.com'), { code: 'ESERVFAIL' })
  t.ok(relay.passed > 0)
  t.same(counted.filter((c) => c === 'dropped').length, relay.passed)
  t.match(warnings.join(), /came back/)
})

/** Sends what comes to 127.0.0.2 on to the proxy from the same port, as a redirect does. */
async function loopback(t: Teardown, port: number): Promise<{ passed: number }> {
  const state = { passed: 0 }
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind(port, '127.0.0.2', resolve))
  t.teardown(() => socket.close())
  socket.on('message', (message, from) => {
    const redirected = createSocket('udp4')
    t.teardown(() => redirected.close())
    // The same port of another address of loopback.
    redirected.bind(from.port, '127.0.0.3', () => redirected.send(message, port, '127.0.0.1'))
    state.passed++
  })
  return state
}

t.test('no table, no answer', async (t) => {
  const upstream = await DnsServer.start(t, { 'example.com': { addresses: ['1.2.3.4'], ttl: 7 } })
  const proxy = new DnsProxy({
    ...{ address: '127.0.0.1', port: 0, servers: () => [upstream.address] },
    counts: { query: () => {}, upstreamFailure: () => {} },
    log: { warning: () => {} },
  })
  const { port } = await proxy.listen()
  t.teardown(() => proxy.close())
  const resolver = new Resolver({ timeout: 2000, tries: 1 })
  resolver.setServers([`127.0.0.1:${port}`])
  await t.rejects(
    resolver.resolve4('example.com'),
    { code: 'ESERVFAIL' },
    'who would be known tomorrow is not said not to exist today',
  )
})

t.test('upstream over TCP', async (t) => {
  const server: Server = createServer((socket) => {
    socket.on('data', (chunk: Buffer) => {
      const answer = Buffer.concat([chunk.subarray(2), Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 9, 9, 9, 9])])
      answer[2] = 0x81
      answer[7] = 1
      const framed = Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer])
      socket.write(framed.subarray(0, 5))
      setImmediate(() => socket.end(framed.subarray(5)))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = await start(t, [`127.0.0.1:${(server.address() as { port: number }).port}`])
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const asked = question('example.com')
  socket.write(Buffer.concat([Buffer.from([0, asked.length]), asked]))
  let got = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    got = Buffer.concat([got, chunk])
  })
  await eventually('it is answered', async () => got.length === 2 + asked.length + 16)
  t.equal(got.readUInt16BE(2), 0x0707)
  t.same([...got.subarray(-4)], [9, 9, 9, 9])
})

const dig = spawnSync('dig', ['-v']).error === undefined
t.test('dig', { skip: dig ? false : 'dig is not installed' }, async (t) => {
  const { port } = await start(t, [])
  const { stdout } = spawnSync('dig', ['@127.0.0.1', '-p', String(port), 'reviews.shop.svc.cluster.local', '+timeout=2'], {
    encoding: 'utf8',
  })
  t.match(stdout, /status: NOERROR/)
  t.match(stdout, /flags:[^;]* aa/)
  t.match(stdout, /reviews\.shop\.svc\.cluster\.local\.\s+30\s+IN\s+A\s+10\.0\.0\.1/)
})
