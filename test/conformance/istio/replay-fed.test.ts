// Every recorded request gets from heddle what it got from Envoy, when heddle is fed the very resources that istiod sent to Envoy.
import t from 'tap'
import type { Difference } from './differs.ts'
import { DIFFERS_FED } from './differs-fed.ts'
import { replayedFed } from './fed-subject.ts'
import { judge, judgeCounts } from './judge.ts'
import type { Counts, Outcome } from './recording.ts'
import { peersFolder, readRecording } from './recording.ts'

const FOLDERS = [
  'cases/match',
  'cases/hosts',
  'cases/rewrite',
  'cases/headers',
  'cases/limits-and-paths',
  'cases/retry',
  'cases/faults',
  'cases/weights',
  'cases/registry-only',
  'cases/visibility',
  'cases/grpc',
  'cases/inbound',
  'cases/gateway',
  'cases/gateway-api-mesh',
  'examples/routing',
  'examples/resilience',
]

/** Part of a name: only these requests. */
const ONLY = process.env['HEDDLE_REPLAY_ONLY'] ?? ''
/** Part of a folder's name: only these. */
const ONLY_FOLDER = process.env['HEDDLE_REPLAY_FOLDER'] ?? ''
const peers = peersFolder()

if (peers === null) t.plan(0, 'the recordings of Istio and Envoy are not here; HEDDLE_PEERS names their folder')
else {
  const unused = new Set<Difference>(DIFFERS_FED)
  let skipped = 0
  for (const folder of FOLDERS) {
    if (!folder.includes(ONLY_FOLDER)) continue
    t.test(folder, async (t) => {
      const results = await replayedFed(t, peers, readRecording(peers, folder, 96), ONLY)
      if (results === null) skipped++
      for (const { name, wanted, found, ignore } of results ?? []) {
        if ('statuses' in wanted) judgeCounts(t, `${folder}: ${name}`, wanted, found as Counts, DIFFERS_FED, unused)
        else judge(t, `${folder}: ${name}`, wanted, found as Outcome, ignore, DIFFERS_FED, unused)
      }
    })
  }
  t.test('every declared difference still exists', async (t) => {
    const left = [...unused].map((d) => `${d.cases} (${d.reason})`)
    if (ONLY !== '' || ONLY_FOLDER !== '' || skipped > 0) t.pass('not all was replayed', { skip: `${skipped} skipped` })
    else t.same(left, [])
  })
}
