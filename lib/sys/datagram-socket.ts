// UDP sockets that Node cannot make: with a mark, in another network namespace.
import { type Libc, systemError } from './libc.ts'
import { type Netns, udpSocket } from './netns.ts'
import { AF_INET, AF_INET6, SOCKADDR_MAX, writeSockaddr } from './sockaddr.ts'
import { setIpv6Only, setMark } from './socket-options.ts'

export interface DatagramOptions {
  /** SO_MARK; 0: none. */
  readonly mark: number
  /** Null: this thread's own. */
  readonly netns: Netns | null
}

/** Bound, its descriptor. `port` 0: the system chooses one. Throws an errno in `code`; then nothing stays open. */
export function boundDatagramSocket(c: Libc, address: string, port: number, { mark, netns }: DatagramOptions): number {
  const domain = address.includes(':') ? AF_INET6 : AF_INET
  const fd = udpSocket(c, domain, netns)
  const failure = configure(c, fd, domain, address, port, mark)
  if (failure === '') return fd
  const error = systemError(c, failure, `${address}:${port}`)
  c.close(fd)
  throw error
}

/** Which step failed; empty: none. */
function configure(c: Libc, fd: number, domain: number, address: string, port: number, mark: number): string {
  if (domain === AF_INET6 && !setIpv6Only(c, fd, true)) return 'setsockopt IPV6_V6ONLY'
  if (mark !== 0 && !setMark(c, fd, mark)) return 'setsockopt SO_MARK'
  const sockaddr = new Uint8Array(SOCKADDR_MAX)
  return c.bind(fd, sockaddr, writeSockaddr(sockaddr, address, port)) === 0 ? '' : 'bind'
}
