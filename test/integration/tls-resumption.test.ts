// Sessions are resumed where that shows nothing new: with any worker, until certificates or trust change, never under other terms, and never as
// somebody else.
import tls from 'node:tls'
import t from 'tap'
import type { DownstreamTls, UpstreamTls } from '../../lib/state/tls.ts'
import type { Secrets } from '../../lib/transport/secrets.ts'
import { eventually } from '../support/eventually.ts'
import { type Issued, SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { aDownstreamTls, anUpstreamTls, dialTls, meshSecrets, TlsEnd, TlsListener } from '../support/tls-ends.ts'

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client'
const SERVER = 'spiffe://cluster.local/ns/shop/sa/server'
const [ca, other] = await Promise.all([SigningCa.root(t, 'mesh'), SigningCa.root(t, 'other')])
const [client, server] = await Promise.all([ca.issue({ uris: [CLIENT] }), ca.issue({ uris: [SERVER] })])
const KEYS = Buffer.alloc(48, 7)
const ROOTS = { 'cluster.local': [ca.rootPem] }

const of = (
  issued: Issued,
  identity: string,
  roots: Readonly<Record<string, readonly string[]>> = ROOTS,
  ticketKeys: Uint8Array = KEYS,
): Secrets => meshSecrets({ identity, issued, roots, ticketKeys })

/** A connection, a byte each way so that tickets have come, and what both sides said of it. */
async function meet(
  t: Teardown,
  end: TlsEnd,
  listener: TlsListener,
  up: Partial<UpstreamTls> = {},
): Promise<{ client: boolean; server: boolean; identity: string; seen: string }> {
  const index = listener.outcomes.length
  const dialled = await dialTls(t, end, listener.port, anUpstreamTls(up))
  const accepted = await listener.outcome(index)
  const [a, b] = [dialled.recorder, accepted.recorder]
  if (a === null || b === null) throw new Error(JSON.stringify([dialled.failure, accepted.failure]))
  b.write('x')
  a.write('y')
  await eventually('a byte each way', () => a.bytes === 1 && b.bytes === 1)
  a.end()
  b.end()
  await eventually('both closed', () => a.closed === '' && b.closed === '')
  const [mine, theirs] = [a.connection.tls, b.connection.tls]
  if (mine === null || theirs === null) throw new Error('no facts')
  return { client: mine.resumed, server: theirs.resumed, identity: mine.peerIdentity, seen: theirs.peerIdentity }
}

const BOTH = { client: true, server: true, identity: SERVER, seen: CLIENT }
const NEITHER = { client: false, server: false, identity: SERVER, seen: CLIENT }

async function world(
  t: Teardown,
  down: Partial<DownstreamTls> = {},
): Promise<{ end: TlsEnd; serverEnd: TlsEnd; listener: TlsListener }> {
  const serverEnd = new TlsEnd(of(server, SERVER))
  const listener = await TlsListener.start(t, serverEnd, aDownstreamTls(down))
  return { end: new TlsEnd(of(client, CLIENT)), serverEnd, listener }
}

t.test('the second connection resumes the first, and both know the peer', async (t) => {
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const)
    await t.test(version, async (t) => {
      const { end, listener } = await world(t, { minVersion: version, maxVersion: version })
      const terms = { minVersion: version, maxVersion: version }
      t.match(await meet(t, end, listener, terms), NEITHER)
      t.match(await meet(t, end, listener, terms), BOTH)
      t.match(await meet(t, end, listener, terms), BOTH, 'and the third the second')
    })
})

t.test('a client of our own for each name that it asks for', async (t) => {
  const { end, listener } = await world(t)
  await meet(t, end, listener, { sni: 'a.example' })
  t.match(await meet(t, end, listener, { sni: 'b.example' }), NEITHER)
})

