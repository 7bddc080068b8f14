// Hot lane: TCP keepalive of one socket, with what Node has no name for: the time between probes and their number. Node sets these two
// itself, to a second and ten, whatever the system has. They are set by system calls, for which koffi is loaded with the first connection
// that wants keepalive at all; where it is missing, Node's numbers stand.
import type net from 'node:net'
import { fdOf } from '../sys/descriptor.ts'
import { libc } from '../sys/libc.ts'
import { IPPROTO_TCP, SOL_SOCKET, setInt } from '../sys/socket-options.ts'

/** Seconds, and a number; 0: the system's. */
export interface Keepalive {
  readonly idleSeconds: number
  readonly intervalSeconds: number
  readonly probes: number
}

const SO_KEEPALIVE = 9
const TCP_KEEPIDLE = 4
const TCP_KEEPINTVL = 5
const TCP_KEEPCNT = 6
/** Linux MAX_TCP_KEEPIDLE and MAX_TCP_KEEPCNT: it refuses more. */
const MAX_SECONDS = 32_767
const MAX_PROBES = 127

/** Whether interval and number of probes can be set here. */
export function canSetKeepalive(): boolean {
  return libc() !== null
}

/** Of a connected socket. */
export function setKeepalive(socket: net.Socket, { idleSeconds, intervalSeconds, probes }: Keepalive): void {
  const c = libc()
  const fd = fdOf(socket)
  if (c === null || fd < 0) {
    socket.setKeepAlive(true, idleSeconds * 1000)
    return
  }
  setInt(c, fd, SOL_SOCKET, SO_KEEPALIVE, 1)
  if (idleSeconds > 0) setInt(c, fd, IPPROTO_TCP, TCP_KEEPIDLE, Math.min(idleSeconds, MAX_SECONDS))
  if (intervalSeconds > 0) setInt(c, fd, IPPROTO_TCP, TCP_KEEPINTVL, Math.min(intervalSeconds, MAX_SECONDS))
  if (probes > 0) setInt(c, fd, IPPROTO_TCP, TCP_KEEPCNT, Math.min(probes, MAX_PROBES))
}
