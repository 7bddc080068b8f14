// Bytes inside of TLS, both ends ours: echo, back-pressure, half-close, resets, and what a write under way means for those behind it. All of it a
// second time without the parts of Node that are not public.
import { spawnSync } from 'node:child_process'
import type net from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { INTERNALS } from '../../lib/transport/stream-internals.ts'
import { eventually } from '../support/eventually.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import {
  aDownstreamTls,
  anUpstreamTls,
  dialTls,
  meshSecrets,
  pattern,
  type Recorder,
  TlsEnd,
  TlsListener,
} from '../support/tls-ends.ts'

const MB = 1024 * 1024
const mode = INTERNALS === null ? 'public streams' : 'internals'

async function pair(test: Teardown): Promise<{ client: Recorder; server: Recorder; ends: TlsEnd[] }> {
  const { listener, clientEnd, serverEnd } = await world
  const before = listener.outcomes.length
  const dialled = await dialTls(test, clientEnd, listener.port, anUpstreamTls())
  const accepted = await listener.outcome(before)
  if (dialled.recorder === null || accepted.recorder === null)
    throw new Error(JSON.stringify([dialled.failure, accepted.failure]))
  return { client: dialled.recorder, server: accepted.recorder, ends: [clientEnd, serverEnd] }
}

const world = (async () => {
  const ca = await SigningCa.root(t)
  const end = async (name: string): Promise<TlsEnd> => {
    const identity = `spiffe://cluster.local/ns/x/sa/${name}`
    const issued = await ca.issue({ uris: [identity] })
    return new TlsEnd(meshSecrets({ identity, issued, roots: { 'cluster.local': [ca.rootPem] } }))
  }
  const [clientEnd, serverEnd] = await Promise.all([end('client'), end('server')])
  return { clientEnd, serverEnd, listener: await TlsListener.start(t, serverEnd, aDownstreamTls()) }
})()

/** Writes all of it as fast as the other side reads, then ends. */
function pour(from: Recorder, bytes: Buffer, thenEnd: boolean): { readonly blocked: () => boolean } {
  let at = 0
  let blocked = false
  const more = (): void => {
    while (at < bytes.length && from.connection.writable) {
      const to = Math.min(bytes.length, at + 50_000)
      from.connection.writeBytes(bytes, at, to)
      from.connection.flush()
      at = to
    }
    if (at < bytes.length) {
      blocked = true
      // Room is said once only; a write under way that blocks nobody is waited out by a turn.
      if (from.connection.writable) setImmediate(() => from.connection.io.run('test', more))
    } else if (thenEnd) from.connection.end()
  }
  from.onRoom = more
  from.connection.io.run('test', more)
  return { blocked: () => blocked }
}

