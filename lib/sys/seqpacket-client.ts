// A client of a unix socket of type SOCK_SEQPACKET, which Node does not have: packets with their bounds, and with file descriptors
// (unix(7), SCM_RIGHTS). So the CNI agent of a node hands over the network namespaces of its pods. Descriptors are the whole process's: a
// worker opens a namespace anew by `/proc/self/fd/N`.
import { constants, endianness } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { errnoError, type Libc, libc, type NativeMemory, noLibcError, type Poll, systemError } from './libc.ts'

/** What comes. Nothing is called any more behind `close` and `onEnd`. */
export interface SeqpacketOwner {
  /**
   * One packet; `bytes` is a copy. The descriptors are the owner's from now on: it closes them. `whole` is false when the packet was longer than
   * the longest that is taken, or brought more descriptors than are: the rest is lost, and nothing of it is open.
   */
  onPacket(bytes: Uint8Array, descriptors: readonly number[], whole: boolean): void
  /** Once, in a later turn: the peer has closed (null), or an errno in `code`. */
  onEnd(error: NodeJS.ErrnoException | null): void
}

export interface SeqpacketOptions {
  /** 1024 */
  readonly longestPacket?: number
  /** 16 */
  readonly mostDescriptors?: number
}

const AF_UNIX = 1
const SOCK_SEQPACKET = 5
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CTRUNC = 0x8
const MSG_TRUNC = 0x20
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000

/** struct sockaddr_un: the family and 108 bytes of path, of which the last is 0. */
const SOCKADDR_UN = 110
/** struct msghdr and iovec of 64-bit systems. */
const MSGHDR = { iov: 16, iovlen: 24, control: 32, controllen: 40, flags: 48, size: 56 } as const
const IOVEC = 16
/** struct cmsghdr, in front of its data, and to what it is aligned. */
const CMSGHDR = 16
const CMSG_ALIGN = 8
/** Packets taken before other events have their turn. */
const PACKETS_PER_TURN = 16

const LITTLE = endianness() === 'LE'

export class SeqpacketClient {
  private readonly libc: Libc
  private readonly owner: SeqpacketOwner
  private readonly fd: number
  private readonly inbox: Inbox
  /** Kept, since the watch ends when it is forgotten. */
  private readonly watch: Poll
  private open: boolean
  private scheduled: boolean

  private constructor(c: Libc, fd: number, owner: SeqpacketOwner, inbox: Inbox) {
    this.libc = c
    this.owner = owner
    this.fd = fd
    this.inbox = inbox
    this.open = true
    this.scheduled = false
    this.watch = c.poll(fd, () => this.readable())
  }

  /**
   * Connects at once: throws an errno in `code`, of which ENOENT and ECONNREFUSED say that nobody listens, EAGAIN that too many wait, and
   * ENOSYS that koffi is missing.
   * On the main thread alone: see `Libc.poll`.
   */
  static connect(path: string, owner: SeqpacketOwner, options: SeqpacketOptions = {}): SeqpacketClient {
    if (!isMainThread) throw new Error('a SeqpacketClient belongs to the main thread')
    const c = libc()
    if (c === null) throw noLibcError()
    const name = unixAddress(path)
    const fd = c.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if (fd < 0) throw systemError(c, 'socket', path)
    if (c.connect(fd, name, name.length) !== 0) {
      const error = systemError(c, 'connect', path)
      c.close(fd)
      throw error
    }
    return new SeqpacketClient(c, fd, owner, takeInbox(c, options))
  }

  /** One packet. What goes wrong comes as `onEnd`, also EAGAIN: of a peer that takes nothing any more. */
  send(bytes: Uint8Array): void {
    if (!this.open) return
    if (this.libc.send(this.fd, bytes, bytes.length, MSG_NOSIGNAL | MSG_DONTWAIT) === bytes.length) return
    this.endLater(systemError(this.libc, 'send', ''))
  }

  /** May be called twice. */
  close(): void {
    if (!this.open) return
    this.open = false
    this.watch.close()
    this.libc.close(this.fd)
    inboxes.push(this.inbox)
  }

  /** koffi calls outside of Node's own frame for callbacks, behind which no promise would go on: so the next step is one of Node's. */
  private readable(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => this.drain())
  }

  private drain(): void {
    this.scheduled = false
    for (let i = 0; i < PACKETS_PER_TURN && this.open; i++) {
      const length = this.inbox.receive(this.libc, this.fd)
      if (length > 0) {
        const { bytes, descriptors, whole } = this.inbox.take(length)
        this.owner.onPacket(bytes, descriptors, whole)
        continue
      }
      const errno = length === 0 ? 0 : this.libc.errno()
      if (errno === constants.errno.EAGAIN || errno === constants.errno.EINTR) return
      // An empty packet and the end look the same; the protocols that are spoken here have none.
      this.close()
      this.owner.onEnd(length === 0 ? null : errnoError(errno, 'recvmsg', ''))
    }
  }

  private endLater(error: NodeJS.ErrnoException): void {
    this.close()
    setImmediate(() => this.owner.onEnd(error))
  }
}

