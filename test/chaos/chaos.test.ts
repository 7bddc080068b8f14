// A short run of what `npm run chaos` does for minutes. A failure names its seed, and the command that repeats it.
import t from 'tap'
import { KIND_ACT } from './act.ts'
import { type RunOptions, type RunReport, runChaos } from './run.ts'
import { judgeSweep, sweepCases } from './sweep.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(170_000)

const seed = Number(process.env['HEDDLE_CHAOS_SEED'] ?? Math.floor(Math.random() * 0x7fffffff))
/** A short run has not warmed up when it is measured first. */
const SLACK_BYTES = 8 * 2 ** 20

const OPTIONS: RunOptions = {
  seed,
  retries: 'exact',
  requests: [500, 700],
  clients: 16,
  malice: 0.25,
  crashes: 1,
  reloadEvery: 250,
  slackBytes: SLACK_BYTES,
}

function judge(t: { ok(found: unknown, message: string): unknown; comment(...args: unknown[]): void }, report: RunReport): void {
  t.comment(`HEDDLE_CHAOS_SEED=${seed}: ${report.summary}`)
  t.ok(report.faults.length === 0, `seed ${seed}: ${report.faults.join('\n')}`)
}

t.test('an upstream that ends at every byte of its answer', async (t) => {
  const cases = sweepCases()
  const half = Math.floor(cases.length / 2)
  const report = await runChaos(t, {
    ...OPTIONS,
    requests: [half, cases.length - half],
    clients: 12,
    crashes: 0,
    patient: true,
    reloadEvery: Number.POSITIVE_INFINITY,
    plan: (id) => cases[id]!.plan,
    act: (id, attempt) => (attempt === 1 ? cases[id]!.act : KIND_ACT),
    judge: (fate) => judgeSweep(cases[fate.plan.id]!, fate),
  })
  judge(t, report)
  t.equal(report.ledger.heard, cases.length)
})

t.test('everything at once: nothing that is not safe is sent twice', async (t) => {
  judge(t, await runChaos(t, { ...OPTIONS, retries: 'guarded' }))
})

t.test('everything at once, with retries as the policies say', async (t) => {
  judge(t, await runChaos(t, OPTIONS))
})
