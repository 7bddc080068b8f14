// Where a gRPC server is, and how its connection is protected.

export type GrpcAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** A unix socket; a path that begins with NUL is of the abstract namespace. */
  | { readonly kind: 'unix'; readonly path: string }

/** TLS of one connection. Asked for before each connection, so that renewed files are taken without more. */
export interface GrpcTls {
  /** PEM, one or more certificates. They alone are trusted; the system's roots are not. */
  readonly roots: string
  /** What the server's certificate must be for; also the SNI, unless it is an IP address. */
  readonly serverName: string
  /** PEM; null for no client certificate. */
  readonly client: { readonly chain: string; readonly key: string } | null
}

/** For messages: `10.0.0.1:15012`, `[::1]:15012`, `unix:/run/spire/api.sock`. */
export function addressText(address: GrpcAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** `:authority` of calls (RFC 9113 §8.3.1); a unix socket has none of its own, and gRPC says `localhost`. */
export function authorityOf(address: GrpcAddress, tls: GrpcTls | null): string {
  if (address.kind === 'unix') return tls?.serverName ?? 'localhost'
  return addressText(tls === null ? address : { ...address, host: tls.serverName })
}