/** Where a packet and its descriptors are received; native memory, since its structs point to each other. */
class Inbox {
  readonly longestPacket: number
  readonly mostDescriptors: number
  private readonly message: NativeMemory
  private readonly messageView: DataView
  private readonly control: NativeMemory
  private readonly controlView: DataView
  private readonly packet: NativeMemory

  constructor(c: Libc, longestPacket: number, mostDescriptors: number) {
    this.longestPacket = longestPacket
    this.mostDescriptors = mostDescriptors
    this.message = c.alloc(MSGHDR.size)
    // Without the padding behind the last, in which the system would put one more.
    this.control = c.alloc(CMSGHDR + 4 * mostDescriptors)
    this.packet = c.alloc(longestPacket)
    this.messageView = viewOf(this.message)
    this.controlView = viewOf(this.control)
    const vector = c.alloc(IOVEC)
    viewOf(vector).setBigUint64(0, this.packet.address, LITTLE)
    viewOf(vector).setBigUint64(8, BigInt(longestPacket), LITTLE)
    this.messageView.setBigUint64(MSGHDR.iov, vector.address, LITTLE)
    this.messageView.setBigUint64(MSGHDR.iovlen, 1n, LITTLE)
    this.messageView.setBigUint64(MSGHDR.control, this.control.address, LITTLE)
  }

  /** What recvmsg returns. */
  receive(c: Libc, fd: number): number {
    this.messageView.setBigUint64(MSGHDR.controllen, BigInt(this.control.bytes.length), LITTLE)
    this.messageView.setInt32(MSGHDR.flags, 0, LITTLE)
    return c.recvmsg(fd, this.message.address, MSG_CMSG_CLOEXEC | MSG_DONTWAIT)
  }

  take(length: number): { bytes: Uint8Array; descriptors: readonly number[]; whole: boolean } {
    const flags = this.messageView.getInt32(MSGHDR.flags, LITTLE)
    return {
      bytes: this.packet.bytes.slice(0, length),
      descriptors: this.descriptors(),
      whole: (flags & (MSG_TRUNC | MSG_CTRUNC)) === 0,
    }
  }

  private descriptors(): number[] {
    const found: number[] = []
    const end = Number(this.messageView.getBigUint64(MSGHDR.controllen, LITTLE))
    for (let at = 0; at + CMSGHDR <= end; ) {
      const length = Number(this.controlView.getBigUint64(at, LITTLE))
      if (length < CMSGHDR) break
      const rights =
        this.controlView.getInt32(at + 8, LITTLE) === SOL_SOCKET && this.controlView.getInt32(at + 12, LITTLE) === SCM_RIGHTS
      for (let i = CMSGHDR; rights && i + 4 <= length; i += 4) found.push(this.controlView.getInt32(at + i, LITTLE))
      at += aligned(length)
    }
    return found
  }
}

/** Of clients that are closed: a client that connects anew for days takes no more memory. */
const inboxes: Inbox[] = []

function takeInbox(c: Libc, { longestPacket = 1024, mostDescriptors = 16 }: SeqpacketOptions): Inbox {
  const at = inboxes.findIndex((i) => i.longestPacket === longestPacket && i.mostDescriptors === mostDescriptors)
  return at >= 0 ? (inboxes.splice(at, 1)[0] as Inbox) : new Inbox(c, longestPacket, mostDescriptors)
}

function viewOf(memory: NativeMemory): DataView {
  return new DataView(memory.bytes.buffer)
}

function aligned(length: number): number {
  return Math.ceil(length / CMSG_ALIGN) * CMSG_ALIGN
}

/** A path that begins with `@` is one of the abstract namespace. Throws ENAMETOOLONG beyond 107 bytes. */
function unixAddress(path: string): Uint8Array {
  const text = Buffer.from(path)
  if (text.length > SOCKADDR_UN - 3) throw errnoError(constants.errno.ENAMETOOLONG, 'connect', path)
  const abstract = text[0] === 0x40
  const name = new Uint8Array(2 + text.length + (abstract ? 0 : 1))
  name[LITTLE ? 0 : 1] = AF_UNIX
  name.set(text, 2)
  if (abstract) name[2] = 0
  return name
}
