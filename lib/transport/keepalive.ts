// Hot lane: TCP keepalive of one socket, with what Node has no name for: the time between probes and their number. Node sets these two
// itself, to a second and ten, whatever the system has. They are set through koffi, which is loaded for the first connection that wants
// keepalive at all; where it is missing, Node's numbers stand.
import { createRequire } from 'node:module'
import type net from 'node:net'
import { handleOf } from './stream-internals.ts'

/** Seconds, and a number; 0: the system's. */
export interface Keepalive {
  readonly idleSeconds: number
  readonly intervalSeconds: number
  readonly probes: number
}

type SetInt = (fd: number, level: number, option: number, value: Uint8Array, length: number) => number

const SOL_SOCKET = 1
const SO_KEEPALIVE = 9
const IPPROTO_TCP = 6
const TCP_KEEPIDLE = 4
const TCP_KEEPINTVL = 5
const TCP_KEEPCNT = 6
/** Linux MAX_TCP_KEEPIDLE and MAX_TCP_KEEPCNT: it refuses more. */
const MAX_SECONDS = 32_767
const MAX_PROBES = 127

interface Koffi {
  load(name: string): { func(signature: string): SetInt }
}

let setsockopt: SetInt | null | undefined

/** Null where koffi is not installed or this is not Linux. Synchronous: the first connection is to have what was asked for too. */
function load(): SetInt | null {
  if (setsockopt !== undefined) return setsockopt
  setsockopt = null
  if (process.platform !== 'linux') return null
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi
    setsockopt = koffi.load('libc.so.6').func('int setsockopt(int, int, int, const uint8_t *, uint32_t)')
  } catch {
    setsockopt = null
  }
  return setsockopt
}

/** Whether interval and number of probes can be set here. */
export function canSetKeepalive(): boolean {
  return load() !== null
}

/** Of a connected socket. */
export function setKeepalive(socket: net.Socket, { idleSeconds, intervalSeconds, probes }: Keepalive): void {
  const set = load()
  const fd = handleOf(socket)?.fd ?? -1
  if (set === null || fd < 0) {
    socket.setKeepAlive(true, idleSeconds * 1000)
    return
  }
  const value = new Uint8Array(4)
  const view = new DataView(value.buffer)
  const setInt = (level: number, option: number, number: number): void => {
    view.setInt32(0, number, true)
    set(fd, level, option, value, 4)
  }
  setInt(SOL_SOCKET, SO_KEEPALIVE, 1)
  if (idleSeconds > 0) setInt(IPPROTO_TCP, TCP_KEEPIDLE, Math.min(idleSeconds, MAX_SECONDS))
  if (intervalSeconds > 0) setInt(IPPROTO_TCP, TCP_KEEPINTVL, Math.min(intervalSeconds, MAX_SECONDS))
  if (probes > 0) setInt(IPPROTO_TCP, TCP_KEEPCNT, Math.min(probes, MAX_PROBES))
}
