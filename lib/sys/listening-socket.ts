// Sockets to listen on that Node cannot make: shared by several workers before Node 22.12, for addresses of other machines (TPROXY), in
// another network namespace.
import { type Libc, systemError } from './libc.ts'
import { type Netns, tcpSocket } from './netns.ts'
import { AF_INET, AF_INET6, portOf, SOCKADDR_MAX, writeSockaddr } from './sockaddr.ts'
import { setIpv6Only, setMark, setReuseAddress, setReusePort, setTransparent } from './socket-options.ts'

export interface ListeningOptions {
  /** SO_REUSEPORT. Without it a port on which somebody listens is EADDRINUSE. */
  readonly shared: boolean
  /** On `::`: for IPv4 too. */
  readonly dualStack: boolean
  /** IP_TRANSPARENT, also of the sockets it accepts. */
  readonly transparent: boolean
  /** SO_MARK, also of the sockets it accepts; 0: none. */
  readonly mark: number
  /** Null: this thread's own. */
  readonly netns: Netns | null
}

/** Bound, not listening. Throws an errno in `code`; then nothing stays open. */
export function boundSocket(c: Libc, address: string, port: number, options: ListeningOptions): number {
  const domain = address.includes(':') ? AF_INET6 : AF_INET
  const fd = tcpSocket(c, domain, options.netns)
  const failure = configure(c, fd, domain, address, port, options)
  if (failure === '') return fd
  const error = systemError(c, failure, `${address}:${port}`)
  c.close(fd)
  throw error
}

/** As `boundSocket`, and listening. */
export function listeningSocket(c: Libc, address: string, port: number, backlog: number, options: ListeningOptions): number {
  const fd = boundSocket(c, address, port, options)
  if (c.listen(fd, backlog) === 0) return fd
  const error = systemError(c, 'listen', `${address}:${port}`)
  c.close(fd)
  throw error
}

/** Of a bound socket. */
export function boundPort(c: Libc, fd: number): number {
  const name = new Uint8Array(SOCKADDR_MAX)
  c.getsockname(fd, name, new Uint8Array(new Int32Array([SOCKADDR_MAX]).buffer))
  return portOf(name)
}

/** Which step failed; empty: none. */
function configure(c: Libc, fd: number, domain: number, address: string, port: number, options: ListeningOptions): string {
  setReuseAddress(c, fd)
  if (options.shared && !setReusePort(c, fd)) return 'setsockopt SO_REUSEPORT'
  if (domain === AF_INET6 && !setIpv6Only(c, fd, !options.dualStack)) return 'setsockopt IPV6_V6ONLY'
  if (options.transparent && !setTransparent(c, fd, domain)) return 'setsockopt IP_TRANSPARENT'
  if (options.mark !== 0 && !setMark(c, fd, options.mark)) return 'setsockopt SO_MARK'
  const sockaddr = new Uint8Array(SOCKADDR_MAX)
  return c.bind(fd, sockaddr, writeSockaddr(sockaddr, address, port)) === 0 ? '' : 'bind'
}
