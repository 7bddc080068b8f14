// The boundary: a mistake of ours in whatever a socket calls is reported and costs that connection, and nothing else. Real sockets; the owners
// of the connections make the mistakes.
import net from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { Deadline } from '../../../lib/base/timer-wheel.ts'
import type { Connection, ConnectionOwner } from '../../../lib/transport/connection.ts'
import { Io } from '../../../lib/transport/io.ts'
import { SocketConnection } from '../../../lib/transport/socket-connection.ts'
import { within } from '../../support/eventually.ts'
import { RawClient } from '../../support/raw-client.ts'

type Callback = 'data' | 'end' | 'writable' | 'close'

/** Echoes; makes a mistake in one of its callbacks. */
class Owner implements ConnectionOwner {
  readonly connection: Connection
  readonly throwsIn: Callback | null
  readonly closed: Promise<string>
  private resolve: (reason: string) => void

  constructor(io: Io, socket: net.Socket, throwsIn: Callback | null) {
    this.resolve = () => {}
    this.closed = new Promise((resolve) => {
      this.resolve = resolve
    })
    this.throwsIn = throwsIn
    this.connection = new SocketConnection(io, socket, this)
  }

  private may(callback: Callback): void {
    if (this.throwsIn === callback) throw new Error(`mistake in ${callback}`)
  }

  onData(bytes: Buffer, length: number): void {
    // What was queued before the mistake must not be lost track of either.
    this.connection.writeBytes(bytes, 0, length)
    this.may('data')
  }

  onEnd(): void {
    this.may('end')
    this.connection.end()
  }

  onWritable(): void {
    this.may('writable')
  }

  onClose(reason: string): void {
    this.resolve(reason)
    this.may('close')
  }
}

/** A server whose first connection has an owner that throws, and a second one that does not. */
async function pair(t: Test, throwsIn: Callback | null) {
  const reports: string[] = []
  const io = new Io((error, where) => void reports.push(`${where}: ${(error as Error).message}`))
  const owners: Owner[] = []
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    owners.push(new Owner(io, socket, owners.length === 0 ? throwsIn : null))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as net.AddressInfo
  const bad = await RawClient.connect(t, port)
  await bad.until('the first connection', () => true)
  const good = await RawClient.connect(t, port)
  await good.write('hello')
  await good.untilReceived('hello')
  return { io, reports, owners, bad, good }
}

async function othersLive(t: Test, good: RawClient): Promise<void> {
  const before = good.received.length
  await good.write('still here')
  await good.untilReceived(before + 10)
  t.match(good.text, /still here$/, 'another connection goes on')
}

const QUEUED = 64 * 1024 * 1024

for (const callback of ['data', 'end', 'close', 'writable'] as const) {
  t.test(`a mistake in ${callback}`, async (t) => {
    const { reports, owners, bad, good } = await pair(t, callback)
    const owner = owners[0] as Owner
    if (callback === 'data') await bad.write('x')
    else if (callback === 'end') bad.end()
    else if (callback === 'close') bad.destroy()
    else {
      // More than the kernel takes: the rest leaves when the client reads.
      bad.pause()
      owner.connection.io.run('test', () => {
        const block = Buffer.alloc(65536)
        for (let sent = 0; sent < QUEUED && owner.connection.writable; sent += block.length) {
          owner.connection.writeBytes(block, 0, block.length)
          owner.connection.flush()
        }
      })
      t.equal(owner.connection.writable, false, 'the kernel is full')
      bad.resume()
    }
    const reason = await within('the connection to close', owner.closed)
    if (callback !== 'close') {
      t.equal(reason, 'internal_error', 'closed for that')
      await bad.closed()
    }
    t.equal(reports.length, 1, 'reported once')
    t.match(reports[0], `mistake in ${callback}`)
    t.equal(owner.connection.closed, true)
    await othersLive(t, good)
  })
}

t.test('a mistake in a timer does not hold up other timers', async (t) => {
  const { io, reports, owners, good } = await pair(t, null)
  const fired: number[] = []
  const done = new Promise<void>((resolve) => {
    const owner = {
      onDeadline(kind: number): void {
        fired.push(kind)
        if (kind === 3) resolve()
        if (kind === 1) throw new Error('mistake in a timer')
      },
      abandon(): void {
        fired.push(-1)
      },
    }
    io.run('test', () => {
      // In whichever direction a slot is read, one of its deadlines comes behind the mistake.
      for (const kind of [2, 1, 4]) io.timers.arm(new Deadline(owner, kind), 10)
      io.timers.arm(new Deadline(owner, 3), 40)
    })
  })
  // The wheel's own timer lets the process end; the open connections keep it.
  await within('all three', done, 5000)
  t.equal(fired.at(-1), 3, 'those of its turn do not come behind a later one')
  t.same(
    [...fired].sort((a, b) => a - b),
    [-1, 1, 2, 3, 4],
    'its owner is told to give up; the others fire',
  )
  t.same(reports, ['timer: mistake in a timer'])
  t.equal(owners[0]?.connection.closed, false, 'connections live')
  await othersLive(t, good)
})

t.test('a mistake in anything else that begins by itself is reported and ends there', async (t) => {
  const { io, reports, good } = await pair(t, null)
  io.run('message', () => {
    throw new Error('mistake in a message')
  })
  t.same(reports, ['message: mistake in a message'])
  await othersLive(t, good)
})

t.test('what was queued on another connection in the same event leaves all the same', async (t) => {
  const { io, owners, good } = await pair(t, null)
  io.run('test', () => {
    owners[1]?.connection.writeText('queued')
    throw new Error('mistake')
  })
  await good.untilReceived('queued')
  t.pass('it left')
})
