// A short run of what `npm run chaos` does for minutes, over HTTP/2. A failure names its seed, and the command that repeats it.
import t from 'tap'
import { type RunOptions, runChaos } from './run.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(170_000)

const seed = Number(process.env['HEDDLE_CHAOS_SEED'] ?? Math.floor(Math.random() * 0x7fffffff))

const OPTIONS: RunOptions = {
  seed,
  retries: 'guarded',
  requests: [400, 500],
  clients: 12,
  malice: 0.25,
  crashes: 1,
  reloadEvery: 250,
  // A short run has not warmed up when it is measured first.
  slackBytes: 8 * 2 ** 20,
}

for (const [name, versions] of [
  ['on both sides', { downstream: 'http2', upstream: 'http2' }],
  ['beside HTTP/1, on both sides', { downstream: 'mixed', upstream: 'mixed' }],
] as const) {
  t.test(`everything at once, over HTTP/2 ${name}`, async (t) => {
    const report = await runChaos(t, { ...OPTIONS, ...versions })
    t.comment(`HEDDLE_CHAOS_SEED=${seed}: ${report.summary}`)
    t.ok(report.faults.length === 0, `seed ${seed}: ${report.faults.join('\n')}`)
  })
}
