// CPU time and memory of a process with its children, and how busy a core was, from /proc. Linux only.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks a second of /proc (sysconf CLK_TCK); 100 nearly everywhere. */
const TICKS_PER_SECOND = readTicksPerSecond()

function readTicksPerSecond(): number {
  try {
    return Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'latin1' })) || 100
  } catch {
    return 100
  }
}

/** The process and all its descendants that live now. */
export function processTree(root: number): number[] {
  const childrenOf = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const fields = statFields(pid)
    if (fields === null) continue
    const parent = Number(fields[1])
    const siblings = childrenOf.get(parent)
    if (siblings === undefined) childrenOf.set(parent, [pid])
    else siblings.push(pid)
  }
  const tree = [root]
  for (let i = 0; i < tree.length; i++) tree.push(...(childrenOf.get(tree[i] as number) ?? []))
  return tree
}

/** Seconds of CPU, user and system, that the process tree has used since its start; all threads, ended ones included. */
export function cpuSeconds(root: number): number {
  let ticks = 0
  for (const pid of processTree(root)) {
    const fields = statFields(pid)
    if (fields !== null) ticks += Number(fields[11]) + Number(fields[12]) // utime, stime
  }
  return ticks / TICKS_PER_SECOND
}

/** Bytes of resident memory of the process tree. Pages shared between its processes count once for each. */
export function residentBytes(root: number): number {
  let kilobytes = 0
  for (const pid of processTree(root)) {
    try {
      kilobytes += Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0)
    } catch {
      // ended between listing and reading
    }
  }
  return kilobytes * 1024
}

/** Seconds that the core has spent on anybody's processes or had stolen, since boot: user, nice, system, steal of proc(5) stat. */
export function coreBusySeconds(core: number): number {
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'latin1'))?.[1] ?? ''
  const [user = 0, nice = 0, system = 0, , , , , steal = 0] = line.split(' ').map(Number)
  return (user + nice + system + steal) / TICKS_PER_SECOND
}

/** Fields of /proc/PID/stat after the command name (which may hold spaces): [0] state, [1] ppid, … [11] utime, [12] stime. */
function statFields(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}
