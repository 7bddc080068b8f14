// grpc.health.v1.Health/Check (grpc/grpc-proto health.proto) over HTTP/2 without TLS. One message each way, so it is written by hand.
import { connect, constants } from 'node:http2'
import { GRPC_STATUS_NAMES } from '../../http/grpc-status.ts'
import type { Attempt } from './attempt.ts'
import { authorityOf, USER_AGENT } from './probe.ts'

/** An answer has two bytes; one that has more than this is no answer. */
const MAX_MESSAGE_BYTES = 1024
const FRAME_HEADER = 5
const SERVING = 1
/** HealthCheckResponse.ServingStatus. */
const STATUS_NAMES: readonly string[] = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN']

export function askGrpc(attempt: Attempt, service: string, address: string, port: number): void {
  attempt.open(address, port, (socket) => {
    const session = connect(`http://${authorityOf(address, port)}`, {
      createConnection: () => socket,
      settings: { enablePush: false },
      // Megabytes; what a hostile server can make us keep.
      maxSessionMemory: 1,
      maxSettings: 32,
    })
    session.on('error', (error) => attempt.broke(error))
    session.on('close', () => attempt.broke(null))
    attempt.atEnd(() => session.destroy())
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': USER_AGENT,
      'grpc-timeout': `${Math.min(attempt.timeoutMs, 99_999_999)}m`,
    })
    let status: number | null = null
    let grpcStatus: string | null = null
    let bytes = 0
    const chunks: Buffer[] = []
    const note = (headers: Readonly<Record<string, unknown>>): void => {
      const value = headers['grpc-status']
      if (typeof value === 'string') grpcStatus = value
    }
    stream.on('response', (headers) => {
      status = headers[':status'] ?? null
      note(headers)
    })
    stream.on('trailers', note)
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > MAX_MESSAGE_BYTES) attempt.fail('answered with more than one small message')
      else chunks.push(chunk)
    })
    stream.on('error', (error) => attempt.broke(error))
    stream.on('close', () => attempt.broke(null))
    stream.on('end', () => {
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) attempt.broke(null)
      else judge(attempt, status, grpcStatus, Buffer.concat(chunks))
    })
    stream.end(healthRequest(service))
  })
}

function judge(attempt: Attempt, status: number | null, grpcStatus: string | null, body: Buffer): void {
  if (status === null) attempt.broke(null)
  else if (status !== 200) attempt.fail(`answered HTTP status ${status}`)
  else if (grpcStatus === null) attempt.fail('answered without a grpc-status')
  else if (grpcStatus !== '0') attempt.fail(`answered grpc-status ${codeText(grpcStatus)}`)
  else {
    const serving = healthResponse(body)
    const name = serving === null ? 'with no health message' : (STATUS_NAMES[serving] ?? `status ${serving}`)
    if (serving === SERVING) attempt.pass(`answered ${name}`)
    else attempt.fail(`answered ${name}, expected SERVING`)
  }
}

/** What a peer says goes into the log by its number only. */
function codeText(grpcStatus: string): string {
  const name = /^\d{1,2}$/.test(grpcStatus) ? GRPC_STATUS_NAMES[Number(grpcStatus)] : undefined
  return name === undefined ? 'that does not exist' : `${grpcStatus} (${name})`
}

/** HealthCheckRequest { string service = 1 } in its frame (gRPC over HTTP/2, Length-Prefixed-Message). */
export function healthRequest(service: string): Buffer {
  const name = Buffer.from(service)
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, ...varint(name.length)]), name])
  const header = Buffer.alloc(FRAME_HEADER)
  header.writeUInt32BE(message.length, 1)
  return Buffer.concat([header, message])
}

/** `status` of HealthCheckResponse { ServingStatus status = 1 }; null when this is no such message. Unknown fields are skipped. */
export function healthResponse(body: Buffer): number | null {
  if (body.length < FRAME_HEADER || body[0] !== 0 || body.readUInt32BE(1) !== body.length - FRAME_HEADER) return null
  let at = FRAME_HEADER
  let status = 0
  while (at < body.length) {
    const tag = readVarint(body, at)
    if (tag === null) return null
    at = tag.next
    const wire = tag.value % 8
    if (wire === 0) {
      const number = readVarint(body, at)
      if (number === null) return null
      at = number.next
      if (Math.floor(tag.value / 8) === 1) status = number.value
    } else if (wire === 2) {
      const length = readVarint(body, at)
      if (length === null) return null
      at = length.next + length.value
    } else if (wire === 1) at += 8
    else if (wire === 5) at += 4
    else return null
  }
  return at === body.length ? status : null
}

function varint(value: number): number[] {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest]
    bytes.push((rest % 128) + 128)
  }
}

/** Up to ten bytes (protobuf encoding, base 128 varints); beyond 2^53 not exact, which no field read here is. */
function readVarint(bytes: Buffer, from: number): { readonly value: number; readonly next: number } | null {
  let value = 0
  for (let i = 0; i < 10; i++) {
    const byte = bytes[from + i]
    if (byte === undefined) return null
    value += (byte % 128) * 128 ** i
    if (byte < 128) return { value, next: from + i + 1 }
  }
  return null
}
