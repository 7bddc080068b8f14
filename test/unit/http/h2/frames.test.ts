// Frames: the same in any pieces, DATA as it arrives, and what a frame may not be.
import t from 'tap'
import { BODY, FrameReader, type FrameSink, REFUSE, SKIP, WHOLE } from '../../../../lib/http/h2/frame-reader.ts'
import { sameInAnyPieces } from '../../../suite/splits.ts'
import { frame, PREFACE, TYPES } from './kit.ts'

/** Takes everything; DATA in parts, type 11 refused, other unknown types skipped. */
class Log implements FrameSink {
  readonly lines: string[] = []
  private data = ''
  private parts = 0
  readonly partCounts: number[] = []

  onFrame(type: number, flags: number, streamId: number, length: number): number {
    this.lines.push(`${TYPES[type] ?? type} ${flags} ${streamId} ${length}`)
    return type === 0 ? BODY : type === 11 ? REFUSE : type < 10 ? WHOLE : SKIP
  }

  onPayload(_type: number, _flags: number, _streamId: number, bytes: Buffer, start: number, end: number): boolean {
    this.lines.push(bytes.toString('latin1', start, end))
    return true
  }

  onDataPart(bytes: Buffer, start: number, end: number): boolean {
    this.data += bytes.toString('latin1', start, end)
    this.parts++
    return true
  }

  onDataEnd(padding: number): boolean {
    this.lines.push(`data ${this.data} padding ${padding}`)
    this.partCounts.push(this.parts)
    this.data = ''
    this.parts = 0
    return true
  }

  onBadPadding(): void {
    this.lines.push('bad padding')
  }

  onBadPreface(): void {
    this.lines.push('bad preface')
  }
}

function observe(pieces: readonly string[], preface = true): readonly string[] {
  const log = new Log()
  const reader = new FrameReader(log, preface)
  for (const piece of pieces) reader.execute(Buffer.from(piece, 'latin1'), piece.length)
  return log.lines
}

const latin1 = (...parts: readonly Buffer[]) => Buffer.concat(parts).toString('latin1')

t.test('all kinds of frames, in any pieces', async (t) => {
  const bytes = latin1(
    PREFACE,
    frame('SETTINGS', 0, 0, 'abcdef'),
    frame('DATA', 1, 5, 'hello'),
    frame('DATA', 8, 5, '\x03datapad'),
    frame('DATA', 8, 5, '\x03pad'),
    frame('DATA', 8, 5, '\x00'),
    frame('DATA', 0, 5),
    Buffer.concat([
      frame('PING', 0, 0, 'ignored!').subarray(0, 3),
      Buffer.from([99]),
      frame('PING', 0, 0, 'ignored!').subarray(4),
    ]),
    frame('HEADERS', 4, 0x80000007, 'block'),
    frame('RST_STREAM', 0, 7, 'code'),
  )
  sameInAnyPieces(t, 'frames', bytes, observe, [
    'SETTINGS 0 0 6',
    'abcdef',
    'DATA 1 5 5',
    'data hello padding 0',
    'DATA 8 5 8',
    'data data padding 4',
    'DATA 8 5 4',
    'data  padding 4',
    'DATA 8 5 1',
    'data  padding 1',
    'DATA 0 5 0',
    'data  padding 0',
    '99 0 0 8',
    'HEADERS 4 7 5',
    'block',
    'RST_STREAM 0 7 4',
    'code',
  ])
})

t.test('padding that is longer than its frame', async (t) => {
  for (const payload of ['\x05data', '\x05', '']) {
    const bytes = latin1(PREFACE, frame('DATA', 8, 1, payload), frame('PING', 0, 0, '12345678'))
    sameInAnyPieces(t, JSON.stringify(payload), bytes, observe, [`DATA 8 1 ${payload.length}`, 'bad padding'])
  }
})

t.test('what is not the preface is told at the first wrong byte', async (t) => {
  for (const bytes of ['GET / HTTP/1.1\r\n', 'PRI * HTTP/2.0\r\n\r\nXX', 'PRI * HTTP/1.1'])
    sameInAnyPieces(t, bytes, bytes, observe, ['bad preface'])
})

t.test('nothing is read behind a frame that was refused', async (t) => {
  const refused = Buffer.from(frame('PING', 0, 0, '12345678'))
  refused[3] = 11
  sameInAnyPieces(t, 'refused', latin1(PREFACE, refused, frame('PING', 0, 0, '12345678')), observe, ['11 0 0 8'])
})

t.test('DATA is handed on as it arrives', async (t) => {
  const log = new Log()
  const reader = new FrameReader(log, false)
  const bytes = frame('DATA', 0, 1, 'x'.repeat(100))
  for (let at = 0; at < bytes.length; at += 20) reader.execute(bytes.subarray(at), Math.min(20, bytes.length - at))
  t.same(log.partCounts, [6])
})
