// Load generators that are Node.js programs of this folder. Each warms itself up, prints `begin` and, at the end of its
// measured window, its result as one line of JSON; those two lines are the window.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { startChild } from './child.ts'
import { GRACE_MS, type Load, type LoadJob, type LoadResult, type Window } from './load.ts'

/** Closed-loop load by autocannon: for the everyday table. Its latencies are whole milliseconds. */
export function autocannonLoad(): Load {
  const file = createRequire(import.meta.url).resolve('autocannon/package.json')
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
  return { id: 'autocannon', version, run: (job, window) => runProgram('autocannon-process.js', job, window) }
}

/** Open-loop load by our own generator. */
export function openLoopLoad(): Load {
  return {
    id: 'open loop',
    version: process.versions.node,
    run: (job, window) => runProgram('open-loop-process.js', job, window),
  }
}

async function runProgram(program: string, job: LoadJob, window: Window): Promise<LoadResult> {
  const args = [join(import.meta.dirname, program), JSON.stringify(job)]
  const child = startChild({ command: process.execPath, args, core: job.core })
  let result: LoadResult | null = null
  child.onLine((line) => {
    if (line === 'begin') window.open()
    if (!line.startsWith('{')) return
    window.close()
    result = JSON.parse(line) as LoadResult
  })
  const timer = setTimeout(() => void child.stop(), (job.warmUpS + job.durationS) * 1000 + GRACE_MS)
  await child.exited
  clearTimeout(timer)
  if (result === null) throw new Error(`${program} gave no result: ${child.tail()}`)
  return result
}
