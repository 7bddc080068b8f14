// Closed-loop load by h2load of nghttp2: HTTP/2 with prior knowledge, and requests in the shape of gRPC's. It tells no percentiles of latency.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runChild } from './child.ts'
import { findProgram, versionOf } from './find-program.ts'
import { GRACE_MS, type Load, type LoadJob, type LoadResult } from './load.ts'
import { GRPC_REQUEST, HOST } from './scenario.ts'

export const H2LOAD_INSTALL = 'apt-get install nghttp2-client (or brew install nghttp2)'

/** null when h2load is not installed. */
export function h2loadLoad(folder: string): Load | null {
  const program = findProgram('h2load', 'H2LOAD')
  if (program === null) return null
  const body = join(folder, 'grpc-request')
  writeFileSync(body, GRPC_REQUEST)
  const run = async (job: LoadJob, seconds: number): Promise<LoadResult> => {
    const grpc = job.protocol === 'grpc' ? ['-d', body, '-H', 'content-type: application/grpc', '-H', 'te: trailers'] : []
    const shape = ['-t1', `-c${job.connections}`, `-m${job.streams}`, `-D${seconds}`]
    const args = [...shape, '-H', `:authority: ${HOST}`, ...grpc, `http://127.0.0.1:${job.port}${job.path}`]
    return readReport(await runChild({ command: program, args, core: job.core }, seconds * 1000 + GRACE_MS), seconds)
  }
  return {
    id: 'h2load',
    version: versionOf(program, ['--version'], /nghttp2\/(\S+)/),
    async run(job, window) {
      if (job.warmUpS > 0) await run(job, Math.ceil(job.warmUpS))
      window.open()
      const result = await run(job, Math.ceil(job.durationS))
      window.close()
      return result
    },
  }
}

/** `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout` and `status codes: 9 2xx, 0 3xx, 0 4xx, 0 5xx`. */
function readReport(output: string, seconds: number): LoadResult {
  const count = (pattern: RegExp): number => {
    const found = pattern.exec(output)
    if (found === null) throw new Error(`h2load printed no report: ${output}`)
    return Number(found[1])
  }
  // Requests that were under way when the time was over are neither done nor failed.
  const done = count(/, (\d+) done,/)
  const good = count(/status codes: (\d+) 2xx/)
  return {
    requests: done,
    seconds,
    p50Ms: Number.NaN,
    p99Ms: Number.NaN,
    p999Ms: Number.NaN,
    errors: count(/, (\d+) errored,/) + count(/, (\d+) timeout/),
    non2xx: Math.max(0, done - good),
    sendLagP99Ms: null,
  }
}
