// When what is written leaves, and in how many pieces. Real sockets.
import net from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import t from 'tap'
import { BLOCK_BYTES } from '../../../lib/base/block-pool.ts'
import { type Connection, NOBODY } from '../../../lib/transport/connection.ts'
import { Io } from '../../../lib/transport/io.ts'
import { SocketConnection } from '../../../lib/transport/socket-connection.ts'
import { within } from '../../support/eventually.ts'
import { RawClient } from '../../support/raw-client.ts'

async function connected(t: Test): Promise<{ readonly io: Io; readonly connection: Connection; readonly client: RawClient }> {
  const io = new Io((error) => t.fail(String(error)))
  let adopt: (connection: Connection) => void
  const adopted = new Promise<Connection>((resolve) => {
    adopt = resolve
  })
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    adopt(new SocketConnection(io, socket, NOBODY))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const client = await RawClient.connect(t, (server.address() as net.AddressInfo).port)
  return { io, connection: await within('a connection', adopted), client }
}

t.test('the output of an event leaves at its end', async (t) => {
  const { io, connection } = await connected(t)
  io.run('test', () => {
    connection.writeText('a')
    connection.writeText('b')
    t.equal(connection.bytesWritten, 0)
  })
  t.equal(connection.bytesWritten, 2)
})

t.test('who gathers sends once for all events of a turn', async (t) => {
  const { io, connection, client } = await connected(t)
  connection.gathers = true
  io.run('test', () => connection.writeText('a'))
  io.run('test', () => connection.writeText('b'))
  t.equal(connection.bytesWritten, 0)
  await turn()
  t.equal(connection.bytesWritten, 2)
  await client.untilReceived('ab')
  io.run('test', () => connection.writeText('c'))
  await turn()
  t.equal(connection.bytesWritten, 3, 'and again in the next turn')
})

t.test('where turn after turn brings one event, its output does not wait; where more come, it does again', async (t) => {
  const { io, connection } = await connected(t)
  connection.gathers = true
  let waited = 0
  for (let i = 0; i < 500; i++) {
    const before = connection.bytesWritten
    io.run('test', () => connection.writeText('x'))
    if (connection.bytesWritten === before) waited++
    await turn()
  }
  t.ok(waited > 8 && waited < 20, `${waited} of 500 waited`)
  // The rest of those that do not wait.
  for (let i = 0; i < 64; i++) io.run('test', () => connection.writeText('x'))
  for (let i = 0; i < 10; i++) {
    await turn()
    const before = connection.bytesWritten
    for (let k = 0; k < 3; k++) io.run('test', () => connection.writeText('x'))
    t.equal(connection.bytesWritten, before)
  }
})

t.test('much does not wait', async (t) => {
  const { io, connection } = await connected(t)
  connection.gathers = true
  for (const sizes of [[17_000], [9000, 9000]]) {
    const before = connection.bytesWritten
    io.run('test', () => {
      for (const n of sizes) connection.writeBytes(Buffer.alloc(n), 0, n)
    })
    t.ok(connection.bytesWritten > before, sizes.join(' '))
    await turn()
  }
})

t.test('what is gathered leaves before the end', async (t) => {
  const { io, connection, client } = await connected(t)
  connection.gathers = true
  io.run('test', () => connection.writeText('last words'))
  io.run('test', () => connection.end())
  await client.untilReceived('last words')
})

t.test('a block that becomes too small goes on as a larger one, in order', async (t) => {
  const { io, connection, client } = await connected(t)
  const sizes = [10, 16_000, 16_000, 60_000, BLOCK_BYTES, 7]
  const pieces = sizes.map((n, i) => Buffer.alloc(n, 0x61 + i))
  io.run('test', () => {
    for (const piece of pieces) connection.writeBytes(piece, 0, piece.length)
  })
  const whole = Buffer.concat(pieces).toString('latin1')
  await client.untilReceived(whole.length)
  t.ok(client.received.toString('latin1') === whole)
})
