// A GET whose status says whether the endpoint is well. Redirects are answers like others.
import { isIP, type Socket } from 'node:net'
import { connect } from 'node:tls'
import type { HealthProbe } from '../../state/health-check.ts'
import type { Attempt } from './attempt.ts'
import { authorityOf, USER_AGENT } from './probe.ts'

/** Bytes of a body that are waited for; the status is known by then, and more is not our business. */
const MAX_BODY_BYTES = 65_536
const MAX_HEADER_BYTES = 16_384

export async function askHttp(
  attempt: Attempt,
  probe: HealthProbe & { readonly kind: 'http' },
  address: string,
  port: number,
): Promise<void> {
  const { Client } = await import('undici')
  if (attempt.done) return
  const client = new Client(`${probe.tls ? 'https' : 'http'}://${authorityOf(address, port)}`, {
    // A connection for each check: whether new ones are accepted is part of the question, and none waits to be found closed.
    pipelining: 0,
    maxHeaderSize: MAX_HEADER_BYTES,
    // The attempt has a deadline for everything.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: (_options, callback) =>
      attempt.open(address, port, (socket) => {
        if (!probe.tls) callback(null, socket)
        else secure(socket, probe.host, attempt, (secured) => callback(null, secured))
      }),
  })
  attempt.atEnd(() => void client.destroy().catch(() => {}))
  try {
    const { statusCode, body } = await client.request({ method: 'GET', path: probe.path, headers: headersOf(probe) })
    // What happens to a body that nobody reads to its end.
    body.on('error', () => {})
    if (!probe.statuses.some(({ from, to }) => statusCode >= from && statusCode <= to)) {
      attempt.fail(`answered ${statusCode}, expected ${statusesText(probe.statuses)}`)
      return
    }
    let bytes = 0
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length
      if (bytes > MAX_BODY_BYTES) break
    }
    attempt.pass(`answered ${statusCode}`)
  } catch (error) {
    attempt.broke(error as NodeJS.ErrnoException)
  }
}

/** What the client itself says of the connection and of the body, which a GET does not have. */
const NOT_SENT = new Set([
  'connection',
  'content-length',
  'expect',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

function headersOf(probe: HealthProbe & { readonly kind: 'http' }): string[] {
  const given = probe.headers.map(([name, value]) => [name.toLowerCase(), value] as const).filter(([name]) => !NOT_SENT.has(name))
  const host = probe.host === '' ? given.find(([name]) => name === 'host')?.[1] : probe.host
  const headers = host === undefined ? [] : ['host', host]
  if (!given.some(([name]) => name === 'user-agent')) headers.push('user-agent', USER_AGENT)
  for (const [name, value] of given) if (name !== 'host') headers.push(name, value)
  return headers
}

/** As a kubelet does it, the certificate is not verified: it is health that is asked for, not identity. */
function secure(socket: Socket, host: string, attempt: Attempt, done: (secured: Socket) => void): void {
  const name = host.replace(/:\d+$/, '')
  // SNI is for names only (RFC 6066 §3).
  const servername = isIP(name.replace(/[[\]]/g, '')) === 0 && name !== '' ? { servername: name } : {}
  const secured = connect({ socket, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'], ...servername })
  let handshake = true
  secured.once('secureConnect', () => {
    handshake = false
    done(secured)
  })
  secured.on('error', (error) => {
    if (handshake) attempt.broke(error)
  })
}

function statusesText(ranges: readonly { readonly from: number; readonly to: number }[]): string {
  return ranges.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)).join(', ')
}
