// Listening sockets that several workers share by SO_REUSEPORT: the kernel spreads connections over them, and a worker that dies takes only its
// own socket with it. Node sets the option itself from 22.12 on; before, it is set through koffi. Where neither is there, one worker
// listens alone.
import net from 'node:net'

/** A port that is ours from the moment of the check until the workers listen on it. */
export interface Reservation {
  readonly port: number
  close(): void
}

interface Libc {
  socket(domain: number, type: number, protocol: number): number
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number
  bind(fd: number, address: Buffer, length: number): number
  listen(fd: number, backlog: number): number
  getsockname(fd: number, address: Buffer, length: Buffer): number
  close(fd: number): number
  errno(): number
}

const AF_INET = 2
const AF_INET6 = 10
const SOCK_STREAM = 1
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_REUSEPORT = 15
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const BACKLOG = 4096

const ERRNO: Readonly<Record<number, string>> = {
  13: 'EACCES',
  98: 'EADDRINUSE',
  99: 'EADDRNOTAVAIL',
  22: 'EINVAL',
  24: 'EMFILE',
}

let libc: Libc | null | undefined

/** Null where koffi is not installed or this is not Linux. */
async function loadLibc(): Promise<Libc | null> {
  if (libc !== undefined) return libc
  libc = null
  if (process.platform !== 'linux') return libc
  try {
    const { default: koffi } = await import('koffi')
    const lib = koffi.load('libc.so.6')
    libc = {
      socket: lib.func('int socket(int, int, int)'),
      setsockopt: lib.func('int setsockopt(int, int, int, const uint8_t *, uint32_t)'),
      bind: lib.func('int bind(int, const uint8_t *, uint32_t)'),
      listen: lib.func('int listen(int, int)'),
      getsockname: lib.func('int getsockname(int, uint8_t *, uint8_t *)'),
      close: lib.func('int close(int)'),
      errno: () => koffi.errno(),
    }
  } catch {
    libc = null
  }
  return libc
}

/** Node knows the option from 22.12 and 23.1 on. */
function nodeHasReusePort(): boolean {
  const [major, minor] = process.versions.node.split('.').map(Number) as [number, number]
  return process.platform === 'linux' && (major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12))
}

/** Whether several workers can listen on one port here. */
export async function canSharePorts(): Promise<boolean> {
  return nodeHasReusePort() || (await loadLibc()) !== null
}

/**
 * Checks that a port can be bound, and chooses one for port 0. Rejects with an errno in `code` as `listen` would. Until `close` nobody else
 * gets the port, but connections are refused: the socket does not listen.
 */
export async function reserve(address: string, port: number): Promise<Reservation> {
  const c = await loadLibc()
  if (c === null) return reserveByListening(address, port)
  // Whoever listens there must be noticed before any worker starts: also another heddle, with which SO_REUSEPORT would share the port.
  if (port !== 0) c.close(boundSocket(c, address, port, false))
  const fd = boundSocket(c, address, port, true)
  const name = Buffer.alloc(28)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(name.length, 0)
  c.getsockname(fd, name, length)
  let open = true
  return {
    port: name.readUInt16BE(2),
    close: () => {
      if (open) c.close(fd)
      open = false
    },
  }
}

async function reserveByListening(address: string, port: number): Promise<Reservation> {
  const server = net.createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: address, port, exclusive: true }, resolve)
  })
  const bound = (server.address() as net.AddressInfo).port
  await new Promise((resolve) => server.close(resolve))
  return { port: bound, close: () => {} }
}

/** Listens; every worker calls it with the same port. Rejects with an errno in `code`. */
export async function listen(server: net.Server, address: string, port: number): Promise<void> {
  const c = nodeHasReusePort() ? null : await loadLibc()
  const options: net.ListenOptions & { reusePort?: boolean } = { host: address, port, backlog: BACKLOG }
  if (nodeHasReusePort()) options.reusePort = true
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    const done = () => {
      server.off('error', reject)
      resolve()
    }
    if (c === null) {
      server.listen(options, done)
      return
    }
    try {
      const fd = boundSocket(c, address, port, true)
      if (c.listen(fd, BACKLOG) !== 0) throw errnoError(c, fd, 'listen', address, port)
      server.listen({ fd }, done)
    } catch (error) {
      reject(error as Error)
    }
  })
}

/** `shared`: with SO_REUSEPORT. Without it a port on which somebody listens is EADDRINUSE. */
function boundSocket(c: Libc, address: string, port: number, shared: boolean): number {
  const v6 = address.includes(':')
  const fd = c.socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
  if (fd < 0) throw errnoError(c, -1, 'socket', address, port)
  const one = Buffer.from([1, 0, 0, 0])
  c.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one, 4)
  if (shared) c.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, one, 4)
  if (v6) c.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, one, 4)
  const sockaddr = v6 ? sockaddrV6(address, port) : sockaddrV4(address, port)
  if (c.bind(fd, sockaddr, sockaddr.length) !== 0) throw errnoError(c, fd, 'bind', address, port)
  return fd
}

function errnoError(c: Libc, fd: number, call: string, address: string, port: number): NodeJS.ErrnoException {
  const errno = c.errno()
  if (fd >= 0) c.close(fd)
  const code = ERRNO[errno] ?? `errno ${errno}`
  const error: NodeJS.ErrnoException = new Error(`${call} ${code} ${address}:${port}`)
  error.code = code
  return error
}

function sockaddrV4(address: string, port: number): Buffer {
  const b = Buffer.alloc(16)
  b.writeUInt16LE(AF_INET, 0)
  b.writeUInt16BE(port, 2)
  for (const [i, part] of address.split('.').entries()) b.writeUInt8(Number(part), 4 + i)
  return b
}

function sockaddrV6(address: string, port: number): Buffer {
  const b = Buffer.alloc(28)
  b.writeUInt16LE(AF_INET6, 0)
  b.writeUInt16BE(port, 2)
  const [head = '', tail] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : new Array<string>(8 - left.length - right.length).fill('0')
  for (const [i, part] of [...left, ...zeros, ...right].entries()) b.writeUInt16BE(Number.parseInt(part, 16), 8 + 2 * i)
  return b
}
