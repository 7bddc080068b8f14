// Hot lane: once for each connection to an endpoint. Endpoints that are sockets of the file system (Envoy Pipe, Istio `unix:///path`): their address is the path, and
// they have no port. Linux's abstract names are none: what Node connects to for one depends on its version.

const SLASH = 47

export function isSocketPath(address: string): boolean {
  return address.charCodeAt(0) === SLASH
}

/** `ip:port`, `[ip]:port` for IPv6, the path of a socket (Envoy's asString of an address). */
export function addressText(address: string, port: number): string {
  if (isSocketPath(address)) return address
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
