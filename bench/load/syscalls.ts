// Which system calls a proxy makes per request, counted by strace while it is under load. Rates mean nothing meanwhile.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startChild } from './child.ts'
import { processTree } from './cpu-time.ts'
import { findProgram } from './find-program.ts'
import type { Load, LoadJob } from './load.ts'

export const STRACE_INSTALL = 'apt-get install strace'

/** Milliseconds for strace to attach to all threads. */
const ATTACH_MS = 500

/** Calls per request by name, most frequent first. Rejects where strace is missing or may not attach. */
export async function syscallsPerRequest(pid: number, load: Load, job: LoadJob, folder: string): Promise<Map<string, number>> {
  const strace = findProgram('strace', 'STRACE')
  if (strace === null) throw new Error(`strace is not installed. ${STRACE_INSTALL}`)
  const file = join(folder, `strace-${pid}`)
  const pids = processTree(pid).flatMap((each) => ['-p', String(each)])
  const tracer = startChild({ command: strace, args: ['-c', '-f', '-o', file, ...pids], core: job.core })
  await sleep(ATTACH_MS)
  if (tracer.hasExited()) throw new Error(`strace ended: ${tracer.tail()}`)
  // The warm-up is traced as well, so the whole run must count: none.
  let requests = 0
  try {
    const nothing = (): void => {}
    requests = (await load.run({ ...job, warmUpS: 0 }, { open: nothing, close: nothing })).requests
  } finally {
    await tracer.stop()
  }
  return perRequest(readFileSync(file, 'latin1'), requests)
}

/** Reads the summary of `strace -c`: % time, seconds, usecs/call, calls, errors (may be blank), name. */
function perRequest(summary: string, requests: number): Map<string, number> {
  const counts: [string, number][] = []
  for (const line of summary.split('\n')) {
    const fields = line.trim().split(/\s+/)
    const calls = Number(fields[3])
    const name = fields.at(-1)
    if (fields.length < 5 || !Number.isInteger(calls) || name === undefined || name === 'total') continue
    counts.push([name, calls / Math.max(1, requests)])
  }
  return new Map(counts.sort((a, b) => b[1] - a[1]))
}
