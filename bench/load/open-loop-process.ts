// The open loop in a process of its own. Run as `node open-loop-process.js JOB`; see load-node.ts.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { LoadJob, LoadResult } from './load.ts'
import { OpenLoop, percentile } from './open-loop.ts'
import { HOST } from './scenario.ts'

const job = JSON.parse(process.argv[2] ?? '{}') as LoadJob
const { port, path, connections, ratePerSecond } = job
const loop = new OpenLoop({ port, path, connections, ratePerSecond, host: HOST })
const ticker = new Worker(join(import.meta.dirname, 'open-loop-ticker.js'), { workerData: { intervalMs: 1000 / ratePerSecond } })
ticker.on('message', () => loop.tick())

await sleep(job.warmUpS * 1000)
loop.reset()
process.stdout.write('begin\n')
const began = performance.now()
await sleep(job.durationS * 1000)
const seconds = (performance.now() - began) / 1000
const { requests, errors, non2xx, latenciesMs, sendLagsMs } = loop.report()
const report: LoadResult = {
  requests,
  seconds,
  p50Ms: percentile(latenciesMs, 0.5),
  p99Ms: percentile(latenciesMs, 0.99),
  p999Ms: percentile(latenciesMs, 0.999),
  errors,
  non2xx,
  sendLagP99Ms: percentile(sendLagsMs, 0.99),
}
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
