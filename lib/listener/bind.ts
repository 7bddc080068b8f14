// Listening sockets that several workers share by SO_REUSEPORT: the kernel spreads connections over them, and a worker that dies takes only its
// own socket with it. Node sets the option itself from 22.12 on; before, and for what Node cannot do at all, the socket is made by
// system calls. Where neither is there, one worker listens alone.
import net from 'node:net'
import type { Listener } from '../state/listener.ts'
import { loadLibc, noLibcError } from '../sys/libc.ts'
import { boundPort, boundSocket, type ListeningOptions, listeningSocket } from '../sys/listening-socket.ts'

/** A port that is ours from the moment of the check until the workers listen on it. */
export interface Reservation {
  readonly port: number
  close(): void
}

/** What may be asked for beside address and port; with anything but `dualStack` koffi is needed. */
export type ListenOptions = Omit<ListeningOptions, 'shared'>

export const PLAIN_LISTEN: ListenOptions = { dualStack: false, transparent: false, mark: 0, netns: null }

/** What a listener's socket has to be able to do. One that heddle.yaml lists is for the family of its address alone. */
export function listenOptionsOf({ capture, filterChains, origin }: Listener): ListenOptions {
  const forTheMesh = capture !== 'none' || filterChains.some((c) => c.network.kind === 'tunnel')
  return forTheMesh || origin.kind !== 'bootstrap'
    ? { ...PLAIN_LISTEN, dualStack: true, transparent: capture === 'tproxy' }
    : PLAIN_LISTEN
}

const BACKLOG = 4096

/** Node knows the option from 22.12 and 23.1 on. */
function nodeHasReusePort(): boolean {
  const [major, minor] = process.versions.node.split('.').map(Number) as [number, number]
  return process.platform === 'linux' && (major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12))
}

/** Whether several workers can listen on one port here. */
export async function canSharePorts(): Promise<boolean> {
  return nodeHasReusePort() || (await loadLibc()) !== null
}

/**
 * Checks that a port can be bound, and chooses one for port 0. Rejects with an errno in `code` as `listen` would. Until `close` nobody else
 * gets the port, but connections are refused: the socket does not listen.
 */
export async function reserve(address: string, port: number, options = PLAIN_LISTEN): Promise<Reservation> {
  const c = await loadLibc()
  if (c === null) {
    if (needsLibc(options)) throw noLibcError()
    return reserveByListening(address, port, options)
  }
  // Whoever listens there must be noticed before any worker starts: also another heddle, with which SO_REUSEPORT would share the port.
  if (port !== 0) c.close(boundSocket(c, address, port, { ...options, shared: false }))
  const fd = boundSocket(c, address, port, { ...options, shared: true })
  let open = true
  return {
    port: boundPort(c, fd),
    close: () => {
      if (open) c.close(fd)
      open = false
    },
  }
}

async function reserveByListening(address: string, port: number, { dualStack }: ListenOptions): Promise<Reservation> {
  const server = net.createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: address, port, ipv6Only: !dualStack, exclusive: true }, resolve)
  })
  const bound = (server.address() as net.AddressInfo).port
  await new Promise((resolve) => server.close(resolve))
  return { port: bound, close: () => {} }
}

/**
 * Listens; every worker calls it with the same port. Rejects with an errno in `code`: EPERM when a capability is missing, ENOSYS when koffi is.
 * With a namespace it is that one's port.
 */
export async function listen(server: net.Server, address: string, port: number, options = PLAIN_LISTEN): Promise<void> {
  const own = needsLibc(options)
  const c = own || !nodeHasReusePort() ? await loadLibc() : null
  if (own && c === null) throw noLibcError()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    const done = () => {
      server.off('error', reject)
      resolve()
    }
    if (c === null) {
      const shared: net.ListenOptions & { reusePort?: boolean } = {
        host: address,
        port,
        backlog: BACKLOG,
        ipv6Only: !options.dualStack,
      }
      if (nodeHasReusePort()) shared.reusePort = true
      server.listen(shared, done)
      return
    }
    try {
      // Node listens once more, with its own backlog unless told.
      server.listen({ fd: listeningSocket(c, address, port, BACKLOG, { ...options, shared: true }), backlog: BACKLOG }, done)
    } catch (error) {
      server.off('error', reject)
      reject(error as Error)
    }
  })
}

function needsLibc({ transparent, mark, netns }: ListenOptions): boolean {
  return transparent || mark !== 0 || netns !== null
}
