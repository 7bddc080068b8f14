// Whether rules do what they are for: connects to an address where nobody listens and sees whether the connection comes to our port.
import { randomBytes } from 'node:crypto'
import { connect, createServer, type Server } from 'node:net'
import type { Family } from './rule.ts'
import { type Cidr, INBOUND_SOURCE, type SidecarSettings } from './settings.ts'

/** Where nobody listens (RFC 5737, RFC 3849). */
const NOWHERE: Readonly<Record<Family, string>> = { ipv4: '192.0.2.1', ipv6: '2001:db8::1' }
const LOOPBACK: Readonly<Record<Family, string>> = { ipv4: '127.0.0.1', ipv6: '::1' }
const AGAIN_MS = 250
const ATTEMPT_MS = 1000

export interface ProbeTarget {
  readonly family: Family
  readonly address: string
  readonly localAddress: string | null
  /** Where the connection has to arrive. */
  readonly listen: { readonly address: string; readonly port: number }
  readonly what: string
}

export type ProbeResult = { readonly ok: true; readonly what: string } | { readonly ok: false; readonly reason: string }

/**
 * The proxy's own connections are captured only when they go to this pod, and come to its inbound side; everybody else's come to the
 * outbound side. Which of the two we are decides what can be seen. Empty: nothing that we do is captured.
 */
export function probeTargets(
  settings: SidecarSettings,
  who: { readonly uid: number; readonly gid: number },
): readonly ProbeTarget[] {
  const own = settings.proxyUids.includes(who.uid) || settings.proxyGids.includes(who.gid)
  return settings.families.flatMap((family): ProbeTarget[] => {
    const listenAt = LOOPBACK[family]
    if (own) {
      const listen = { address: listenAt, port: settings.inboundCapturePort }
      return [{ family, address: INBOUND_SOURCE[family], localAddress: listenAt, listen, what: 'the proxy to its own pod' }]
    }
    const address = outboundAddress(settings, family)
    const listen = { address: listenAt, port: settings.outboundCapturePort }
    return address === null ? [] : [{ family, address, localAddress: null, listen, what: 'the application to others' }]
  })
}

function outboundAddress({ outboundRanges }: SidecarSettings, family: Family): string | null {
  if (outboundRanges === 'all') return NOWHERE[family]
  const range = outboundRanges.find((r: Cidr) => r.family === family)
  return range === undefined ? null : range.text.replace(/\/.*/, '')
}

/** Tries until `timeoutMs` are over. Never rejects. */
export async function probe(target: ProbeTarget, port: number, timeoutMs: number): Promise<ProbeResult> {
  const token = randomBytes(16).toString('hex')
  const server = await listen(target, token)
  const until = Date.now() + timeoutMs
  try {
    for (;;) {
      const reason = await attempt(target, port, server === null ? null : token)
      if (reason === null) return { ok: true, what: `${target.what}, ${target.family}` }
      if (Date.now() + AGAIN_MS >= until) return { ok: false, reason: `${target.what}, ${target.family}: ${reason}` }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    }
  } finally {
    server?.close()
  }
}

/** Null where somebody has the port, which is the proxy: then it is enough that somebody answers where nobody is. */
function listen({ listen }: ProbeTarget, token: string): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(token)
    })
    server.once('error', () => resolve(null))
    server.listen(listen.port, listen.address, () => resolve(server))
  })
}

/** Null when it arrived, else what happened. */
function attempt({ address, localAddress, listen }: ProbeTarget, port: number, token: string | null): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, ...(localAddress === null ? {} : { localAddress }) })
    let heard = ''
    const done = (reason: string | null) => {
      socket.destroy()
      resolve(reason)
    }
    socket.setTimeout(ATTEMPT_MS, () => done(`a connection to ${address} port ${port} got no answer`))
    socket.once('error', (error) => done(error.message))
    socket.once('connect', () => {
      if (token === null) done(null)
    })
    socket.on('data', (data) => {
      heard += data.toString('latin1')
    })
    socket.once('end', () => done(heard === token ? null : `a connection to ${address} did not come to port ${listen.port}`))
  })
}
