// Hot lane: the parts of Node's own stream layer that `net.Socket` uses and does not show. With them a read lands in one buffer
// that all sockets of a thread share, and a write is one call without a Writable around it; together they are worth a fifth of a
// request. They have had the same shape from Node 20 to 26. Where one of them is missing, `INTERNALS` is null and the public
// API does the same work: see Connection.
import net from 'node:net'
import { constants } from 'node:os'

/** The native stream handle of a socket. */
export interface StreamHandle {
  /** Kept by net.Socket: whether reads have been started. */
  reading: boolean
  readonly fd: number
  readStart(): number
  readStop(): number
  useUserBuffer(buffer: Uint8Array): void
  /** 0 or a negative errno. A pipe has none. */
  getpeername?(out: object): number
  /** 0 or a negative errno. Tries to write at once; `req` and the bytes are kept only when the kernel did not take all. */
  writeBuffer(req: object, bytes: Uint8Array): number
}

export interface Internals {
  readonly WriteWrap: new () => object
  /** After a write: did it stay (partly) queued? */
  readonly state: Int32Array
  readonly lastWriteWasAsync: number
  /** Symbols under which a socket keeps its read buffer and the function that takes what was read into it. */
  readonly buffer: symbol
  readonly bufferCallback: symbol
}

/** A socket's handle, or null when it has none any more. */
export function handleOf(socket: net.Socket): StreamHandle | null {
  return (socket as unknown as { _handle: StreamHandle | null })._handle
}

const ENOTCONN = -constants.errno.ENOTCONN

/**
 * Whether the connection was reset, to be asked at its end: libuv calls a reset that comes together with the last bytes an end. A peer that
 * sent FIN still has a name; behind a reset nobody has.
 */
export function wasReset(socket: net.Socket): boolean {
  return handleOf(socket)?.getpeername?.({}) === ENOTCONN
}

function find(): Internals | null {
  if (process.env['HEDDLE_PUBLIC_STREAMS'] === '1') return null
  try {
    const binding = (process as unknown as { binding(name: string): Record<string, unknown> }).binding('stream_wrap')
    // The types know `onread` for connecting sockets only; the constructor has always taken it.
    const options = { onread: { buffer: Buffer.alloc(1), callback: () => true } }
    const probe = new net.Socket(options as net.SocketConstructorOpts)
    const symbols = Object.getOwnPropertySymbols(probe)
    const buffer = symbols.find((s) => s.description === 'kBuffer')
    const bufferCallback = symbols.find((s) => s.description === 'kBufferCb')
    const { WriteWrap, streamBaseState, kLastWriteWasAsync } = binding
    if (typeof WriteWrap !== 'function' || !(streamBaseState instanceof Int32Array) || typeof kLastWriteWasAsync !== 'number')
      return null
    if (buffer === undefined || bufferCallback === undefined) return null
    return {
      WriteWrap: WriteWrap as new () => object,
      state: streamBaseState,
      lastWriteWasAsync: kLastWriteWasAsync,
      buffer,
      bufferCallback,
    }
  } catch {
    return null
  }
}

/** Looked for once a thread; null where this Node does not have them, or with HEDDLE_PUBLIC_STREAMS=1. */
export const INTERNALS: Internals | null = find()
