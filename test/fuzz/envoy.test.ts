// A short run of what `npm run fuzz:envoy` does for minutes: drawn configurations in heddle and in Envoy, which have to decide alike.
import t from 'tap'
import { findEnvoy } from '../support/envoy.ts'
import { runRound } from './envoy/compare.ts'
import { KINDS } from './envoy/kinds.ts'

t.setTimeout(170_000)

const seed = Number(process.env['HEDDLE_FUZZ_SEED'] ?? 1)
const skip = findEnvoy() === null ? 'no Envoy: set ENVOY to one (bench/README.md says whence)' : ''

/** What decides who may do what. */
for (const kind of ['rbac', 'jwt'] as const) {
  const draw = KINDS[kind]
  t.test(`${kind}: heddle decides as Envoy does`, { skip }, async (t) => {
    const { compared, passed, differences } = await runRound({ draw, kind, seed, subjects: 12 })
    t.comment(`HEDDLE_FUZZ_SEED=${seed}: ${compared} compared, ${passed} of them passed`)
    t.ok(compared > 100 && passed > 10 && passed < compared, 'some pass and some do not')
    t.same(differences.slice(0, 3), [], `again: npm run fuzz:envoy -- --seed ${seed} --only ${kind} --subjects 12 --minutes 0`)
  })
}
