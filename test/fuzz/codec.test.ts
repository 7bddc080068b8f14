// Whatever comes: nothing is thrown, the pieces do not matter, nothing is read behind what was refused, and what is passed on means to another
// reader what it meant here. The other reader is the kit's, which shares no code with lib/.
import fc from 'fast-check'
import t from 'tap'
import { ClientCodec, type ClientEvents } from '../../lib/http/h1/client-codec.ts'
import { ServerCodec, type ServerEvents } from '../../lib/http/h1/server-codec.ts'
import type { HeaderMap } from '../../lib/http/header-map.ts'
import * as H from '../../lib/http/known-headers.ts'
import { RequestReader, ResponseReader } from '../support/h1-reader.ts'
import { feed, RecordedConnection } from '../unit/http/kit.ts'
import { cut, holds } from './budget.ts'

const LIMITS = { maxHeaders: 100, maxHeaderBytes: 60000 }

/** A proxy without routes: what it takes from one side it says on the other. */
class Relay implements ServerEvents, ClientEvents {
  readonly log: string[]
  readonly down: RecordedConnection
  readonly up: RecordedConnection
  readonly server: ServerCodec
  readonly client: ClientCodec
  private chunked: boolean

  constructor() {
    this.log = []
    this.down = new RecordedConnection()
    this.up = new RecordedConnection()
    this.server = new ServerCodec(this.down.asConnection, this, LIMITS)
    this.client = new ClientCodec(this.up.asConnection, this, LIMITS)
    this.chunked = false
  }

  onRequest(): void {
    const { method, target, headers, bodyLength } = this.server
    this.log.push(`${method} ${target}`)
    headers.removeKnown(H.H_TRANSFER_ENCODING)
    headers.removeKnown(H.H_UPGRADE)
    this.chunked = bodyLength < 0
    this.client.sendHeaders(method === 'CONNECT' ? 'GET' : method, target, headers.serialise(), this.chunked)
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    const text = bytes.toString('latin1', start, end)
    const last = this.log.length - 1
    if (this.log[last]?.startsWith('body ') === true) this.log[last] += text
    else this.log.push(`body ${text}`)
    this.client.sendBody(bytes, start, end)
  }

  onRequestEnd(trailers: HeaderMap | null): void {
    this.log.push(`end ${trailers === null ? '' : trailers.serialise()}`)
    this.client.sendEnd('')
    this.server.nextRequest()
  }

  onRequestError(code: number): void {
    this.log.push(`error ${code}`)
  }

  onHeadBegun(): void {}
  onTunnelData(): void {
    if (this.log.at(-1) !== 'tunnel') this.log.push('tunnel')
  }

  onInformational(status: number): void {
    this.log.push(`interim ${status}`)
  }

  onResponse(): void {
    this.log.push(`status ${this.client.status}`)
  }

  onResponseEnd(trailers: HeaderMap | null): void {
    this.log.push(`end ${trailers === null ? '' : trailers.serialise()}${this.client.keepAlive ? '' : 'spent'}`)
  }

  onResponseError(code: number): void {
    this.log.push(`error ${code}`)
  }
}

function requests(pieces: readonly string[]): Relay {
  const relay = new Relay()
  for (const piece of pieces) feed(relay.server, piece)
  return relay
}

function responses(pieces: readonly string[], method: string): Relay {
  const relay = new Relay()
  relay.client.begin(relay, method)
  for (const piece of pieces) feed(relay.client, piece)
  return relay
}

const bytes = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((n) => String.fromCharCode(n)), maxLength: 40 })
/** Parts of messages, good and bad, which chance puts together. */
const parts = fc
  .array(
    fc.oneof(
      { weight: 1, arbitrary: bytes },
      {
        weight: 12,
        arbitrary: fc.constantFrom(
          ...[
            'GET / HTTP/1.1\r\n',
            'POST /a HTTP/1.1\r\n',
            'HEAD / HTTP/1.0\r\n',
            'CONNECT a:1 HTTP/1.1\r\n',
            'HTTP/1.1 200 OK\r\n',
          ],
          ...[
            'HTTP/1.1 204 x\r\n',
            'HTTP/1.1 100 x\r\n',
            'HTTP/1.1 101 x\r\n',
            'HTTP/1.0 304 x\r\n',
            'Host: a\r\n',
            'Content-Length: 3\r\n',
          ],
          ...[
            'Content-Length: 0\r\n',
            'Content-Length: +3\r\n',
            'Transfer-Encoding: chunked\r\n',
            'Transfer-Encoding: gzip\r\n',
            'x: y\r\n',
          ],
          ...[
            'Connection: close\r\n',
            '\r\n',
            '\r\n\r\n',
            '\r',
            '\n',
            ' ',
            '\t',
            ':',
            '\0',
            '3\r\n',
            'abc',
            'abc\r\n',
            '0\r\n\r\n',
            '0\r\n',
          ],
          ...['0\r\nx: y\r\n\r\n', '3;a=b\r\nabc\r\n', 'ffffffffffffffff\r\n', '0x3\r\n', '1\r\nG\r\n'],
        ),
      },
    ),
    { maxLength: 14 },
  )
  .map((p) => p.join(''))
const places = fc.array(fc.nat(), { maxLength: 8 })

