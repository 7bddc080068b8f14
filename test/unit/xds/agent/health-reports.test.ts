// What is told of an application, and when: the thresholds and the rhythm of Istio's readinessProbe.
import t from 'tap'
import { HealthReports, type HealthReportsOptions } from '../../../../lib/xds/agent/health-reports.ts'
import { ManualTime } from '../../../support/manual-time.ts'

function reports(terms: Partial<HealthReportsOptions> = {}) {
  const time = new ManualTime(0)
  const asked: number[] = []
  const told: (readonly [atMs: number, problem: string | null])[] = []
  const waiting: ((problem: string | null) => void)[] = []
  const made = new HealthReports({
    initialDelayMs: 0,
    periodMs: 1000,
    successThreshold: 1,
    failureThreshold: 1,
    ask: () => {
      asked.push(time.nowMs)
      return new Promise((resolve) => waiting.push(resolve))
    },
    report: (problem) => told.push([time.nowMs, problem]),
    schedule: time.schedule,
    ...terms,
  })
  made.start()
  /** The next question is answered. */
  const answer = async (problem: string | null) => {
    waiting.shift()?.(problem)
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  return { made, time, asked, told, answer }
}

t.test('answers in a row, told when they say another thing than before', async (t) => {
  const rows: readonly (readonly [string, Partial<HealthReportsOptions>, string, readonly (string | null)[]])[] = [
    ['at once', {}, '+', [null]],
    ['once', {}, '+++', [null]],
    ['ill from the beginning', {}, '-', ['ill 0']],
    ['both', {}, '+-+', [null, 'ill 1', null]],
    ['three failures', { failureThreshold: 3 }, '+--+---', [null, 'ill 6']],
    ['two successes', { successThreshold: 2 }, '+-+-++', ['ill 1', null]],
    ['two successes at first', { successThreshold: 2 }, '++', [null]],
    ['the same illness is told once', { failureThreshold: 2 }, '--------', ['ill 1']],
    ['not yet', { failureThreshold: 2 }, '??-?-', ['ill 4']],
  ]
  for (const [what, terms, answers, wanted] of rows) {
    const r = reports(terms)
    for (const [i, said] of [...answers].entries()) {
      r.time.advance(i === 0 ? 0 : 1000)
      await r.answer(said === '+' ? '' : said === '-' ? `ill ${i}` : null)
    }
    t.same(
      r.told.map(([, problem]) => problem),
      wanted,
      what,
    )
    r.made.stop()
  }
})

t.test('in a rhythm, one question at a time', async (t) => {
  const r = reports({ initialDelayMs: 5000 })
  r.time.advance(4999)
  t.same(r.asked, [])
  r.time.advance(1)
  t.same(r.asked, [5000])
  r.time.advance(3500)
  t.same(r.asked, [5000], 'an answer is waited for')
  await r.answer('')
  r.time.advance(500)
  t.same(r.asked, [5000, 9000])
  r.made.stop()
  await r.answer('ill')
  r.time.advance(10_000)
  t.same(r.asked, [5000, 9000])
  t.same(r.told, [[8500, null]], 'nothing more when it is over')
})
