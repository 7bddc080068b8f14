// What is refused in a handshake of the mesh, and that each side says so in words: also the side that thought its handshake done, since in TLS 1.3 a
// client is done before the server has looked at its certificate, and Node tells the verdict on certificates to us and not to the peer.
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import t, { type Test } from 'tap'
import type { DownstreamTls, UpstreamTls } from '../../lib/state/tls.ts'
import type { HandshakeFailure } from '../../lib/transport/handshake.ts'
import type { Secrets } from '../../lib/transport/secrets.ts'
import { eventually } from '../support/eventually.ts'
import { type Issued, SigningCa, type Wanted } from '../support/signing-ca.ts'
import { aCredential, aDownstreamTls, anUpstreamTls, dialTls, meshSecrets, TlsEnd, TlsListener } from '../support/tls-ends.ts'

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client'
const SERVER = 'spiffe://cluster.local/ns/shop/sa/server'
const FOREIGN = 'spiffe://elsewhere.example/ns/shop/sa/client'

const [ca, stranger] = await Promise.all([SigningCa.root(t, 'mesh'), SigningCa.root(t, 'stranger')])
const issue = (uris: readonly string[], over: Partial<Wanted> = {}, of = ca): Promise<Issued> => of.issue({ uris, ...over })
const secrets = (issued: Issued, identity: string): Secrets =>
  meshSecrets({ identity, issued, roots: { 'cluster.local': [ca.rootPem] } })
const EXPIRED = { lifetimeMs: -60_000, backdatedMs: 3_600_000 }

interface Words {
  readonly reason: string
  readonly text: RegExp
  readonly details?: Readonly<Record<string, RegExp>>
}

interface Row {
  readonly client?: Promise<Issued> | null
  readonly server?: Promise<Issued>
  readonly up?: Partial<UpstreamTls>
  readonly down?: Partial<DownstreamTls>
  /** What each side says, during the handshake or behind it. */
  readonly clientSays: Words
  readonly serverSays: Words
}

/** The other side has closed without an alert. */
const refusedUs = (presented: string): Words => ({
  reason: 'closed_behind_handshake',
  text: new RegExp(
    `closed right behind the handshake without a byte: it has probably refused our certificate; we presented ${presented}, valid to 20`,
  ),
})

/** It has not even finished. */
const leftUs = (presented: string): Words => ({
  reason: 'closed',
  text: new RegExp(
    `closed the connection in the middle of the handshake: it has probably refused our certificate; we presented ${presented}, valid to 20`,
  ),
})

