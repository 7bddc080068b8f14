// What a ClientHello says, judged by OpenSSL: hellos that Node makes, whole and in pieces, and hellos that were tampered with, of which our reading must
// be that of whoever terminates them.
import { once } from 'node:events'
import net from 'node:net'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import fc from 'fast-check'
import t from 'tap'
import { CLIENT_HELLO, NEEDS_MORE, NOT_TLS, TlsInspector } from '../../../lib/listener/tls-inspector.ts'
import { OpensslCa } from '../../support/openssl-ca.ts'

/** The first record that Node's client sends. */
async function helloOf(options: tls.ConnectionOptions): Promise<Buffer> {
  const server = net.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = tls.connect({ port: (server.address() as net.AddressInfo).port, host: '127.0.0.1', ...options })
  client.on('error', () => {})
  const [socket] = (await once(server, 'connection')) as [net.Socket]
  let bytes = Buffer.alloc(0)
  while (bytes.length < 5 || bytes.length < 5 + bytes.readUInt16BE(3))
    bytes = Buffer.concat([bytes, (await once(socket, 'data'))[0] as Buffer])
  socket.destroy()
  client.destroy()
  server.close()
  return bytes
}

/** The same message in records of `size` bytes. */
function split(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size)
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part)
  }
  return Buffer.concat(records)
}

function inspect(bytes: Buffer): { found: number; name: string; protocols: readonly string[] } {
  const inspector = new TlsInspector()
  const found = inspector.inspect(bytes, bytes.length)
  return { found, name: inspector.serverName, protocols: inspector.applicationProtocols }
}