t.test(`bytes inside of TLS: ${mode}`, async (t) => {
  await t.test('megabytes both ways at once arrive whole, then both ends close in order', async (t) => {
    const { client, server, ends } = await pair(t)
    const [up, down] = [pattern(8 * MB, 1), pattern(8 * MB, 2)]
    pour(client, up, true)
    pour(server, down, true)
    await eventually('all bytes', () => server.bytes === up.length && client.bytes === down.length, 20_000)
    t.ok(Buffer.concat(server.chunks).equals(up))
    t.ok(Buffer.concat(client.chunks).equals(down))
    await eventually('both closed', () => client.closed === '' && server.closed === '')
    t.match([client.ended, server.ended], [true, true])
    t.match([client.connection.bytesWritten, client.connection.bytesRead], [up.length, down.length])
    t.same(
      ends.flatMap((e) => e.errors),
      [],
    )
    t.same(
      ends.flatMap((e) => e.failures),
      [],
      'a close after bytes is no failure',
    )
  })

  await t.test('an echo in small pieces', async (t) => {
    const { client, server } = await pair(t)
    server.onBytes = (bytes) => server.connection.writeBytes(bytes, 0, bytes.length)
    const sent = pattern(200_000, 3)
    for (let at = 0; at < sent.length; at += 997) client.write(sent.subarray(at, at + 997))
    await eventually('the echo', () => client.bytes === sent.length)
    t.ok(Buffer.concat(client.chunks).equals(sent))
  })

  await t.test('who does not read is waited for, and memory does not grow meanwhile', async (t) => {
    const { client, server } = await pair(t)
    server.connection.readDisable()
    const sent = pattern(24 * MB, 4)
    const poured = pour(client, sent, true)
    await eventually('the writer to be stopped', () => poured.blocked() && !client.connection.writable)
    const stuck = client.connection.bytesWritten
    t.ok(stuck < 16 * MB, `${stuck} bytes before it stopped`)
    server.connection.readEnable()
    await eventually('the rest', () => server.bytes === sent.length && server.ended, 20_000)
    t.ok(Buffer.concat(server.chunks).equals(sent))
    t.ok(client.writable > 0)
  })

  await t.test('pausing holds bytes that are read already, and hands them on in order', async (t) => {
    const { client, server } = await pair(t)
    // A read brings a record; the ones behind it are in the same TCP segment.
    let paused = 0
    server.onBytes = () => {
      if (paused++ > 3) return
      server.connection.readDisable()
      setImmediate(() => setImmediate(() => server.connection.readEnable()))
    }
    const sent = pattern(300_000, 5)
    client.write(sent)
    client.end()
    await eventually('all bytes and the end', () => server.bytes === sent.length && server.ended)
    t.ok(Buffer.concat(server.chunks).equals(sent))
    t.ok(paused > 3)
  })

  await t.test('paused from within a piece of data: nothing comes until reading goes on', async (t) => {
    const { client, server } = await pair(t)
    let disabled = false
    let late = 0
    server.onBytes = () => {
      if (disabled) late++
      else server.connection.readDisable()
      disabled = true
    }
    client.write(pattern(400_000, 6))
    client.end()
    await eventually('a first piece', () => server.bytes > 0)
    // What had been read with it has been delivered or held by now.
    await eventually('the client to have sent', () => client.connection.bytesWritten === 400_000)
    t.equal(late, 0)
    t.notOk(server.ended, 'the end is behind bytes that nobody has taken')
    server.connection.readEnable()
    await eventually('the rest', () => server.bytes === 400_000 && server.ended)
  })

  await t.test('half-close: the client has ended and still hears', async (t) => {
    const { client, server } = await pair(t)
    client.write('question')
    client.end()
    await eventually('the end', () => server.ended)
    t.equal(server.text, 'question')
    t.equal(server.closed, null)
    const answer = pattern(3 * MB, 7)
    pour(server, answer, true)
    await eventually('the answer', () => client.bytes === answer.length && client.ended)
    await eventually('both closed', () => client.closed === '' && server.closed === '')
  })

  await t.test('half-close: the server has ended and still hears', async (t) => {
    const { client, server } = await pair(t)
    server.write('greeting')
    server.end()
    await eventually('the end', () => client.ended)
    t.equal(client.text, 'greeting')
    const more = pattern(3 * MB, 8)
    pour(client, more, true)
    await eventually('the rest', () => server.bytes === more.length && server.ended)
    t.ok(Buffer.concat(server.chunks).equals(more))
    await eventually('both closed', () => client.closed === '' && server.closed === '')
  })

  await t.test('an end while writes are under way comes behind them', async (t) => {
    const { client, server } = await pair(t)
    const sent = pattern(1 * MB, 9)
    client.connection.io.run('test', () => {
      // More than one block in one event: all but the first wait for the first.
      client.connection.writeBytes(sent, 0, sent.length)
      client.connection.end()
      // Behind the end nothing is taken.
      client.connection.writeText('too late')
    })
    await eventually('all and the end', () => server.ended)
    t.ok(Buffer.concat(server.chunks).equals(sent))
    server.end()
    await eventually('both closed', () => client.closed === '' && server.closed === '')
  })

  await t.test('writes in the event in which a write came to its end', async (t) => {
    const { client, server } = await pair(t)
    const sent: Buffer[] = []
    let rounds = 0
    const write = (): void => {
      const piece = pattern(60_000, 10 + rounds)
      sent.push(piece)
      client.connection.writeBytes(piece, 0, piece.length)
      client.connection.flush()
      client.connection.writeBytes(piece, 0, 100)
      sent.push(piece.subarray(0, 100))
      if (++rounds < 50) setImmediate(() => client.connection.io.run('test', write))
      else client.connection.end()
    }
    client.connection.io.run('test', write)
    await eventually('the end', () => server.ended)
    t.ok(Buffer.concat(server.chunks).equals(Buffer.concat(sent)))
  })

  await t.test('destroyed with writes waiting: the blocks go back, the peer sees an end', async (t) => {
    const { client, server } = await pair(t)
    server.connection.readDisable()
    client.connection.io.run('test', () => {
      for (let i = 0; i < 200; i++) client.connection.writeBytes(pattern(50_000), 0, 50_000)
      client.connection.destroy('enough')
    })
    await eventually('closed', () => client.closed === 'enough')
    server.connection.readEnable()
    await eventually('the peer to know', () => server.ended || server.closed !== null)
  })

  await t.test('a reset is not an orderly end', async (t) => {
    const { client, server } = await pair(t)
    server.write('x')
    await eventually('a byte', () => client.bytes === 1)
    const { listener } = await world
    ;(listener.sockets.at(-1) as net.Socket).resetAndDestroy()
    await eventually('closed', () => client.closed !== null)
    t.match(client.closed, /ECONNRESET/)
  })

  await t.test('the peer is gone while we write: one close, no exception', async (t) => {
    const { client, server, ends } = await pair(t)
    server.connection.io.run('test', () => server.connection.destroy('gone'))
    const piece = pattern(60_000)
    await eventually('the close', () => {
      if (client.closed === null) client.write(piece)
      return client.closed !== null
    })
    t.same(
      ends.flatMap((e) => e.errors),
      [],
    )
  })
})

if (INTERNALS !== null)
  t.test('without the internals of Node', async (t) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(import.meta.url)], {
      env: { ...process.env, HEDDLE_PUBLIC_STREAMS: '1' },
      encoding: 'utf8',
    })
    t.equal(
      status,
      0,
      `${stdout}${stderr}`
        .split('\n')
        .filter((l) => /not ok|Error/.test(l))
        .join('\n'),
    )
  })
