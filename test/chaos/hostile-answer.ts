// The bytes of an answer, as an act wants them. Every answer says whose it is, so that one that is delivered to somebody else is seen.
import type { Act } from './act.ts'
import { contentOf } from './content.ts'

/** `x-chaos: <request>.<attempt>.<bytes of the body>.<shape>` */
export const MARK = 'x-chaos'

export interface AnswerBytes {
  readonly interim: Buffer
  readonly bytes: Buffer
  /** The connection cannot carry another answer. */
  readonly closes: boolean
}

export function answerBytes(act: Act, id: number, attempt: number, method: string, length: number): AnswerBytes {
  const bodiless = method === 'HEAD' || act.status === 204 || act.status === 304
  const framed = act.status === 204 || act.status === 304 ? 'none' : act.shape
  const closes = framed === 'until-close' && method !== 'HEAD'
  let head = `HTTP/1.1 ${act.status} ${act.status === 200 ? 'OK' : 'Chaos'}\r\n${MARK}: ${id}.${attempt}.${length}.${act.shape}\r\n`
  if (framed === 'length') head += `Content-Length: ${length}\r\n`
  if (framed === 'chunked' || framed === 'trailers') head += 'Transfer-Encoding: chunked\r\n'
  if (closes || act.after === 'announced-close') head += 'Connection: close\r\n'
  if (act.garbage === 'in-head') head += 'no colon here\r\n'
  const body = bodiless ? Buffer.alloc(0) : bodyBytes(act, contentOf(id, length))
  // Behind a body that ends with the connection they would be part of it.
  const behind =
    act.garbage === 'behind' && !closes ? 'HTTP/1.1 200 OK\r\nx-chaos: poison\r\nContent-Length: 6\r\n\r\npoison' : ''
  const bytes =
    act.garbage === 'instead'
      ? Buffer.from('\x00\x01 this is no HTTP \xff\r\n\r\n', 'latin1')
      : Buffer.concat([Buffer.from(`${head}\r\n`), body, Buffer.from(behind)])
  const interim = act.interim.map((s) => `HTTP/1.1 ${s} Wait\r\nx-interim: ${id}\r\n\r\n`).join('')
  return { interim: Buffer.from(interim), bytes, closes: closes || act.after === 'announced-close' }
}

function bodyBytes(act: Act, content: Buffer): Buffer {
  if (act.shape !== 'chunked' && act.shape !== 'trailers') return content
  const parts: Buffer[] = []
  // A few chunks, whatever the size.
  const size = Math.max(1, Math.ceil(content.length / 3))
  for (let at = 0; at < content.length; at += size) {
    const chunk = content.subarray(at, at + size)
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'))
  }
  if (act.garbage === 'in-body') parts.push(Buffer.from('zz\r\n'))
  parts.push(Buffer.from(act.shape === 'trailers' ? '0\r\nx-checked: yes\r\n\r\n' : '0\r\n\r\n'))
  return Buffer.concat(parts)
}
