// The system calls that Node has no name for, made through koffi, an optional dependency that only this file knows. It is loaded by the
// first caller of a thread. Where it is missing everything works but what this room offers, and `whyNoLibc` says so in one line.
//
// The functions are libc's own: -1 is a failure, and `errno` must be read before any other call. A call costs about half a microsecond more
// than its system call.
import { createRequire } from 'node:module'
import { getSystemErrorName } from 'node:util'

/** Bytes that a call reads or writes: a view, or the address of NativeMemory. */
export type Memory = Uint8Array | bigint

/** Bytes outside of the JavaScript heap. They never move and are never freed, so a struct may point to them; as arguments they cost less than a view. */
export interface NativeMemory {
  readonly address: bigint
  readonly bytes: Uint8Array
}

/** A watch on a descriptor by the thread's event loop, level-triggered. */
export interface Poll {
  close(): void
}

export interface Libc {
  socket(domain: number, type: number, protocol: number): number
  bind(fd: number, address: Memory, length: number): number
  connect(fd: number, address: Memory, length: number): number
  listen(fd: number, backlog: number): number
  getsockname(fd: number, address: Memory, length: Memory): number
  setsockopt(fd: number, level: number, option: number, value: Memory, length: number): number
  getsockopt(fd: number, level: number, option: number, value: Memory, length: Memory): number
  send(fd: number, bytes: Memory, length: number, flags: number): number
  /** `message` is a struct msghdr. */
  recvmsg(fd: number, message: Memory, flags: number): number
  /** Moves the calling thread alone. */
  setns(fd: number, type: number): number
  close(fd: number): number
  errno(): number
  /** Gives free memory of malloc back to the system (`malloc_trim(0)`). Null: this C library has no such call (musl). */
  readonly trim: (() => void) | null
  /** For the life of the thread: take it once. */
  alloc(length: number): NativeMemory
  /**
   * Calls back while something can be read or the peer is gone, outside of the frame behind which promises go on. Keep what it returns. Not in a
   * worker: one that is terminated while it has a watch takes the process with it (koffi 3.3).
   */
  poll(fd: number, readable: () => void): Poll
}

interface Koffi {
  load(name: string | null): { func(signature: string): (...args: unknown[]) => number }
  errno(): number
  alloc(type: string, length: number): bigint
  view(address: bigint, length: number): ArrayBuffer
  readonly node: { poll(fd: number, options: { readable: boolean }, ready: () => void): Poll }
}

let loaded: Libc | null | undefined
let reason = ''

/** Of this thread; loaded now when it was not before. Null where koffi is not installed, or this is not Linux. */
export function libc(): Libc | null {
  if (loaded === undefined) loaded = load()
  return loaded
}

/** As `libc`, for those who have time. */
export function loadLibc(): Promise<Libc | null> {
  return Promise.resolve(libc())
}

/** One line, without a full stop; empty when libc is there. */
export function whyNoLibc(): string {
  return libc() === null ? reason : ''
}

/** What the last call that returned -1 says, as Node's own errors say it. `subject`: what it was about, such as an address. */
export function systemError(c: Libc, call: string, subject: string): NodeJS.ErrnoException {
  return errnoError(c.errno(), call, subject)
}

export function errnoError(errno: number, call: string, subject: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(-errno)
  return Object.assign(new Error(`${call} ${code} ${subject}`.trimEnd()), { errno: -errno, code, syscall: call })
}

/** The error of whoever needs libc and has none. */
export function noLibcError(): NodeJS.ErrnoException {
  return Object.assign(new Error(whyNoLibc()), { code: 'ENOSYS' })
}

function load(): Libc | null {
  if (process.platform !== 'linux') {
    reason = `heddle is not on Linux but on ${process.platform}`
    return null
  }
  try {
    return wrap(createRequire(import.meta.url)('koffi') as Koffi)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const missing = code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND'
    reason = missing ? 'the package koffi is not installed' : `the package koffi cannot be loaded: ${message.split('\n', 1)[0]}`
    return null
  }
}

function wrap(koffi: Koffi): Libc {
  // Node's own symbols: whichever C library it was linked with.
  const lib = koffi.load(null)
  const f = (signature: string): never => lib.func(signature) as never
  return {
    socket: f('int socket(int, int, int)'),
    bind: f('int bind(int, const void *, uint32_t)'),
    connect: f('int connect(int, const void *, uint32_t)'),
    listen: f('int listen(int, int)'),
    getsockname: f('int getsockname(int, void *, void *)'),
    setsockopt: f('int setsockopt(int, int, int, const void *, uint32_t)'),
    getsockopt: f('int getsockopt(int, int, int, void *, void *)'),
    // koffi has no ssize_t.
    send: f('intptr_t send(int, const void *, size_t, int)'),
    recvmsg: f('intptr_t recvmsg(int, void *, int)'),
    setns: f('int setns(int, int)'),
    close: f('int close(int)'),
    errno: () => koffi.errno(),
    trim: trimOf(lib),
    alloc: (length) => {
      const address = koffi.alloc('uint8_t', length)
      const bytes = new Uint8Array(koffi.view(address, length))
      bytes.fill(0)
      return { address, bytes }
    },
    poll: (fd, readable) => koffi.node.poll(fd, { readable: true }, readable),
  }
}

function trimOf(lib: ReturnType<Koffi['load']>): Libc['trim'] {
  try {
    const trim = lib.func('int malloc_trim(size_t)')
    return () => void trim(0)
  } catch {
    return null
  }
}