t.test('any bytes from a client', async (t) => {
  holds(
    t,
    'the same in any pieces, nothing read behind an error, and nothing that another reader takes otherwise',
    fc.property(parts, places, (text, at) => {
      const whole = requests([text])
      const split = requests(cut(text, at))
      if (JSON.stringify(whole.log) !== JSON.stringify(split.log)) return false
      const error = whole.log.findIndex((l) => l.startsWith('error'))
      if (error >= 0 && error !== whole.log.length - 1) return false
      return readsAlike(whole)
    }),
  )
})

/** The kit's reader finds in the relayed bytes the messages that were relayed, none more. */
function readsAlike(relay: Relay): boolean {
  const seen: { target: string; complete: boolean; body: Buffer; method: string }[] = []
  let broken = false
  const reader = new RequestReader({
    onHead: (m) => void seen.push(m),
    onTunnel: () => {
      broken = true
    },
    onError: () => {
      broken = true
    },
  })
  reader.push(Buffer.from(relay.up.sent, 'latin1'))
  const begun = relay.log.filter((l) => /^(?!body |end |error |interim |status |tunnel)/.test(l)).length
  const ended = relay.log.filter((l) => l.startsWith('end ')).length
  const bodies = relay.log
    .filter((l) => l.startsWith('body '))
    .map((l) => l.slice(5))
    .join('')
  const read = seen.map((m) => m.body.toString('latin1')).join('')
  return !broken && seen.length === begun && seen.filter((m) => m.complete).length === ended && read === bodies
}

t.test('any bytes from an upstream', async (t) => {
  holds(
    t,
    'the same in any pieces, and at most one answer',
    fc.property(parts, places, fc.constantFrom('GET', 'HEAD', 'CONNECT'), (text, at, method) => {
      const whole = responses([text], method)
      const end = whole.log.findIndex((l) => l.startsWith('end ') || l.startsWith('error'))
      if (whole.log.filter((l) => l.startsWith('status')).length > 1) return false
      if (end >= 0 && end < whole.log.length - 1) return false
      // In pieces, bytes behind the answer come when its connection is idle: an error of its own instead of a spent connection.
      const normal = (log: readonly string[]) => JSON.stringify(log.filter((l) => l !== 'error -30')).replaceAll('spent', '')
      return normal(whole.log) === normal(responses(cut(text, at), method).log)
    }),
  )
})

const token = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_!~'), minLength: 1, maxLength: 12 })
const value = fc.string({ unit: fc.constantFrom(...'abc XYZ\t,;="\xe9:'), maxLength: 20 }).map((v) => v.trim())
const fields = fc.array(fc.tuple(token, value), { maxLength: 8 }).map((list) => list.filter(([n]) => !/^(te|via|host)$/i.test(n)))
const chunk = fc.string({ unit: fc.constantFrom(...'ab0\r\n\0\xff'), minLength: 1, maxLength: 30 })

t.test('messages that were encoded here', async (t) => {
  holds(
    t,
    'requests come back as they were, in any pieces',
    fc.property(fields, fc.array(chunk, { maxLength: 5 }), fc.boolean(), fields, places, (head, body, chunked, tail, at) => {
      const out = new Relay()
      const all = body.join('')
      const lines = (list: readonly (readonly [string, string])[]) => list.map(([n, v]) => `${n}: ${v}\r\n`).join('')
      const asChunks = chunked && all !== ''
      out.client.sendHeaders('POST', '/x', `${lines(head)}${asChunks ? '' : `content-length: ${all.length}\r\n`}`, asChunks)
      for (const piece of body) out.client.sendBody(Buffer.from(piece, 'latin1'), 0, piece.length)
      out.client.sendEnd(asChunks ? lines(tail) : '')
      const back = requests(cut(out.up.sent + out.up.sent, at))
      const one = ['POST /x', ...(all === '' ? [] : [`body ${all}`]), `end ${asChunks ? lines(tail) : ''}`]
      return JSON.stringify(back.log) === JSON.stringify([...one, ...one])
    }),
  )
  holds(
    t,
    'answers come back as they were, to the kit too',
    fc.property(fields, fc.array(chunk, { maxLength: 5 }), fc.boolean(), places, (head, body, chunked, at) => {
      const out = new Relay()
      const all = body.join('')
      const lines = head.map(([n, v]) => `${n}: ${v}\r\n`).join('')
      const asChunks = chunked && all !== ''
      out.server.sendHeaders(200, asChunks ? lines : `${lines}content-length: ${all.length}\r\n`, asChunks ? 2 : 1)
      for (const piece of body) out.server.sendBody(Buffer.from(piece, 'latin1'), 0, piece.length)
      out.server.sendEnd('')
      const back = responses(cut(out.down.sent, at), 'GET')
      let kit = ''
      const seen: { body: Buffer; complete: boolean }[] = []
      const reader = new ResponseReader({
        onHead: (m) => void seen.push(m),
        onTunnel: () => {},
        onError: (e) => {
          kit = e.message
        },
      })
      reader.expect('GET')
      reader.push(Buffer.from(out.down.sent, 'latin1'))
      const expected = ['status 200', ...(all === '' ? [] : [`body ${all}`]), 'end ']
      if (kit !== '' || seen.length !== 1 || seen[0]?.complete !== true || seen[0].body.toString('latin1') !== all) return false
      return JSON.stringify(back.log) === JSON.stringify(expected)
    }),
  )
})
