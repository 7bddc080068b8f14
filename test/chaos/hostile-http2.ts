// A hostile upstream's side of one HTTP/2 connection: Node's implementation where it behaves, bytes of our own where it does not.
import http2 from 'node:http2'
import type net from 'node:net'
import type { Duplex } from 'node:stream'
import { pause } from '../support/eventually.ts'
import { fedDuplex } from '../support/fed-duplex.ts'
import { resetNow } from '../support/http2-client.ts'
import { resetSocket } from '../support/wire.ts'
import type { Act } from './act.ts'
import { contentOf, differsAt } from './content.ts'
import { MARK } from './hostile-answer.ts'
import type { HostileOptions } from './hostile-upstream.ts'

/** Frames that break the rules: DATA on stream 0, WINDOW_UPDATE of nothing, a frame larger than any may be (RFC 9113 §6.1, §6.9, §4.2). */
const GARBAGE = [
  Buffer.from([0, 0, 1, 0, 0, 0, 0, 0, 0, 0x78]),
  Buffer.from([0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
  Buffer.from('no frame of HTTP/2 at all\r\n\r\n', 'latin1'),
]

export class Http2Conversation {
  private readonly socket: net.Socket
  private readonly options: HostileOptions
  private readonly duplex: Duplex
  private readonly session: http2.ServerHttp2Session

  constructor(socket: net.Socket, options: HostileOptions) {
    this.socket = socket
    this.options = options
    this.duplex = fedDuplex(socket)
    this.session = http2.performServerHandshake(this.duplex)
    this.session.on('error', () => {})
    this.session.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
      stream.on('error', () => {})
      this.begin(stream, headers).catch((error: Error) => options.onWrong(error.message))
    })
  }

  /** null: the proxy has ended its half. */
  push(bytes: Buffer | null): void {
    if (!this.duplex.destroyed) this.duplex.push(bytes)
  }

  private async begin(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): Promise<void> {
    const { options } = this
    const path = String(headers[':path'])
    const id = Number(/\/c\/(\d+)$/.exec(path)?.[1] ?? Number.NaN)
    if (Number.isNaN(id)) options.onWrong(`a path that no client sent: ${path}`)
    const attempt = Number(headers['x-envoy-attempt-count'] ?? 1)
    const act = options.act(id, attempt)
    const refused = act.upTo === 0 && act.cut === 'rst' && id % 3 === 0
    // By that code it says that it has not begun with the request (RFC 9113 §8.7): it is no write.
    if (refused) return void stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)
    options.onWrite({ id, attempt, copy: headers['x-envoy-internal'] !== undefined })
    const whole = this.read(stream, headers, id)
    if (!act.early) await whole
    if (act.delayMs > 0) await pause(act.delayMs)
    await this.perform(act, stream, headers, id, attempt)
  }

  /** Resolves with the end of the request, whole or not. */
  private read(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, id: number): Promise<void> {
    const parts: Buffer[] = []
    stream.on('data', (d: Buffer) => parts.push(d))
    return new Promise((resolve) => {
      stream.on('close', () => {
        const body = Buffer.concat(parts)
        const at = differsAt(id, body)
        if (at >= 0) this.options.onWrong(`the body of request ${id} is another one from byte ${at} on`)
        resolve()
      })
      stream.on('end', () => {
        const wanted = headers['x-body-bytes']
        const found = parts.reduce((sum, p) => sum + p.length, 0)
        // Node says `end` also behind a reset.
        if (wanted !== undefined && Number(wanted) !== found && !stream.aborted && stream.rstCode === 0)
          this.options.onWrong(`request ${id}: ${found} bytes of body, not ${wanted}`)
        resolve()
      })
    })
  }

  private async perform(
    act: Act,
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
    id: number,
    attempt: number,
  ): Promise<void> {
    const length = this.options.answerLength(id)
    const bodiless = headers[':method'] === 'HEAD' || act.status === 204 || act.status === 304
    const body = bodiless ? Buffer.alloc(0) : contentOf(id, length)
    if (act.upTo > 0) for (const status of act.interim) inform(stream, status, id)
    if (act.garbage === 'instead') return this.garble(id)
    if (act.upTo === 0) return this.cut(act, stream, id)
    const trailers = act.shape === 'trailers' && !bodiless
    respond(stream, act, `${id}.${attempt}.${length}.${act.shape}`, length, trailers)
    if (act.garbage === 'in-head') return this.garble(id)
    const part = body.subarray(0, act.upTo >= 1 ? body.length : Math.floor(act.upTo * body.length))
    await this.write(stream, part, act.pace)
    if (act.upTo < 1) return this.cut(act, stream, id)
    if (act.garbage === 'in-body') return this.garble(id)
    if (!stream.destroyed) stream.end()
    if (act.garbage === 'behind') return this.garble(id)
    await this.after(act, stream, id)
  }

  private async write(stream: http2.ServerHttp2Stream, bytes: Buffer, pace: Act['pace']): Promise<void> {
    const step = pace === 'trickle' ? 20 : pace === 'halves' ? Math.ceil(bytes.length / 2) : bytes.length
    for (let at = 0; at < bytes.length && !stream.destroyed; at += step) {
      stream.write(bytes.subarray(at, at + step))
      if (step < bytes.length) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Of an answer that is not whole: mostly its stream ends, now and then the connection with all that it carries. */
  private cut(act: Act, stream: http2.ServerHttp2Stream, id: number): void {
    if (act.cut === 'stall' || stream.destroyed) return
    // What was written just now is to arrive before.
    setImmediate(() => {
      if (id % 5 > 0) {
        resetNow(stream, id % 2 === 0 ? 'internal error' : 'cancel')
      } else if (act.cut === 'rst') resetSocket(this.socket)
      else this.socket.end(() => this.socket.destroy())
    })
  }

  /** What a whole answer does to its connection. */
  private async after(act: Act, stream: http2.ServerHttp2Stream, id: number): Promise<void> {
    if (act.after === 'keep') return
    if (act.after === 'late') await pause(id % 7)
    else if (!stream.destroyed) await new Promise((resolve) => stream.once('close', resolve))
    if (this.session.destroyed) return
    // GOAWAY: streams that have begun are carried to their ends.
    if (act.after === 'announced-close' || act.after === 'half-close' || act.after === 'late') this.session.close()
    else if (act.after === 'rst') resetSocket(this.socket)
    else this.socket.end(() => this.socket.destroy())
  }

  private garble(id: number): void {
    if (!this.socket.destroyed) this.socket.write(GARBAGE[id % GARBAGE.length] as Buffer)
  }
}

function inform(stream: http2.ServerHttp2Stream, status: number, id: number): void {
  if (!stream.destroyed) stream.additionalHeaders({ ':status': status, 'x-interim': String(id) })
}

function respond(stream: http2.ServerHttp2Stream, act: Act, mark: string, length: number, trailers: boolean): void {
  if (stream.destroyed) return
  const sized = act.shape === 'length' && act.status !== 204 && act.status !== 304
  const headers = { ':status': act.status, [MARK]: mark, ...(sized ? { 'content-length': String(length) } : {}) }
  stream.respond(headers, { waitForTrailers: trailers })
  if (trailers) stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checked': 'yes' }))
}
