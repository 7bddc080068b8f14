// Options of a socket as the kernel has them after tcpKeepalive was set (tcp(7)).
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import net from 'node:net'
import t from 'tap'
import { canSetKeepalive, setKeepalive } from '../../../lib/transport/keepalive.ts'
import { handleOf } from '../../../lib/transport/stream-internals.ts'

type GetInt = (fd: number, level: number, option: number, value: Uint8Array, length: Uint8Array) => number

const SO_KEEPALIVE = [1, 9] as const
const TCP_KEEPIDLE = [6, 4] as const
const TCP_KEEPINTVL = [6, 5] as const
const TCP_KEEPCNT = [6, 6] as const

if (!canSetKeepalive()) t.plan(0, 'koffi is not installed, or this is not Linux')
else {
  const koffi = createRequire(import.meta.url)('koffi') as { load(name: string): { func(signature: string): GetInt } }
  const getsockopt = koffi.load('libc.so.6').func('int getsockopt(int, int, int, _Out_ uint8_t *, _Inout_ uint8_t *)')

  const optionsOf = (socket: net.Socket) =>
    [SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT].map(([level, option]) => {
      const value = new Uint8Array(4)
      t.equal(getsockopt(handleOf(socket)!.fd, level, option, value, Uint8Array.of(4, 0, 0, 0)), 0)
      return new DataView(value.buffer).getInt32(0, true)
    })
  const system = (name: string) => Number(readFileSync(`/proc/sys/net/ipv4/tcp_keepalive_${name}`, 'latin1'))

  t.test('what is set, what is left to the system, what the system refuses', async (t) => {
    const server = net.createServer((s) => s.on('error', () => {}))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const rows = [
      [{ idleSeconds: 30, intervalSeconds: 5, probes: 3 }, [1, 30, 5, 3]],
      [{ idleSeconds: 30, intervalSeconds: 0, probes: 0 }, [1, 30, system('intvl'), system('probes')]],
      [{ idleSeconds: 7200, intervalSeconds: 100_000, probes: 1000 }, [1, 7200, 32_767, 127]],
    ] as const
    for (const [wanted, found] of rows) {
      const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
      t.teardown(() => socket.destroy())
      await once(socket, 'connect')
      t.equal(optionsOf(socket)[0], 0)
      setKeepalive(socket, wanted)
      t.same(optionsOf(socket), found)
    }
  })
}
