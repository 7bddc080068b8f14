import net from 'node:net'
import { within } from './eventually.ts'
import { block, END, type Frame, frame, frames, PREFACE, settings, told, WHOLE } from './http2-frames.ts'
import type { Teardown } from './teardown.ts'
import { Wire } from './wire.ts'

export type Fields = readonly (readonly [string, string])[]

/** An HTTP/2 client that can send what no library would: frames as given. It acknowledges nothing by itself. */
export class Http2Wire extends Wire {
  static async connect(t: Teardown, port: number): Promise<Http2Wire> {
    const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true })
    t.teardown(() => socket.destroy())
    await within(`a connection to ${port}`, new Promise<void>((resolve) => void socket.once('connect', () => resolve())))
    return new Http2Wire(socket)
  }

  /** Preface, SETTINGS (pairs of id and value), and the acknowledgement of the other side's. */
  static async greeted(t: Teardown, port: number, ...pairs: readonly (readonly [number, number])[]): Promise<Http2Wire> {
    const wire = await Http2Wire.connect(t, port)
    await wire.write(Buffer.concat([PREFACE, settings(...pairs), frame('SETTINGS', 1, 0)]))
    await wire.untilTold('SETTINGS ack')
    return wire
  }

  /** All whole frames so far. */
  frames(): Frame[] {
    return frames(this.received)
  }

  /** `told` of each of them. */
  told(): string[] {
    return this.frames().map(told)
  }

  /** Waits for a frame. */
  async untilTold(what: string | RegExp, budgetMs = 10_000): Promise<string> {
    const find = () => this.told().find((s) => (typeof what === 'string' ? s === what : what.test(s)))
    await this.until(
      `${what}`,
      () => {
        if (find() !== undefined) return true
        if (this.closedBy !== null) throw new Error(`closed (${this.closedBy}) before ${what}: ${this.told().join(', ')}`)
        return false
      },
      budgetMs,
    ).catch((error: Error) => {
      throw new Error(`${error.message}; frames: ${this.told().slice(-20).join(', ')}`)
    })
    return find() as string
  }

  /** HEADERS of a request with its pseudo-headers as given. */
  ask(id: number, fields: Fields, end = true): Promise<void> {
    return this.write(frame('HEADERS', WHOLE | (end ? END : 0), id, block(...fields)))
  }

  data(id: number, bytes: string | Buffer, end = true): Promise<void> {
    return this.write(frame('DATA', end ? END : 0, id, bytes))
  }
}

/** Pseudo-headers of a request in the usual order. */
export function pseudo(method: string, path: string, authority: string, scheme = 'http'): Fields {
  return [
    [':method', method],
    [':scheme', scheme],
    [':path', path],
    [':authority', authority],
  ]
}
