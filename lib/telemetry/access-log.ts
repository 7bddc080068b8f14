// Access log lines, collected in one fixed buffer while two others are being written asynchronously. A log that cannot be written fast enough
// loses lines, which are counted; it never makes a request wait. Of this file only `log` and `write` are on the hot lane.
//
// A buffer is free → filled (a whole number of lines) → written, one write at a time, so that lines keep their order → free. A
// write that would block (EAGAIN) or was cut short goes on at the next tick. When both buffers are taken, lines collect in
// the third up to its size; beyond that they are dropped.
import * as fs from 'node:fs'
import { latin1Write } from '../base/latin1.ts'
import type { AccessLogFormat } from '../state/bootstrap-config.ts'
import { type AccessFormat, istioLine, jsonLine, textLine } from './access-format.ts'
import type { AccessRecord } from './access-record.ts'
import { tunnelJsonLine, tunnelTextLine } from './tunnel-access.ts'
import type { TunnelRecord } from './tunnel-record.ts'

/** Of each of the two buffers, and of what may wait for one. */
export const BUFFER_BYTES = 64 * 1024
const FLUSH_BYTES = BUFFER_BYTES / 2

/**
 * POSIX PIPE_BUF on Linux: workers share a pipe, and only writes up to this size cannot be mixed with those of others when the
 * pipe is full.
 */
const PIPE_BYTES = 4096

const CLOSE_TIMEOUT_MS = 1000

/** `fs.write` with its five arguments. */
export type WriteCall = (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  callback: (error: NodeJS.ErrnoException | null, written: number) => void,
) => void

const FORMATS: Readonly<Record<AccessLogFormat, AccessFormat>> = { text: textLine, istio: istioLine, json: jsonLine }

export interface AccessLogOptions {
  /** A file, which is created and appended to; `/dev/stdout` and `/dev/stderr` mean the process's own. */
  readonly path: string
  readonly format: AccessLogFormat
  /** Where lines are counted: slots of families ACCESS_LOG_LINES and ACCESS_LOG_DROPPED in this worker's slab. */
  readonly values: Float64Array
  readonly linesSlot: number
  readonly droppedSlot: number
  /** A write failed for another reason than EAGAIN; its lines are dropped and counted. Limit the rate of what you log. */
  readonly onError?: (error: NodeJS.ErrnoException) => void
  /** Default: `fs.write`. */
  readonly write?: WriteCall
  /** How long `close` tries to get the last lines out. Default 1000. */
  readonly closeTimeoutMs?: number
}

/** Lines in a buffer of which the first `length` bytes are to be written and the first `done` have been. */
interface Batch {
  readonly bytes: Buffer
  length: number
  done: number
}

export class AccessLog {
  readonly #path: string
  readonly #format: AccessFormat
  readonly #tunnelFormat: (rec: TunnelRecord) => string
  readonly #values: Float64Array
  readonly #linesSlot: number
  readonly #droppedSlot: number
  readonly #onError: (error: NodeJS.ErrnoException) => void
  readonly #writeCall: WriteCall
  readonly #closeTimeoutMs: number
  readonly #free: Batch[]
  /** Filled, in order; the first is being written if `#writing`. At most two. */
  readonly #full: Batch[]
  #fd: number
  #maxWrite: number
  /** A write is with the kernel. */
  #writing: boolean
  /** The last write would have blocked; the next tick tries again. */
  #blocked: boolean
  /** `reopen` was called while a write was with the kernel. */
  #reopenWanted: boolean
  /** Where lines collect; given to the kernel as a whole. */
  #filling: Batch
  #closed: boolean
  #onIdle: (() => void) | null

