// autocannon in a process of its own, which can then be pinned. Run as `node autocannon-process.js JOB`; see load-node.ts.
import { createRequire } from 'node:module'
import type { LoadJob, LoadResult } from './load.ts'
import { HOST } from './scenario.ts'

/** The part of autocannon's result that is read here; it ships no types. */
interface AutocannonResult {
  readonly requests: { readonly total: number }
  readonly duration: number
  readonly latency: { readonly p50: number; readonly p99: number; readonly p99_9: number }
  readonly errors: number
  readonly non2xx: number
}
type Autocannon = (options: object) => Promise<AutocannonResult>

const autocannon = createRequire(import.meta.url)('autocannon') as Autocannon
const job = JSON.parse(process.argv[2] ?? '{}') as LoadJob

function load(seconds: number): Promise<AutocannonResult> {
  const url = `http://127.0.0.1:${job.port}${job.path}`
  return autocannon({ url, connections: job.connections, duration: seconds, headers: { host: HOST } })
}

if (job.warmUpS > 0) await load(Math.ceil(job.warmUpS))
process.stdout.write('begin\n')
const result = await load(Math.ceil(job.durationS))
const report: LoadResult = {
  requests: result.requests.total,
  seconds: result.duration,
  p50Ms: result.latency.p50,
  p99Ms: result.latency.p99,
  p999Ms: result.latency.p99_9,
  errors: result.errors,
  non2xx: result.non2xx,
  sendLagP99Ms: null,
}
process.stdout.write(`${JSON.stringify(report)}\n`)
