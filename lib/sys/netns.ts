// Network namespaces. A socket belongs to the namespace in which `socket()` was called, for life: where it binds, connects and accepts is
// decided there, whichever thread does it later. So a thread goes into a pod's namespace for that one call and comes back.
//
// `setns` moves the calling thread alone. Every worker makes its own sockets. What a stretch inside must not do: await, start a thread, or
// use the thread pool of libuv, whose threads would stay inside for ever.
import { closeSync, fstatSync, openSync, readFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { errnoError, type Libc, libc, noLibcError, systemError } from './libc.ts'

const CLONE_NEWNET = 0x40000000
const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000

/** An open network namespace: it lives at least as long as this is open. */
export class Netns {
  readonly fd: number
  /** Device and inode, `4:4026531840`: two of them are one namespace when these are equal. */
  readonly identity: string
  private open: boolean

  /** The descriptor is its own from now on. */
  constructor(fd: number) {
    const { dev, ino } = fstatSync(fd)
    this.fd = fd
    this.identity = `${dev}:${ino}`
    this.open = true
  }

  get closed(): boolean {
    return !this.open
  }

  /** Sockets made in it stay. May be called twice. */
  close(): void {
    if (this.open) closeSync(this.fd)
    this.open = false
  }
}

/** By path, such as `/run/netns/blue` or `/proc/17/ns/net`. Throws an errno in `code`. */
export function openNetns(path: string): Netns {
  const fd = openSync(path, 'r')
  try {
    return new Netns(fd)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Of a process. Throws an errno in `code`; ENOENT: there is no such process. */
export function netnsOfPid(pid: number): Netns {
  return openNetns(`/proc/${pid}/ns/net`)
}

let home: Netns | undefined

/** That of this thread, where every stretch returns to. Opened once. */
export function homeNetns(): Netns {
  home ??= openNetns('/proc/thread-self/ns/net')
  return home
}

/**
 * Runs a synchronous stretch inside. Throws what it throws, or an errno in `code` when this thread may not go there (EPERM: without
 * CAP_SYS_ADMIN; EBADF: it is closed), or ENOSYS without koffi.
 *
 * If the way back fails, the thread ends with a line on standard error, and on the main thread the process: from here on its connections
 * would be made in the wrong network.
 */
export function inNetns<T>(netns: Netns, stretch: () => T): T {
  const c = libc()
  if (c === null) throw noLibcError()
  // Its number may be another descriptor's by now.
  if (netns.closed) throw errnoError(constants.errno.EBADF, 'setns', `network namespace ${netns.identity}`)
  const back = homeNetns()
  if (netns.identity === back.identity) return stretch()
  if (c.setns(netns.fd, CLONE_NEWNET) !== 0) throw systemError(c, 'setns', `network namespace ${netns.identity}`)
  try {
    return stretch()
  } finally {
    if (c.setns(back.fd, CLONE_NEWNET) !== 0) cannotReturn(c)
  }
}

/**
 * A TCP socket of a namespace (null: this thread's own), not blocking, closed on exec. Throws an errno in `code`.
 * `domain` is AF_INET or AF_INET6.
 */
export function tcpSocket(c: Libc, domain: number, netns: Netns | null): number {
  return socketOf(c, domain, SOCK_STREAM, netns)
}

/** As `tcpSocket`, for UDP. */
export function udpSocket(c: Libc, domain: number, netns: Netns | null): number {
  return socketOf(c, domain, SOCK_DGRAM, netns)
}

function socketOf(c: Libc, domain: number, type: number, netns: Netns | null): number {
  return netns === null ? makeSocket(c, domain, type) : inNetns(netns, () => makeSocket(c, domain, type))
}

function makeSocket(c: Libc, domain: number, type: number): number {
  const fd = c.socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
  if (fd < 0) throw systemError(c, 'socket', '')
  return fd
}

/** Whether IPv6 is switched off there, so that only IPv4 addresses can be listened on. Throws as `inNetns`. */
export function isIpv6Disabled(netns: Netns): boolean {
  return inNetns(netns, () => {
    try {
      return readFileSync('/proc/sys/net/ipv6/conf/lo/disable_ipv6', 'latin1').trim() === '1'
    } catch {
      return true // a kernel without IPv6
    }
  })
}

function cannotReturn(c: Libc): void {
  const { message } = systemError(c, 'setns', 'own network namespace')
  writeSync(2, `heddle: cannot return from another network namespace (${message}); ending\n`)
  process.exit(1)
}