  /** Throws an Error that names accessLog.path when the file cannot be opened. */
  constructor(options: AccessLogOptions) {
    this.#path = options.path
    this.#format = FORMATS[options.format]
    this.#tunnelFormat = options.format === 'json' ? tunnelJsonLine : tunnelTextLine
    this.#values = options.values
    this.#linesSlot = options.linesSlot
    this.#droppedSlot = options.droppedSlot
    this.#onError = options.onError ?? ignore
    this.#writeCall = options.write ?? writeToFile
    this.#closeTimeoutMs = options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS
    this.#free = [newBatch(), newBatch()]
    this.#full = []
    const opened = openLog(options.path)
    this.#fd = opened.fd
    this.#maxWrite = opened.maxWrite
    this.#writing = false
    this.#blocked = false
    this.#reopenWanted = false
    this.#filling = newBatch()
    this.#closed = false
    this.#onIdle = null
  }

  /** At the end of a request or TCP session. The record is read now and not kept. */
  log(rec: AccessRecord): void {
    this.write(this.#format(rec))
  }

  /** At the end of a connection of a node's tunnel. */
  logTunnel(rec: TunnelRecord): void {
    this.write(this.#tunnelFormat(rec))
  }

  /** One character for each byte. */
  write(line: string): void {
    if (this.#closed) {
      this.#drop(1)
      return
    }
    if (this.#filling.length + line.length > BUFFER_BYTES) {
      this.#lineBeyondBuffer(line)
      return
    }
    this.#append(line)
    if (this.#filling.length >= FLUSH_BYTES) this.flush()
  }

  /** Call it every 100 to 200 ms: writes what waits, and tries again what would have blocked. */
  tick(): void {
    this.#blocked = false
    this.flush()
  }

  /** Hands what waits to a free buffer, if there is one, and starts writing. Does not wait. */
  flush(): void {
    const next = this.#filling.length === 0 ? undefined : this.#free.pop()
    if (next !== undefined) {
      this.#full.push(this.#filling)
      next.length = 0
      next.done = 0
      this.#filling = next
    }
    if (!this.#writing && !this.#blocked) this.#writeNext()
  }

  /** The file was moved away (log rotation): go on in a new one of the same name. Standard streams stay. */
  reopen(): void {
    if (this.#writing) {
      this.#reopenWanted = true
      return
    }
    this.#reopenWanted = false
    if (isStandard(this.#path)) return
    try {
      const opened = openLog(this.#path)
      this.#closeFile()
      this.#fd = opened.fd
      this.#maxWrite = opened.maxWrite
    } catch (error) {
      this.#onError(error as NodeJS.ErrnoException) // the old file is still there
    }
  }

  /** Writes what is left, for `closeTimeoutMs` at most; what then still waits is dropped and counted. No `log` after it. */
  async close(): Promise<void> {
    if (this.#closed) return
    const deadline = performance.now() + this.#closeTimeoutMs
    this.tick()
    while (this.#writing || this.#full.length > 0) {
      const left = deadline - performance.now()
      await this.#idleOr(this.#blocked ? Math.min(left, 10) : left)
      if (performance.now() >= deadline) break
      this.tick()
    }
    this.#closed = true
    for (const batch of this.#full) this.#drop(linesFrom(batch))
    this.#drop(linesFrom(this.#filling))
    this.#full.length = 0
    this.#filling.length = 0
    // While a write is with the kernel its descriptor must not be given to somebody else: then #written closes it.
    if (!this.#writing) this.#closeFile()
  }

  #closeFile(): void {
    if (this.#fd > 2) fs.closeSync(this.#fd)
  }

  /** Until nothing is being written any more. */
  #idleOr(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#onIdle = () => {
        clearTimeout(timer)
        this.#onIdle = null
        resolve()
      }
    })
  }

  #lineBeyondBuffer(line: string): void {
    this.flush()
    if (this.#filling.length + line.length > BUFFER_BYTES) this.#drop(1)
    else this.#append(line)
  }

  /** Into the buffer at once: text that waited would be moved about by every garbage collection until it leaves. */
  #append(line: string): void {
    const { bytes, length } = this.#filling
    this.#values[this.#linesSlot]! += 1
    this.#filling.length = length + latin1Write(bytes, line, length)
  }

  #drop(lines: number): void {
    this.#values[this.#droppedSlot]! += lines
  }

  #writeNext(): void {
    const batch = this.#full[0]
    if (batch === undefined) return
    this.#writing = true
    const end = chunkEnd(batch.bytes, batch.done, batch.length, this.#maxWrite)
    this.#writeCall(this.#fd, batch.bytes, batch.done, end - batch.done, (error, written) => this.#written(error, written))
  }

  #written(error: NodeJS.ErrnoException | null, written: number): void {
    this.#writing = false
    const batch = this.#full[0]
    if (batch === undefined) {
      this.#closeFile() // `close` gave up waiting for this write
      return
    }
    if (error === null) {
      batch.done += written
      if (written === 0) this.#blocked = true
    } else if (error.code === 'EAGAIN' || error.code === 'EWOULDBLOCK') {
      this.#blocked = true
    } else {
      this.#drop(linesFrom(batch))
      batch.done = batch.length
      this.#onError(error)
    }
    if (batch.done === batch.length) this.#free.push(this.#full.shift() as Batch)
    if (this.#reopenWanted) this.reopen()
    if (!this.#blocked) this.#writeNext()
    if (this.#filling.length >= FLUSH_BYTES) this.flush()
    if (!this.#writing && this.#onIdle !== null) this.#onIdle()
  }
}

function newBatch(): Batch {
  // Not from the pool: it lives as long as the worker.
  return { bytes: Buffer.allocUnsafeSlow(BUFFER_BYTES), length: 0, done: 0 }
}

/** Where to end a write: everything, or whole lines up to `max` bytes, or one line that is longer. */
function chunkEnd(bytes: Buffer, start: number, end: number, max: number): number {
  if (end - start <= max) return end
  const newline = bytes.lastIndexOf(0x0a, start + max - 1)
  if (newline >= start) return newline + 1
  const next = bytes.indexOf(0x0a, start)
  // A format of configuration need not end its lines.
  return next < 0 || next >= end ? end : next + 1
}

function linesFrom(batch: Batch): number {
  let lines = 0
  for (let i = batch.done; i < batch.length; i++) if (batch.bytes[i] === 0x0a) lines++
  return lines
}

function isStandard(path: string): boolean {
  return path === '/dev/stdout' || path === '/dev/stderr'
}

/**
 * Pipes are opened anew through /proc, which gives a non-blocking description of our own: the shared one may not be changed, and
 * a blocking write to a pipe that nobody reads would take a thread of libuv's pool, which name look-ups need.
 */
function openLog(path: string): { fd: number; maxWrite: number } {
  const flags = fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_NONBLOCK
  if (!isStandard(path)) {
    try {
      const fd = fs.openSync(path, flags | fs.constants.O_CREAT, 0o644)
      return { fd, maxWrite: fs.fstatSync(fd).isFIFO() ? PIPE_BYTES : BUFFER_BYTES }
    } catch (error) {
      throw new Error(openErrorText(path, error as NodeJS.ErrnoException), { cause: error })
    }
  }
  const fd = path === '/dev/stdout' ? 1 : 2
  try {
    if (!fs.fstatSync(fd).isFIFO()) return { fd, maxWrite: BUFFER_BYTES }
    return { fd: fs.openSync(`/proc/self/fd/${fd}`, flags), maxWrite: PIPE_BYTES }
  } catch {
    return { fd, maxWrite: PIPE_BYTES } // no /proc, or the stream is closed: writes will tell
  }
}

function openErrorText(path: string, error: NodeJS.ErrnoException): string {
  const why = error.code === 'ENXIO' ? 'it is a named pipe that nobody reads' : error.message
  return `accessLog.path ${path} cannot be opened for writing: ${why}; name a file in a folder that this user may write, /dev/stdout, or null for no access log`
}

function writeToFile(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  callback: (error: NodeJS.ErrnoException | null, written: number) => void,
): void {
  fs.write(fd, buffer, offset, length, null, callback)
}

function ignore(): void {}