const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.example`

t.test('hellos of Node', async (t) => {
  for (const [servername, ALPNProtocols] of [
    ['', []],
    ['reviews.shop.svc.cluster.local', []],
    ['outbound_.9080_._.reviews.shop.svc.cluster.local', ['istio-peer-exchange', 'istio']],
    ['A.Example', ['istio-http/1.1', 'istio', 'http/1.1']],
    [long, ['h2', 'http/1.1', 'x'.repeat(255)]],
    ['many.example', Array.from({ length: 250 }, (_, i) => `protocol-${i}-${'y'.repeat(200)}`)],
  ] as const) {
    const hello = await helloOf({
      ...(servername === '' ? {} : { servername }),
      ...(ALPNProtocols.length === 0 ? {} : { ALPNProtocols: [...ALPNProtocols] }),
    })
    const expected = { found: CLIENT_HELLO, name: servername.toLowerCase(), protocols: ALPNProtocols }
    if (hello.length > 32 * 1024) {
      t.equal(inspect(hello).found, NOT_TLS, `${hello.length} bytes are too many`)
      continue
    }
    t.same(inspect(hello), expected, `${servername}, ${hello.length} bytes`)
    t.same(inspect(Buffer.concat([hello, Buffer.from('what follows')])), expected)
    for (const size of [1, 3, 64, 1000])
      t.same(
        inspect(split(hello, size)).found,
        split(hello, size).length < 32 * 1024 ? CLIENT_HELLO : NOT_TLS,
        `records of ${size}`,
      )
    for (let n = 1; n < hello.length; n += 1 + Math.floor(n / 8))
      t.equal(inspect(hello.subarray(0, n)).found, NEEDS_MORE, `${n} bytes`)
    t.same(inspect(split(hello, 400)), expected)
  }
})

t.test('what is no ClientHello', (t) => {
  for (const [what, bytes] of Object.entries({
    'an HTTP request': Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    'an alert record': Buffer.from([21, 3, 3, 0, 2, 2, 40]),
    'TLS of another major version': Buffer.from([22, 2, 0, 0, 5, 1, 0, 0, 1, 0]),
    'a ServerHello': Buffer.from([22, 3, 3, 0, 5, 2, 0, 0, 1, 0]),
    'an SSLv2 hello': Buffer.from([0x80, 0x2e, 1, 3, 1, 0, 0x15]),
    'a message that says it is longer than any': Buffer.from([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff, 0, 0]),
    'a second record of another kind': Buffer.concat([
      Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 200]),
      Buffer.from([23, 3, 1, 0, 4, 1, 2, 3, 4]),
    ]),
    'records without bytes': Buffer.concat(Array.from({ length: 100 }, () => Buffer.from([22, 3, 1, 0, 0]))),
  }))
    t.equal(inspect(bytes).found, NOT_TLS, what)
  t.equal(inspect(Buffer.alloc(0)).found, NEEDS_MORE)
  t.equal(inspect(Buffer.from([22])).found, NEEDS_MORE)
  t.end()
})

t.test('a name that could break a line or a header is none', async (t) => {
  const hello = await helloOf({ servername: 'xxxxxxxx.example' })
  const at = hello.indexOf('xxxxxxxx')
  for (const bad of ['\r\n', ' ', '\0', '\x7f', '\xe9', '"', ',']) {
    const changed = Buffer.from(hello)
    changed.write(bad, at + 2, 'latin1')
    t.equal(inspect(changed).name, '', JSON.stringify(bad))
  }
})

/** Node cuts off the eighth bit. */
const ascii = (protocols: readonly string[]): string =>
  Array.from(protocols.join(), (c) => String.fromCharCode(c.charCodeAt(0) & 0x7f)).join('')

/** What OpenSSL reads out of a hello; null: it refuses it before it has. */
function openssl(
  hello: Buffer,
  pair: { cert: string; key: string },
): Promise<{ name: string; protocols: readonly string[] } | null> {
  return new Promise((resolve) => {
    const wire = new Duplex({ read() {}, write: (_c, _e, done) => done() })
    let seen: { name: string; protocols: readonly string[] } | null = null
    const socket = new tls.TLSSocket(wire, {
      isServer: true,
      ...pair,
      ALPNCallback: ({ servername, protocols }: { servername: string; protocols: string[] }) => {
        seen = { name: servername || '', protocols }
        return undefined
      },
    } as tls.TLSSocketOptions)
    socket.on('error', () => {})
    wire.push(hello)
    // It has all that there is; a hello that says it is longer waits for ever.
    let turns = 8
    const wait = (): void => {
      if (seen === null && --turns > 0) {
        setImmediate(wait)
        return
      }
      socket.destroy()
      resolve(seen)
    }
    setImmediate(wait)
  })
}

t.test('tampered hellos are read as OpenSSL reads them', async (t) => {
  const made = new OpensslCa(t).root('/CN=any')
  const pair = { cert: made.certPem, key: made.keyPem }
  const hello = await helloOf({ servername: 'reviews.example', ALPNProtocols: ['istio', 'h2', 'http/1.1'] })
  t.same(await openssl(hello, pair), { name: 'reviews.example', protocols: ['istio', 'h2', 'http/1.1'] }, 'the judge is awake')
  let judged = 0
  // Where lengths, types and the two extensions stand.
  const at = fc.integer({ min: 5, max: hello.length - 1 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(at, fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 }),
      async (changes) => {
        const changed = Buffer.from(hello)
        for (const [i, byte] of changes) changed[i] = byte
        const ours = inspect(changed)
        const theirs = await openssl(changed, pair)
        if (theirs === null) return
        judged++
        if (ours.found !== CLIENT_HELLO) throw new Error('it is a hello')
        const name = /^[a-z0-9._*:_-]*$/i.test(theirs.name) ? theirs.name.toLowerCase() : ''
        if (ours.name !== name || ascii(ours.protocols) !== ascii(theirs.protocols))
          throw new Error(`${JSON.stringify(ours)} is to OpenSSL ${JSON.stringify(theirs)}`)
      },
    ),
    { numRuns: 400 },
  )
  t.ok(judged > 50, `${judged} were accepted`)
})

t.test('no bytes at all make it throw or take long', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      const all = Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 0, bytes.length % 251]), bytes])
      const { found, name } = inspect(all)
      return [NEEDS_MORE, NOT_TLS, CLIENT_HELLO].includes(found) && /^[\x21-\x7e]*$/.test(name)
    }),
    { numRuns: 2000 },
  )
  t.end()
})
