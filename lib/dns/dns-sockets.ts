// Where a DNS proxy listens and asks from: this program's own network, or that of a pod, with the mark by which its rules know the tunnel.
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { connect, isIPv6, type Server, type Socket } from 'node:net'
import { listen } from '../listener/bind.ts'
import { boundDatagramSocket } from '../sys/datagram-socket.ts'
import { libc, noLibcError } from '../sys/libc.ts'
import type { Netns } from '../sys/netns.ts'
import { connectFrom } from '../sys/outbound-socket.ts'

export interface DnsSockets {
  /** Begins to listen; `listening` or `error` follows. */
  bindUdp(socket: UdpSocket, address: string, port: number): void
  /** `listening` or `error` follows. */
  listenTcp(server: Server, address: string, port: number): void
  /** To ask `server` from, an IP address. May throw an errno in `code`. */
  udpTo(server: string): UdpSocket
  tcpTo(server: string, port: number): Socket
}

export const OWN_SOCKETS: DnsSockets = {
  bindUdp: (socket, address, port) => socket.bind(port, address),
  listenTcp: (server, address, port) => server.listen(port, address),
  udpTo: (server) => createSocket(familyOf(server)),
  tcpTo: (server, port) => connect({ host: server, port }),
}

/** Of a network namespace, which has to stay open. Its sockets have a mark. */
export class PodSockets implements DnsSockets {
  readonly #netns: Netns
  readonly #mark: number

  constructor(netns: Netns, mark: number) {
    this.#netns = netns
    this.#mark = mark
  }

  bindUdp(socket: UdpSocket, address: string, port: number): void {
    try {
      socket.bind({ fd: this.#bound(address, port) })
    } catch (error) {
      setImmediate(() => socket.emit('error', error))
    }
  }

  listenTcp(server: Server, address: string, port: number): void {
    listen(server, address, port, { dualStack: false, transparent: false, mark: this.#mark, netns: this.#netns }).catch(
      (error: unknown) => server.emit('error', error),
    )
  }

  udpTo(server: string): UdpSocket {
    const socket = createSocket(familyOf(server))
    socket.bind({ fd: this.#bound(isIPv6(server) ? '::' : '0.0.0.0', 0) })
    return socket
  }

  tcpTo(server: string, port: number): Socket {
    return connectFrom({ source: null, foreignSource: false, mark: this.#mark, netns: this.#netns }, server, port)
  }

  #bound(address: string, port: number): number {
    const c = libc()
    if (c === null) throw noLibcError()
    return boundDatagramSocket(c, address, port, { mark: this.#mark, netns: this.#netns })
  }
}

function familyOf(address: string): 'udp4' | 'udp6' {
  return isIPv6(address.replace(/%.*/, '')) ? 'udp6' : 'udp4'
}
