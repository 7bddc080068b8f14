// `npm run fuzz:envoy -- --seed N --minutes M`: rounds of drawn configurations in heddle and in Envoy, until the time is over.
import { parseArgs } from 'node:util'
import { findEnvoy } from '../../support/envoy.ts'
import { compareSubjects, type Difference, runRound } from './compare.ts'
import { KINDS } from './kinds.ts'
import { shrunk } from './shrink.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string', default: '2' },
    subjects: { type: 'string', default: '60' },
    /** Of `KINDS`; all of them. */
    only: { type: 'string', default: '' },
    /** Differences that are printed whole, of each kind. */
    show: { type: 'string', default: '1' },
  },
})

/** Requests of each kind of difference. */
const SAMPLES = 4

function print({ kind, subject, index, request, envoy, heddle }: Difference): void {
  const { requests: _, ...configuration } = subject
  process.stdout.write(`  DIFFERENT: ${kind}, subject ${index}\n    ${JSON.stringify(configuration)}\n`)
  if (request !== null) process.stdout.write(`    asked:  ${JSON.stringify(request)}\n`)
  process.stdout.write(`    Envoy:  ${JSON.stringify(envoy)}\n    heddle: ${JSON.stringify(heddle)}\n`)
}

const reasons = (all: ReadonlyMap<string, number>): string =>
  [...all].map(([reason, n]) => `\n    ${n} × ${reason.slice(0, 300)}`).join('')

if (findEnvoy() === null) {
  process.stdout.write('no Envoy: set ENVOY to one (bench/README.md says whence)\n')
  process.exit(1)
}
const until = performance.now() + Number(values.minutes) * 60_000
let seed = Number(values.seed ?? Math.floor(Math.random() * 0x7fffffff))
let total = 0
let found = 0
do {
  for (const [kind, draw] of Object.entries(KINDS)) {
    if (values.only !== '' && values.only !== kind) continue
    const round = await runRound({ draw, kind, seed, subjects: Number(values.subjects) })
    total += round.compared
    found += round.differences.length
    process.stdout.write(
      `seed ${seed}, ${kind}: ${round.compared} compared, ${round.passed} passed, ${round.differences.length} different` +
        `; heddle refuses:${reasons(round.refusedByHeddle) || ' none'}\n`,
    )
    const kinds = new Map<string, Difference[]>()
    for (const d of round.differences) kinds.set(d.kind, [...(kinds.get(d.kind) ?? []), d])
    for (const [what, all] of kinds) {
      process.stdout.write(`  ${all.length} × ${what}\n`)
      for (const { request } of all.slice(0, SAMPLES))
        process.stdout.write(`    ${JSON.stringify(request ?? all[0]?.envoy).slice(0, 300)}\n`)
    }
    const shown = new Map<string, number>()
    for (const difference of round.differences) {
      const count = (shown.get(difference.kind) ?? 0) + 1
      shown.set(difference.kind, count)
      if (count > Number(values.show)) continue
      print(await shrunk(difference, async (subjects) => (await compareSubjects(subjects)).differences))
    }
    if (round.differences.length > 0)
      process.stdout.write(`  again: npm run fuzz:envoy -- --seed ${seed} --only ${kind} --minutes 0\n`)
  }
  seed = (seed + 1) % 0x7fffffff
} while (performance.now() < until)
process.stdout.write(`${total} compared, ${found} different\n`)
process.exitCode = found > 0 ? 1 : 0
