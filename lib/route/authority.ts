// Hot lane: runs for each request. Takes host and port out of an authority without allocating in the usual case.

/** The authority has no port. */
export const NO_PORT = -1
/** What stands behind the colon is no port. */
export const BAD_PORT = -2

/**
 * Index of the colon that separates the port, -1 without one. Anything may stand behind it, nothing too (`a:`), as Envoy has
 * it with ignore_port_in_host_matching; `[::1]` has none.
 */
export function portColon(authority: string): number {
  const colon = authority.lastIndexOf(':')
  if (colon < 0) return -1
  const bracket = authority.lastIndexOf(']')
  return bracket > colon ? -1 : colon
}

/** The host without its port, as written: `DomainIndex` sees to its case. */
export function hostOf(authority: string): string {
  const colon = portColon(authority)
  return colon < 0 ? authority : authority.substring(0, colon)
}

/** In lower case; the same string when it is that already. */
export function lowerCase(host: string): string {
  for (let i = 0; i < host.length; i++) {
    const c = host.charCodeAt(i)
    if (c >= 0x41 && c <= 0x5a) return host.toLowerCase()
  }
  return host
}

/** The port, `NO_PORT` (also for `a:`) or `BAD_PORT`. */
export function portOf(authority: string): number {
  const colon = portColon(authority)
  if (colon < 0 || colon === authority.length - 1) return NO_PORT
  let port = 0
  for (let i = colon + 1; i < authority.length; i++) {
    const digit = authority.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return BAD_PORT
    port = port * 10 + digit
    if (port > 65535) return BAD_PORT
  }
  return port
}

/** `host:port`, for who dials it. `port`: where the authority has none. Empty: it has no host, or what stands behind it is no port. */
export function hostAndPort(authority: string, port: number): string {
  const asked = portOf(authority)
  const host = lowerCase(hostOf(authority))
  return host === '' || asked === BAD_PORT ? '' : `${host}:${asked === NO_PORT ? port : asked}`
}