t.test('another worker of the server resumes it, and has never seen the client', async (t) => {
  const { end, serverEnd, listener } = await world(t)
  await meet(t, end, listener)
  const second = new TlsEnd(of(server, SERVER))
  const config = aDownstreamTls()
  // The same port, now served by a worker of its own.
  Object.defineProperty(serverEnd.io, 'tls', { value: second.io.tls })
  t.match(await meet(t, end, listener), BOTH)
  t.not(second.io.tls.server(config), null)
})

t.test('not with keys of before, as they are after a change of trust', async (t) => {
  const { end, serverEnd, listener } = await world(t)
  await meet(t, end, listener)
  serverEnd.io.tls.use(of(server, SERVER, ROOTS, Buffer.alloc(48, 8)))
  t.match(await meet(t, end, listener), NEITHER)
})

t.test('the same keys do not open a session of other roots', async (t) => {
  const { end, serverEnd, listener } = await world(t)
  await meet(t, end, listener)
  serverEnd.io.tls.use(of(server, SERVER, { 'cluster.local': [ca.rootPem, other.rootPem] }))
  t.match(await meet(t, end, listener), NEITHER)
})

t.test('our own side forgets its sessions with its secrets', async (t) => {
  const { end, listener } = await world(t)
  await meet(t, end, listener)
  end.io.tls.use(of(client, CLIENT))
  t.match(await meet(t, end, listener), NEITHER)
})

t.test('not where one of several trust domains vouches for the client', async (t) => {
  const { end, serverEnd, listener } = await world(t)
  serverEnd.io.tls.use(of(server, SERVER, { ...ROOTS, 'other.example': [other.rootPem] }))
  await meet(t, end, listener)
  t.match(await meet(t, end, listener), NEITHER)
})

t.test('a session of one chain is none on another, although the keys and the port are the same', async (t) => {
  // A chain that asks for no certificate must not hand out a ticket that passes where one is required.
  const serverEnd = new TlsEnd(of(server, SERVER))
  const lax = await TlsListener.start(t, serverEnd, aDownstreamTls({ trust: '', requireClientCertificate: false }))
  const strict = await TlsListener.start(t, serverEnd, aDownstreamTls())
  const dial = async (port: number, session?: Buffer): Promise<{ ticket: Buffer | undefined; reused: boolean }> => {
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...(session === undefined ? {} : { session }),
    })
    t.teardown(() => socket.destroy())
    let ticket: Buffer | undefined
    let reused = false
    socket.on('session', (s) => {
      ticket = s
    })
    socket.on('secureConnect', () => {
      reused = socket.isSessionReused()
    })
    socket.on('error', () => {})
    socket.resume()
    await new Promise((resolve) => socket.once('close', resolve))
    return { ticket, reused }
  }
  const end = async (listener: TlsListener, index: number): Promise<void> => {
    const { recorder } = await listener.outcome(index)
    recorder?.write('x')
    recorder?.end()
  }
  const first = dial(lax.port)
  await end(lax, 0)
  const { ticket } = await first
  t.ok(ticket)
  const again = dial(lax.port, ticket)
  await end(lax, 1)
  t.ok((await again).reused, 'it is a good ticket')
  t.notOk((await dial(strict.port, ticket)).reused)
  t.match((await strict.outcome(0)).failure, { reason: 'no_certificate' })
})

t.test('what is resumed is who it was made with, whoever the endpoint is by now', async (t) => {
  const { end, listener } = await world(t)
  const context = end.io.tls.client(anUpstreamTls())
  await meet(t, end, listener)
  const endpoint = `127.0.0.1:${listener.port}`
  const now = Date.now()
  const kept = context?.sessionFor('reviews', endpoint, now)
  t.equal(kept?.peer.identity, SERVER)
  t.equal(context?.sessionFor('reviews', endpoint, now + 7_200_000), null, 'an expired peer is met anew')
  t.equal(context?.sessionFor('reviews', endpoint, now), null, 'and forgotten')
})
