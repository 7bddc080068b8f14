// Hot lane: once per accepted connection of an intercepting listener. Where iptables or nftables redirected a connection, the kernel's
// connection tracking knows where its client wanted to go; where TPROXY did, that is the socket's own address. It costs about a microsecond
// beside Node's getsockname (bench/micro/sys/original-destination.ts).

import type net from 'node:net'
import { endianness } from 'node:os'
import { fdOf } from './descriptor.ts'
import { type Libc, libc, type NativeMemory } from './libc.ts'
import { addressOf, portOf, SOCKADDR_MAX, unmappedAddress } from './sockaddr.ts'

/** `address` is IPv4 or IPv6 in its one written form, never IPv4 written as IPv6. */
export interface OriginalDestination {
  readonly address: string
  readonly port: number
}

const SOL_IP = 0
const SOL_IPV6 = 41
/** SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and IP6T_SO_ORIGINAL_DST. */
const SO_ORIGINAL_DST = 80

interface Scratch {
  readonly libc: Libc
  readonly name: NativeMemory
  readonly length: NativeMemory
}

let scratch: Scratch | null | undefined

function prepare(): Scratch | null {
  const c = libc()
  if (c === null) return null
  return { libc: c, name: c.alloc(SOCKADDR_MAX), length: c.alloc(4) }
}

/**
 * Where the client of an accepted connection wanted to go, as ztunnel finds it: the kernel's answer for IPv4, that for IPv6, else the socket's
 * own address, which is right under TPROXY and for a connection that nobody redirected. The latter then has the listener's own port: it must
 * never be dialled. Null when the connection is gone already.
 *
 * Without koffi it is always the socket's own address; `missing` of capabilities.ts says so at start.
 */
export function originalDestination(socket: net.Socket): OriginalDestination | null {
  const local = socket.localAddress
  if (local === undefined) return null
  if (scratch === undefined) scratch = prepare()
  const fd = fdOf(socket)
  if (scratch !== null && fd >= 0) {
    const v4 = !local.includes(':') || unmappedAddress(local) !== local
    if (ask(scratch, fd, v4 ? SOL_IP : SOL_IPV6)) {
      const { bytes } = scratch.name
      return { address: addressOf(bytes), port: portOf(bytes) }
    }
  }
  return { address: unmappedAddress(local), port: socket.localPort as number }
}

const LENGTH_AT = endianness() === 'LE' ? 0 : 3

/** False: the connection was not tracked, or conntrack is not there. */
function ask({ libc, name, length }: Scratch, fd: number, level: number): boolean {
  length.bytes[LENGTH_AT] = SOCKADDR_MAX
  return libc.getsockopt(fd, level, SO_ORIGINAL_DST, name.address, length.address) === 0
}
