// Who is tried when: sockets that never connect, and real ones. The order is RFC 8305 §4.
import net from 'node:net'
import t from 'tap'
import { AddressRace } from '../../../lib/pool/address-race.ts'
import { Io } from '../../../lib/transport/io.ts'

interface Outcome {
  readonly tried: readonly string[]
  readonly won: string
  readonly lost: string
}

/** `how`: what each address does. */
async function race(how: Readonly<Record<string, 'answers' | 'refuses' | 'hangs'>>): Promise<Outcome> {
  const server = net.createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  const io = new Io(
    (error) => {
      throw error
    },
    () => {},
  )
  const tried: string[] = []
  const sockets = new Map<net.Socket, string>()
  const dial = (address: string): net.Socket => {
    tried.push(address)
    const socket =
      how[address] === 'answers'
        ? net.connect(port, '127.0.0.1')
        : how[address] === 'refuses'
          ? net.connect({ path: '/nowhere/at/all' })
          : new net.Socket()
    sockets.set(socket, address)
    return socket
  }
  const result = await new Promise<Outcome>((resolve) => {
    new AddressRace(io, Object.keys(how), dial, {
      onRaceWon: (socket) => resolve({ tried, won: sockets.get(socket) ?? '', lost: '' }),
      onRaceLost: (error) => resolve({ tried, won: '', lost: error.code ?? '' }),
    })
  })
  t.ok(
    [...sockets].every(([socket, address]) => address === result.won || socket.destroyed),
    'the others are closed',
  )
  for (const socket of sockets.keys()) socket.destroy()
  server.close()
  return result
}

t.test('the first that answers', async (t) => {
  t.same(await race({ '10.0.0.1': 'answers', '::1': 'answers' }), { tried: ['10.0.0.1'], won: '10.0.0.1', lost: '' })
  t.same(await race({ '10.0.0.1': 'refuses', '::1': 'answers' }), { tried: ['10.0.0.1', '::1'], won: '::1', lost: '' })
  t.same(await race({ '10.0.0.1': 'hangs', '::1': 'answers' }), { tried: ['10.0.0.1', '::1'], won: '::1', lost: '' })
})

t.test('families take turns', async (t) => {
  const how = { '::1': 'refuses', '::2': 'refuses', '10.0.0.1': 'refuses', '::3': 'refuses', '10.0.0.2': 'refuses' } as const
  t.same(await race(how), { tried: ['::1', '10.0.0.1', '::2', '10.0.0.2', '::3'], won: '', lost: 'ENOENT' })
})
