// What gRPC puts into headers and reads from trailers (grpc/grpc doc/PROTOCOL-HTTP2.md).
import { GRPC, GrpcError } from './grpc-error.ts'

/** Names in any case; they go out in lower case. A Buffer needs a name that ends in `-bin`. */
export type Metadata = Readonly<Record<string, string | Buffer>>

/** Header-Name and ASCII-Value of the specification. */
const NAME = /^[0-9a-z_.-]+$/
const VALUE = /^[\x20-\x7e]*$/

/** Longest text of a peer that is kept. */
const MAX_MESSAGE = 1024

/** Adds metadata to headers; an error when it is not fit to be sent. Its text names the key only, since a value may be a secret. */
export function addMetadata(headers: Record<string, string>, metadata: Metadata): GrpcError | null {
  for (const [key, value] of Object.entries(metadata)) {
    const name = key.toLowerCase()
    if (!NAME.test(name) || name.startsWith('grpc-')) {
      return new GrpcError(GRPC.INTERNAL, `metadata ${JSON.stringify(key)} is not a name that may be sent`)
    }
    if (typeof value === 'string') {
      if (!VALUE.test(value))
        return new GrpcError(GRPC.INTERNAL, `the value of metadata ${key} has bytes that a header cannot carry`)
      headers[name] = value
    } else {
      if (!name.endsWith('-bin'))
        return new GrpcError(GRPC.INTERNAL, `metadata ${key} has bytes as value and does not end in -bin`)
      headers[name] = value.toString('base64').replace(/=+$/, '')
    }
  }
  return null
}

/** The value of grpc-timeout: at most eight digits and a unit. Never more than what is left, and at least one millisecond. */
export function timeoutText(ms: number): string {
  if (ms < 1e8) return `${Math.max(1, Math.floor(ms))}m`
  return `${Math.min(99_999_999, Math.floor(ms / 1000))}S`
}

/** Percent-decoding of grpc-message. What is no escape stays as it is (the specification forbids to fail or to discard). */
export function decodeMessage(text: string): string {
  if (!text.includes('%')) return printable(text)
  const bytes = Buffer.from(text, 'latin1').toString('latin1')
  const decoded = bytes.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return printable(Buffer.from(decoded, 'latin1').toString('utf8'))
}

/** A peer's text as it may stand in one line of a log. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim()
  return clean.length > MAX_MESSAGE ? `${clean.slice(0, MAX_MESSAGE)}…` : clean
}

/** The grpc-status of headers or trailers; undefined when there is none. What is no number of a status is UNKNOWN. */
export function statusOf(headers: Readonly<Record<string, unknown>>): { code: number; message: string } | undefined {
  const status = headers['grpc-status']
  if (status === undefined) return undefined
  const message = typeof headers['grpc-message'] === 'string' ? decodeMessage(headers['grpc-message']) : ''
  if (typeof status === 'string' && /^\d{1,3}$/.test(status)) {
    const code = Number(status)
    return code <= GRPC.UNAUTHENTICATED
      ? { code, message }
      : { code: GRPC.UNKNOWN, message: `${message} (grpc-status ${code})`.trim() }
  }
  return { code: GRPC.UNKNOWN, message: `grpc-status is no number${message === '' ? '' : `: ${message}`}` }
}
