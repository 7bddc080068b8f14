// Which listener and filter chain would take a request that nobody sends, and with which route table.
import { canonicalIp } from '../base/ip-address.ts'
import { hostOf, portOf } from '../route/authority.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { JwtAuthentication } from '../state/jwt.ts'
import type { HttpChain, Listener } from '../state/listener.ts'
import type { RbacFilter } from '../state/rbac.ts'
import type { Snapshot } from '../state/snapshot.ts'

export type TakenBy =
  | {
      readonly ok: true
      /** Empty: the authority chooses. */
      readonly routeTable: string
      /** `ip:port` that the client dialled; empty: not known. */
      readonly originalDst: string
      readonly authorization: readonly RbacFilter[]
      /** null: no token is verified there. */
      readonly jwt: JwtAuthentication | null
    }
  | { readonly ok: false; readonly message: string }

/** `name` null: the first explicit outbound HTTP listener, else what captures. `url`: its host and port are dialled. */
export function takenBy(
  snapshot: Snapshot,
  { workload }: BootstrapConfig,
  name: string | null,
  url: { readonly scheme: string; readonly authority: string },
): TakenBy {
  const { listeners } = snapshot
  const asked = portOf(url.authority)
  const port = asked > 0 ? asked : url.scheme === 'https' ? 443 : 80
  const http = listeners.filter((l) => chainOf(l, port) !== undefined)
  const explicit = http.find((l) => l.direction === 'outbound' && l.bind)
  const captures = listeners.some((l) => l.handOver)
  if (name === null && explicit === undefined && captures) return captured(http, url.authority, port)
  const listener = name === null ? explicit : http.find((l) => l.name === name)
  if (listener === undefined && name !== null) {
    const names = http.map((l) => l.name).join(', ') || 'none'
    return { ok: false, message: `there is no HTTP listener ${name}; there are: ${names}` }
  }
  const chain = listener === undefined ? undefined : chainOf(listener, port)
  const inbound = listener?.direction === 'inbound' && listener.capture !== 'none'
  const dialled = inbound ? addressText(workload.address, port) : dialledText(url.authority, port)
  const byName = listener !== undefined && !listener.bind
  const originalDst = listener?.originalDst || (inbound || byName ? dialled : '')
  const { routeTable = '', authorization = [], jwt = null } = chain ?? {}
  return { ok: true, routeTable, originalDst, authorization, jwt }
}

/** The listener of the address that is dialled, else of its port. */
function captured(http: readonly Listener[], authority: string, port: number): TakenBy {
  const ip = canonicalIp(hostOf(authority).replace(/^\[|\]$/g, ''))
  const standing = http.filter((l) => !l.bind && l.direction === 'outbound' && l.port === port)
  const listener =
    standing.find((l) => l.address === ip || (ip !== null && l.otherAddresses.includes(ip))) ??
    standing.find((l) => l.address === '0.0.0.0') ??
    standing[0]
  if (listener === undefined) {
    const message = `connections to port ${port} are captured and carry no HTTP here: no service has any on that port`
    return { ok: false, message }
  }
  const routeTable = chainOf(listener, port)?.routeTable ?? ''
  // Which of several addresses a name stands for, its resolver says: the table of the port knows all services.
  return {
    ok: true,
    routeTable: ip === null ? String(port) : routeTable,
    originalDst: dialledText(authority, port),
    authorization: [],
    jwt: null,
  }
}

/** A name stands for whatever address its resolver knows. */
function dialledText(authority: string, port: number): string {
  return addressText(hostOf(authority).replace(/^\[|\]$/g, ''), port)
}

function addressText(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}

/** The first filter chain that takes HTTP for the port, one of that port before those of all. */
function chainOf({ filterChains }: Listener, port: number): HttpChain | undefined {
  const http = filterChains.flatMap(({ match, network }) =>
    network.kind === 'http' ? [{ port: match.destinationPort, network }] : [],
  )
  return (http.find((c) => c.port === port) ?? http.find((c) => c.port === 0))?.network
}