const rows: Readonly<Record<string, Row>> = {
  'a client of a foreign trust domain': {
    client: issue([FOREIGN]),
    serverSays: {
      reason: 'foreign_trust_domain',
      text: /the trust domain elsewhere\.example is not one of cluster\.local/,
      details: {
        seen: /^spiffe:\/\/elsewhere/,
        seen_trust_domain: /^elsewhere/,
        trusted_domains: /^cluster\.local$/,
        validity: /now 20/,
        peer: /URI:/,
      },
    },
    clientSays: refusedUs(FOREIGN),
  },
  'a server of a foreign trust domain': {
    server: issue([FOREIGN]),
    clientSays: { reason: 'foreign_trust_domain', text: /the trust domain elsewhere\.example is not one of cluster\.local/ },
    serverSays: leftUs(FOREIGN),
  },
  'an expired client': {
    client: issue([CLIENT], EXPIRED),
    serverSays: { reason: 'expired', text: /the certificate expired 1m.* ago/, details: { validity: /^20.* to 20.*, now 20/ } },
    clientSays: refusedUs(CLIENT),
  },
  'an expired server': {
    server: issue([SERVER], EXPIRED),
    clientSays: { reason: 'expired', text: /the certificate expired 1m.* ago/ },
    serverSays: leftUs(SERVER),
  },
  'a client that is not valid yet': {
    client: issue([CLIENT], { backdatedMs: -600_000 }),
    serverSays: { reason: 'not_yet_valid', text: /will be in 9m/ },
    clientSays: refusedUs(CLIENT),
  },
  'a client with two URI SANs': {
    client: issue([CLIENT, `${CLIENT}2`]),
    serverSays: { reason: 'several_identities', text: /has 2 URI SANs/, details: { seen: /client, .*client2/ } },
    clientSays: refusedUs(CLIENT),
  },
  'a server with two URI SANs': {
    server: issue([SERVER, `${SERVER}2`]),
    clientSays: { reason: 'several_identities', text: /has 2 URI SANs/ },
    serverSays: leftUs(SERVER),
  },
  'a client without a certificate': {
    client: null,
    up: { certificate: '' },
    serverSays: { reason: 'no_certificate', text: /the client presented no certificate, and one is required/ },
    clientSays: {
      reason: 'alert',
      text: /ended the connection with certificate_required: the peer wants a client certificate and got none; we presented none/,
      details: { presented: /^none$/ },
    },
  },
  'a client of an unknown CA': {
    client: issue([CLIENT], {}, stranger),
    serverSays: { reason: 'untrusted_chain', text: /nor among our roots/, details: { peer: /URI:.*client/ } },
    clientSays: refusedUs(CLIENT),
  },
  'a server of an unknown CA': {
    server: issue([SERVER], {}, stranger),
    clientSays: { reason: 'untrusted_chain', text: /nor among our roots/ },
    serverSays: leftUs(SERVER),
  },
  'a server with another identity than the expected one': {
    up: { subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/other'] },
    clientSays: {
      reason: 'unexpected_identity',
      text: /the server is spiffe:.*\/server; expected spiffe:.*\/other/,
      details: { expected: /other$/, seen: /server$/ },
    },
    serverSays: leftUs(SERVER),
  },
  'a client with another identity than the expected one': {
    down: { subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/other'] },
    serverSays: { reason: 'unexpected_identity', text: /the client is spiffe:.*\/client; expected spiffe:.*\/other/ },
    clientSays: refusedUs(CLIENT),
  },
  'a client that speaks only TLS 1.2': {
    up: { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' },
    serverSays: { reason: 'protocol', text: /only versions of TLS that are not accepted here/ },
    clientSays: {
      reason: 'alert',
      text: /protocol_version: the peer does not speak our TLS versions/,
      details: { presented: /client, valid to/ },
    },
  },
  'a server that speaks only TLS 1.2': {
    down: { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' },
    serverSays: { reason: 'protocol', text: /only versions of TLS that are not accepted here|no version of TLS in common/ },
    clientSays: { reason: 'alert', text: /protocol_version/ },
  },
  'no application protocol in common': {
    up: { alpn: ['h2'] },
    down: { alpn: ['http/1.1'] },
    serverSays: { reason: 'protocol', text: /none of the offered application protocols|no application protocol/i },
    clientSays: { reason: 'alert', text: /no_application_protocol/ },
  },
}

function said(t: Test, who: string, failure: HandshakeFailure | undefined, expected: Words): void {
  if (failure === undefined) {
    t.fail(`the ${who} said nothing`)
    return
  }
  t.equal(failure.reason, expected.reason, `${who}: ${failure.text}`)
  t.match(failure.text, expected.text, who)
  for (const [name, value] of Object.entries(expected.details ?? {})) t.match(failure.details[name], value, `${who}: ${name}`)
}

t.test('both sides say what was wrong', async (t) => {
  for (const [name, row] of Object.entries(rows))
    await t.test(name, async (t) => {
      const serverEnd = new TlsEnd(secrets(await (row.server ?? issue([SERVER])), SERVER))
      const clientEnd = new TlsEnd(secrets(await (row.client ?? issue([CLIENT])), CLIENT))
      const listener = await TlsListener.start(t, serverEnd, aDownstreamTls(row.down))
      const dialled = await dialTls(t, clientEnd, listener.port, anUpstreamTls({ sni: 'outbound_.80_._.reviews', ...row.up }))
      // A client that believes it is done asks.
      dialled.recorder?.write('GET / HTTP/1.1\r\n\r\n')
      const accepted = await listener.outcome(0)
      const clientSaid = () => dialled.failure ?? clientEnd.failures.find((f) => f.side === 'client')?.failure
      const serverSaid = () => accepted.failure ?? serverEnd.failures.find((f) => f.side === 'server')?.failure
      await eventually('both to say why', () => clientSaid() !== undefined && serverSaid() !== undefined).catch(() => {})
      said(t, 'client', clientSaid(), row.clientSays)
      said(t, 'server', serverSaid(), row.serverSays)
      if (dialled.connection !== null) {
        await eventually('the end', () => dialled.recorder?.closed !== null || dialled.recorder?.ended)
        t.equal(dialled.connection.transportFailure, `TLS_error: ${clientSaid()?.text}`)
      }
      t.same([...clientEnd.errors, ...serverEnd.errors], [])
    })
})

t.test('certificates without a subject, which are known by roots and names', async (t) => {
  const [server, client] = await Promise.all([ca.issue({ dnsNames: ['shop.test'] }), ca.issue({ dnsNames: ['client.test'] })])
  const roots = aCredential('roots', null, [ca.rootPem])
  const end = (issued: Issued) => new TlsEnd(meshSecrets({ identity: CLIENT, issued, roots: {}, credentials: [roots] }))
  for (const [what, down, up, says] of [
    ['both are believed', [], ['shop.test'], null],
    ['another server was expected', [], ['other.test'], /is not for other\.test/],
    ['another client was expected', ['other.test'], ['shop.test'], /is not for other\.test/],
  ] as const) {
    const [serverEnd, clientEnd] = [end(server), end(client)]
    const listener = await TlsListener.start(t, serverEnd, aDownstreamTls({ trust: 'roots', subjectAltNames: down }))
    const dialled = await dialTls(t, clientEnd, listener.port, anUpstreamTls({ trust: 'roots', subjectAltNames: up }))
    const accepted = await listener.outcome(0)
    const refusal = down.length > 0 ? accepted.failure : dialled.failure
    if (says === null) t.equal(refusal, null, what)
    else {
      t.match(refusal?.text, says, what)
      t.match(refusal?.details['peer'], /^\(no subject\) \[DNS:/)
    }
    t.same([...clientEnd.errors, ...serverEnd.errors], [])
  }
})

t.test('a server that is no heddle: its alerts in words', async (t) => {
  const [server, client] = await Promise.all([issue([SERVER]), issue([CLIENT], {}, stranger)])
  // OpenSSL by itself: Node's server, whose word on certificates is a close, is not asked for its opinion.
  const clientEnd = new TlsEnd(secrets(client, CLIENT))
  const accepting = tls.createServer({
    cert: server.chain,
    key: server.key,
    ca: [ca.rootPem],
    requestCert: true,
    rejectUnauthorized: true,
  })
  accepting.on('tlsClientError', () => {})
  accepting.listen(0, '127.0.0.1')
  await once(accepting, 'listening')
  t.teardown(() => accepting.close())
  const { recorder } = await dialTls(t, clientEnd, (accepting.address() as net.AddressInfo).port, anUpstreamTls())
  await eventually('the end', () => recorder?.ended || recorder?.closed !== null)
  t.match(recorder?.connection.transportFailure, /^TLS_error: the peer closed right behind the handshake/)
})

t.test('what does not speak TLS', async (t) => {
  const server = new TlsEnd(secrets(await issue([SERVER]), SERVER))
  const listener = await TlsListener.start(t, server, aDownstreamTls())
  const raw = async (bytes: string | Buffer): Promise<HandshakeFailure | null> => {
    const index = listener.outcomes.length
    const socket = net.connect(listener.port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    socket.write(bytes)
    return (await listener.outcome(index)).failure
  }
  t.match(await raw('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), { reason: 'plaintext', text: /speaks plaintext HTTP to a TLS port/ })
  t.match(await raw('EHLO client.example\r\n'), { reason: 'plaintext', text: /does not speak TLS here/ })
  t.match(await raw('\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a'), { reason: 'plaintext' })

  const plain = net.createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  plain.listen(0, '127.0.0.1')
  await once(plain, 'listening')
  t.teardown(() => plain.close())
  const client = new TlsEnd(secrets(await issue([CLIENT]), CLIENT))
  const { failure } = await dialTls(t, client, (plain.address() as net.AddressInfo).port, anUpstreamTls())
  t.match(failure, { reason: 'plaintext', text: /the peer does not speak TLS here/ })

  const mute = net.createServer((socket) => socket.on('error', () => {}).once('data', () => socket.end()))
  mute.listen(0, '127.0.0.1')
  await once(mute, 'listening')
  t.teardown(() => mute.close())
  const closed = await dialTls(t, client, (mute.address() as net.AddressInfo).port, anUpstreamTls())
  t.match(closed.failure, { reason: 'closed', text: /closed the connection in the middle of the handshake/ })
})

t.test('who is refused gets no session', async (t) => {
  const server = new TlsEnd(secrets(await issue([SERVER]), SERVER))
  const listener = await TlsListener.start(t, server, aDownstreamTls({ minVersion: 'TLSv1.2' }))
  const client = await issue([FOREIGN])
  for (const [index, maxVersion] of (['TLSv1.2', 'TLSv1.3'] as const).entries()) {
    const peer = { port: listener.port, host: '127.0.0.1', rejectUnauthorized: false }
    const socket = tls.connect({ ...peer, cert: client.chain, key: client.key, maxVersion })
    socket.on('error', () => {})
    socket.on('session', () => t.fail(`a ticket of ${maxVersion}`))
    await new Promise((resolve) => socket.once('close', resolve))
    t.match((await listener.outcome(index)).failure, { reason: 'foreign_trust_domain' })
  }
})
