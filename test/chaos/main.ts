// `npm run chaos -- --seed N --minutes M`: runs with one seed after the other until the time is over, or until something is wrong.
import { parseArgs } from 'node:util'
import { runChaos } from './run.ts'
import type { ChaosVersion } from './world.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string', default: '2' },
    requests: { type: 'string', default: '20000' },
    clients: { type: 'string', default: '24' },
    malice: { type: 'string', default: '0.25' },
    retries: { type: 'string', default: 'guarded' },
    downstream: { type: 'string', default: 'mixed' },
    upstream: { type: 'string', default: 'mixed' },
    quiet: { type: 'boolean', default: false },
  },
})

const until = performance.now() + Number(values.minutes) * 60_000
const retries = values.retries === 'exact' ? 'exact' : 'guarded'
let seed = Number(values.seed ?? Math.floor(Math.random() * 0x7fffffff))
let rounds = 0
do {
  process.stdout.write(`seed ${seed}, retries ${retries}\n`)
  const closers: (() => unknown)[] = []
  const requests = Number(values.requests)
  const report = await runChaos(
    { teardown: (fn) => void closers.unshift(fn) },
    {
      seed,
      retries,
      requests: [Math.floor(requests / 2), Math.ceil(requests / 2)],
      clients: Number(values.clients),
      malice: Number(values.malice),
      crashes: 2,
      downstream: version(values.downstream),
      upstream: version(values.upstream),
      reloadEvery: 800,
      // A short run has not warmed up when it is measured first.
      ...(requests < 10_000 ? { slackBytes: 8 * 2 ** 20 } : {}),
      ...(values.quiet ? {} : { progress: (line: string) => void process.stdout.write(`  ${line}\n`) }),
    },
  )
  for (const close of closers) await close()
  process.stdout.write(`  ${report.summary}\n`)
  if (report.faults.length > 0) {
    for (const fault of report.faults) process.stdout.write(`  WRONG: ${fault}\n`)
    process.stdout.write(
      `again: npm run chaos -- --seed ${seed} --retries ${retries} --requests ${requests} --clients ${values.clients} --malice ${values.malice} --downstream ${values.downstream} --upstream ${values.upstream} --minutes 0\n`,
    )
    process.exitCode = 1
    break
  }
  seed = (seed + 1) % 0x7fffffff
  rounds++
} while (performance.now() < until)
process.stdout.write(process.exitCode === 1 ? `failed after ${rounds} good runs\n` : `${rounds} runs, nothing wrong\n`)

function version(text: string): ChaosVersion {
  return text === 'http1' || text === 'http2' ? text : 'mixed'
}
