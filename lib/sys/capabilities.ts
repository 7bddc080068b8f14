// What a role needs of the system, tried once at start, so that an operator reads what is missing and what to do, and not an errno of the
// first connection.
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { type Libc, libc, whyNoLibc } from './libc.ts'
import { homeNetns, tcpSocket } from './netns.ts'
import { AF_INET } from './sockaddr.ts'
import { setMark, setTransparent } from './socket-options.ts'

/**
 * - `original-destination`: where the clients of redirected connections wanted to go; needs no capability;
 * - `mark`: SO_MARK, so that rules of interception leave our own traffic alone;
 * - `transparent`: listening behind TPROXY, and speaking to an application with its client's address;
 * - `namespaces`: sockets in the network namespaces of pods.
 */
export type Ability = 'original-destination' | 'mark' | 'transparent' | 'namespaces'

/** What cannot be done here, and why. */
export interface Lack {
  readonly ability: Ability
  /** One sentence: what is missing, and what to do. */
  readonly sentence: string
}

interface Need {
  /** Behind "cannot". */
  readonly what: string
  /** Names of capabilities of which one is enough, without `CAP_`. */
  readonly capabilities: readonly string[]
  /** An errno, or 0. */
  readonly attempt: (c: Libc) => number
}

const CLONE_NEWNET = 0x40000000

const NEEDS: Readonly<Record<Ability, Need>> = {
  'original-destination': {
    what: 'learn where redirected connections were going',
    capabilities: [],
    attempt: () => 0,
  },
  mark: {
    what: 'mark its own packets (SO_MARK)',
    capabilities: ['NET_ADMIN', 'NET_RAW'],
    attempt: (c) => onSocket(c, (fd) => setMark(c, fd, 1)),
  },
  transparent: {
    what: 'use addresses of other machines (IP_TRANSPARENT)',
    capabilities: ['NET_ADMIN', 'NET_RAW'],
    attempt: (c) => onSocket(c, (fd) => setTransparent(c, fd, AF_INET)),
  },
  namespaces: {
    what: 'open sockets in the network namespaces of pods (setns)',
    capabilities: ['SYS_ADMIN'],
    attempt: (c) => (c.setns(homeNetns().fd, CLONE_NEWNET) === 0 ? 0 : c.errno()),
  },
}

/** Those of `wanted` that cannot be had, in that order; empty: all is well. Throws only when no socket can be made at all. */
export function lacking(wanted: readonly Ability[]): readonly Lack[] {
  // Most roles want nothing, and need not wait for the library.
  if (wanted.length === 0) return []
  const c = libc()
  return wanted.flatMap((ability) => {
    const need = NEEDS[ability]
    if (c === null) return [{ ability, sentence: withoutLibc(need) }]
    const errno = need.attempt(c)
    return errno === 0 ? [] : [{ ability, sentence: refused(need, errno) }]
  })
}

/** The errno of an option that is refused, or 0. */
function onSocket(c: Libc, set: (fd: number) => boolean): number {
  const fd = tcpSocket(c, AF_INET, null)
  const errno = set(fd) ? 0 : c.errno()
  c.close(fd)
  return errno
}

function withoutLibc({ what }: Need): string {
  const why = whyNoLibc()
  const todo = process.platform === 'linux' ? 'install it beside heddle (npm install koffi)' : 'run heddle on Linux'
  return `cannot ${what}: ${why}; ${todo}`
}

function refused({ what, capabilities }: Need, errno: number): string {
  const code = getSystemErrorName(-errno)
  if (errno !== constants.errno.EPERM) return `cannot ${what}: the system says ${code}`
  const names = capabilities.map((name) => `CAP_${name}`).join(' or ')
  const uid = process.getuid?.() ?? 0
  // What a container is given beyond its default reaches processes of root alone, unless it is an ambient capability or one of the file.
  const todo =
    uid === 0
      ? `add ${capabilities[0]} to the capabilities of its container`
      : `give it to uid ${uid} as an ambient capability or as one of the node executable (setcap), since the capabilities added to a container reach root alone; or run as root`
  return `cannot ${what}: ${code}, without ${names}; ${todo}`
}
