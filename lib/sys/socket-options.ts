// Hot lane: options of sockets that Node does not know, by descriptor. Each function says whether the kernel took it; why not is in errno.
import { endianness } from 'node:os'
import type { Libc, NativeMemory } from './libc.ts'
import { AF_INET6 } from './sockaddr.ts'

const LITTLE = endianness() === 'LE'

export const SOL_IP = 0
export const SOL_SOCKET = 1
export const IPPROTO_TCP = 6
export const SOL_IPV6 = 41

const SO_REUSEADDR = 2
const SO_REUSEPORT = 15
const SO_MARK = 36
const IP_FREEBIND = 15
const IP_TRANSPARENT = 19
const IP_BIND_ADDRESS_NO_PORT = 24
const IPV6_V6ONLY = 26
const IPV6_TRANSPARENT = 75
const IPV6_FREEBIND = 78
const TCP_NODELAY = 1

let memory: { readonly native: NativeMemory; readonly view: DataView } | undefined

/** An int, as most options are. */
export function setInt(c: Libc, fd: number, level: number, option: number, value: number): boolean {
  if (memory === undefined) {
    const native = c.alloc(4)
    memory = { native, view: new DataView(native.bytes.buffer) }
  }
  memory.view.setInt32(0, value, LITTLE)
  return c.setsockopt(fd, level, option, memory.native.address, 4) === 0
}

export function setReuseAddress(c: Libc, fd: number): boolean {
  return setInt(c, fd, SOL_SOCKET, SO_REUSEADDR, 1)
}

/** Several sockets may listen on one port; the kernel spreads connections over them. */
export function setReusePort(c: Libc, fd: number): boolean {
  return setInt(c, fd, SOL_SOCKET, SO_REUSEPORT, 1)
}

/** Whether a listener on `::` leaves IPv4 alone, whatever the system's default. */
export function setIpv6Only(c: Libc, fd: number, only: boolean): boolean {
  return setInt(c, fd, SOL_IPV6, IPV6_V6ONLY, only ? 1 : 0)
}

/** SO_MARK of every packet: what iptables and routing rules recognise our own traffic by. Needs CAP_NET_ADMIN or, from Linux 5.17, CAP_NET_RAW. */
export function setMark(c: Libc, fd: number, mark: number): boolean {
  return setInt(c, fd, SOL_SOCKET, SO_MARK, mark)
}

/**
 * The socket may have, and listen for, addresses of other machines: for a TPROXY listener (accepted sockets inherit it) and to speak to an
 * application with its client's address. Needs CAP_NET_ADMIN or CAP_NET_RAW.
 */
export function setTransparent(c: Libc, fd: number, family: number): boolean {
  return family === AF_INET6 ? setInt(c, fd, SOL_IPV6, IPV6_TRANSPARENT, 1) : setInt(c, fd, SOL_IP, IP_TRANSPARENT, 1)
}

/** Bind may name an address that no interface has (ip(7)). */
export function setFreebind(c: Libc, fd: number, family: number): boolean {
  return family === AF_INET6 ? setInt(c, fd, SOL_IPV6, IPV6_FREEBIND, 1) : setInt(c, fd, SOL_IP, IP_FREEBIND, 1)
}

/**
 * Bind with port 0 leaves the choice of the port to connect, which may take one that is in use towards another destination. Without it one
 * source address has 28,000 connections in all, and not to each destination. Of both families at this level.
 */
export function setBindNoPort(c: Libc, fd: number): boolean {
  return setInt(c, fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
}

export function setNoDelay(c: Libc, fd: number): boolean {
  return setInt(c, fd, IPPROTO_TCP, TCP_NODELAY, 1)
}
