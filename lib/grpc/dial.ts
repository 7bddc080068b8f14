// Makes the socket of a gRPC connection: TCP or unix, plain or TLS with ALPN h2.
import net from 'node:net'
import tls from 'node:tls'
import type { GrpcAddress, GrpcTls } from './grpc-address.ts'

/**
 * A socket that is connected and, with TLS, whose peer is verified. `done` is called once, inside the event that made it so, for the
 * bytes that follow must find a reader. The socket is returned at once, to be destroyed when it takes too long.
 */
export function dial(
  address: GrpcAddress,
  terms: GrpcTls | null,
  done: (error: string | null, socket: net.Socket) => void,
): net.Socket {
  const where = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port }
  const socket = terms === null ? net.connect(where) : tls.connect({ ...where, ...tlsOptions(terms) })
  let told = false
  const tell = (error: string | null): void => {
    if (told) return
    told = true
    socket.removeListener('close', onClose)
    done(error, socket)
  }
  const onClose = (): void =>
    tell(terms === null ? 'the connection was closed' : 'the server closed the connection during the TLS handshake')
  // Stays: an error of a socket that nobody has taken over must not end the process.
  socket.on('error', (error) => tell(errorText(error)))
  socket.once('close', onClose)
  if (socket instanceof tls.TLSSocket) {
    socket.once('secureConnect', () => {
      // gRPC needs HTTP/2, and a server that negotiated nothing is most likely none (RFC 9113 §3.2).
      if (socket.alpnProtocol === 'h2') tell(null)
      else tell(`the server does not offer HTTP/2 (ALPN ${socket.alpnProtocol || 'nothing'})`)
    })
  } else {
    socket.once('connect', () => tell(null))
  }
  if (address.kind === 'tcp') socket.setNoDelay(true)
  return socket
}

function tlsOptions(terms: GrpcTls): tls.ConnectionOptions {
  const { roots, serverName, client } = terms
  return {
    ca: roots,
    // An IP address is no SNI (RFC 6066 §3), but it is what the certificate is checked for.
    servername: net.isIP(serverName) === 0 ? serverName : '',
    checkServerIdentity: (_, certificate) => tls.checkServerIdentity(serverName, certificate),
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    ...(client === null ? {} : { cert: client.chain, key: client.key }),
  }
}

/** In words; of several addresses that were tried, what each said. */
export function errorText(error: unknown): string {
  if (error instanceof AggregateError) return [...new Set(error.errors.map(errorText))].join(', ')
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const words = CODE_WORDS[code]
  if (words !== undefined) return `${words} (${code})`
  // OpenSSL's own message begins with thread and place; its reason is the part for a reader.
  if ('reason' in error && typeof error.reason === 'string') return `TLS: ${error.reason}`
  return error.message === '' ? code || error.name : error.message
}

const CODE_WORDS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "the server's certificate has expired",
  CERT_NOT_YET_VALID: "the server's certificate is not valid yet",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the server's certificate is not signed by one of the given roots",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the server's certificate is not signed by one of the given roots",
  SELF_SIGNED_CERT_IN_CHAIN: "the server's certificate is not signed by one of the given roots",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the server's certificate is not signed by one of the given roots",
  CERT_SIGNATURE_FAILURE: "the server's certificate is not signed by one of the given roots",
}
