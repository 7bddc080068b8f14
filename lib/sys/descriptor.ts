// Hot lane: file descriptors of Node's sockets, which Node keeps to itself.
import type net from 'node:net'

interface Handle {
  readonly fd: number
}

/** -1 when the socket is closed or has none yet: one that connects by itself gets it in `connect`, not before. */
export function fdOf(socket: net.Socket | net.Server): number {
  return (socket as unknown as { readonly _handle: Handle | null })._handle?.fd ?? -1
}
