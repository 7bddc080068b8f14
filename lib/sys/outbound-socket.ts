// Hot lane: connections to an endpoint that need more than an address and a port: a mark, a source address that may be a client's, another
// network namespace. Node makes a socket and connects it in one step, which is too late for any of these; here the socket is made first.
import net from 'node:net'
import { type Libc, libc, type NativeMemory, noLibcError, systemError } from './libc.ts'
import { type Netns, tcpSocket } from './netns.ts'
import { AF_INET, AF_INET6, SOCKADDR_MAX, writeSockaddr } from './sockaddr.ts'
import { setBindNoPort, setFreebind, setMark, setNoDelay, setTransparent } from './socket-options.ts'

/** Compiled once, used for each connection; all of its fields may be off. */
export interface OutboundOptions {
  /** The address to come from, of the target's family; null: the system's choice. */
  readonly source: string | null
  /** The source may be an address of another machine: IP_TRANSPARENT and IP_FREEBIND. */
  readonly foreignSource: boolean
  /** SO_MARK; 0: none. */
  readonly mark: number
  /** Null: this thread's own. */
  readonly netns: Netns | null
}

/** Where an inbound proxy's connections to its application come from, so that iptables let them pass (Istio's rules). ::6 must be added to lo. */
export const INBOUND_SOURCE_V4 = '127.0.0.6'
export const INBOUND_SOURCE_V6 = '::6'

/** The source for a target address. */
export function inboundSource(target: string): string {
  return target.includes(':') ? INBOUND_SOURCE_V6 : INBOUND_SOURCE_V4
}

/**
 * Begins to connect to an IP address, as `net.connect` does: half-open allowed, without Nagle's delay. Never throws: what goes wrong comes as
 * the socket's `error` in a later turn, with an errno in `code` (EPERM: a capability is missing; ENOSYS: koffi is).
 *
 * Without koffi only a source address of this machine can be had.
 */
export function connectFrom(options: OutboundOptions, address: string, port: number): net.Socket {
  const { source, foreignSource, mark, netns } = options
  const c = libc()
  if (source === null && mark === 0 && netns === null) {
    return net.connect({ host: address, port, noDelay: true, allowHalfOpen: true })
  }
  if (c === null) {
    if (mark !== 0 || netns !== null || foreignSource) return failed(noLibcError())
    return net.connect({ host: address, port, localAddress: source as string, noDelay: true, allowHalfOpen: true })
  }
  let fd = -1
  try {
    fd = preparedSocket(c, options, address.includes(':') ? AF_INET6 : AF_INET)
    // `manualStart` and no reading yet: Node takes the descriptor for a connected socket otherwise, and never emits `connect`.
    const socket = new net.Socket({ fd, manualStart: true, allowHalfOpen: true } as net.SocketConstructorOpts)
    fd = -1
    return socket.connect({ host: address, port })
  } catch (error) {
    if (fd >= 0) c.close(fd)
    return failed(error as Error)
  }
}

let name: NativeMemory | undefined

/** Bound, with its options. Throws an errno in `code`; then nothing stays open. */
function preparedSocket(c: Libc, { source, foreignSource, mark, netns }: OutboundOptions, domain: number): number {
  const fd = tcpSocket(c, domain, netns)
  const failure = configure(c, fd, domain, mark, source, foreignSource)
  if (failure === '') return fd
  const error = systemError(c, failure, source ?? '')
  c.close(fd)
  throw error
}

/** Which step failed; empty: none. */
function configure(c: Libc, fd: number, domain: number, mark: number, source: string | null, foreign: boolean): string {
  setNoDelay(c, fd)
  if (mark !== 0 && !setMark(c, fd, mark)) return 'setsockopt SO_MARK'
  if (source === null) return ''
  if (foreign && !(setTransparent(c, fd, domain) && setFreebind(c, fd, domain))) return 'setsockopt IP_TRANSPARENT'
  setBindNoPort(c, fd)
  name ??= c.alloc(SOCKADDR_MAX)
  const length = writeSockaddr(name.bytes, source, 0)
  return c.bind(fd, name.address, length) === 0 ? '' : 'bind'
}

/** A socket that says in a later turn why it is none. */
function failed(error: Error): net.Socket {
  return new net.Socket({ allowHalfOpen: true }).destroy(error)
}
