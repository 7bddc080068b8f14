// SPIFFE_ENDPOINT_SOCKET (SPIFFE_Workload_Endpoint.md §4): `unix:///path/to/socket` or `tcp://127.0.0.1:8000`.
import net from 'node:net'
import type { GrpcAddress } from '../../grpc/grpc-address.ts'
import { printable } from '../printable.ts'

/** What gRPC allows for a path of a unix socket; the kernel takes no more than 107 bytes. */
const MAX_SOCKET_PATH_BYTES = 107

export type ParsedEndpoint =
  | { readonly ok: true; readonly address: GrpcAddress }
  /** A sentence for an operator. */
  | { readonly ok: false; readonly error: string }

export function parseWorkloadEndpoint(text: string): ParsedEndpoint {
  const wrong = (what: string): ParsedEndpoint => ({
    ok: false,
    error: `"${printable(text)}" is no Workload API address: ${what}`,
  })
  const expected = 'expected unix:///path/to/socket or tcp://ip:port'
  if (text.includes('?') || text.includes('#')) return wrong('a query or fragment is not allowed')
  if (/^unix:/i.test(text)) {
    const rest = text.slice('unix:'.length)
    const path = rest.startsWith('//') ? rest.slice(2) : rest
    if (rest.startsWith('//') && !path.startsWith('/')) return wrong('a unix address has no host: write three slashes')
    if (!path.startsWith('/')) return wrong('the path of a socket is absolute')
    if (path === '/') return wrong('the path of the socket is missing')
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) return wrong(`the path has more than ${MAX_SOCKET_PATH_BYTES} bytes`)
    return { ok: true, address: { kind: 'unix', path } }
  }
  const tcp = /^tcp:\/\/(?:\[([^\]]*)\]|([^:/@[\]]*)):(\d{1,5})(\/.*)?$/i.exec(text)
  if (tcp === null) return wrong(expected)
  const host = tcp[1] ?? tcp[2] ?? ''
  const port = Number(tcp[3])
  if (tcp[4] !== undefined) return wrong('a path after the port is not allowed')
  if (net.isIP(host) !== (tcp[1] === undefined ? 4 : 6)) return wrong('the host is an IP address, not a name')
  if (port < 1 || port > 65535) return wrong('the port is 1 to 65535')
  return { ok: true, address: { kind: 'tcp', host, port } }
}
