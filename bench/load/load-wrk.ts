// Closed-loop load by wrk, whose own cost is small enough for claims. Latency is measured from when a request was sent, so
// a stall hides the requests that it kept from being sent; the open loop does not have that fault.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runChild } from './child.ts'
import { findProgram, versionOf } from './find-program.ts'
import { GRACE_MS, type Load, type LoadJob, type LoadResult } from './load.ts'
import { HOST } from './scenario.ts'

export const WRK_INSTALL = 'apt-get install wrk (or brew install wrk)'

/** wrk's text has no 99.9th percentile; its Lua hook has. Only `done` is defined, so requests stay on wrk's fast path. */
const REPORT = `done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"microseconds":%d,"p50":%f,"p99":%f,"p999":%f,"errors":%d,"non2xx":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect + e.read + e.write + e.timeout, e.status))
end
`

/** null when wrk is not installed. */
export function wrkLoad(folder: string): Load | null {
  const program = findProgram('wrk', 'WRK')
  if (program === null) return null
  const script = join(folder, 'report.lua')
  writeFileSync(script, REPORT)
  const run = async (job: LoadJob, seconds: number): Promise<LoadResult> => {
    const url = `http://127.0.0.1:${job.port}${job.path}`
    const args = ['-t1', `-c${job.connections}`, `-d${seconds}s`, '-H', `Host: ${HOST}`, '--latency', '-s', script, url]
    return readReport(await runChild({ command: program, args, core: job.core }, seconds * 1000 + GRACE_MS))
  }
  return {
    id: 'wrk',
    version: versionOf(program, ['-v'], /wrk (?:debian\/)?(\S+)/),
    async run(job, window) {
      if (job.warmUpS > 0) await run(job, Math.ceil(job.warmUpS))
      window.open()
      const result = await run(job, Math.ceil(job.durationS))
      window.close()
      return result
    },
  }
}

function readReport(output: string): LoadResult {
  const line = output.split('\n').find((text) => text.startsWith('{'))
  if (line === undefined) throw new Error(`wrk printed no report: ${output}`)
  const report = JSON.parse(line) as Record<string, number>
  const value = (name: string): number => report[name] ?? 0
  return {
    requests: value('requests'),
    seconds: value('microseconds') / 1e6,
    p50Ms: value('p50') / 1000,
    p99Ms: value('p99') / 1000,
    p999Ms: value('p999') / 1000,
    errors: value('errors'),
    non2xx: value('non2xx'),
    sendLagP99Ms: null,
  }
}
