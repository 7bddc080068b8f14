// Every recorded request gets from heddle what it got from Envoy, configured by istiod from the same YAML.
import t from 'tap'
import type { Difference } from './differs.ts'
import { DIFFERS } from './differs.ts'
import { judge, judgeCounts } from './judge.ts'
import { compact, type OwnAnswer, readOwnCases } from './own-cases.ts'
import type { Counts, Outcome } from './recording.ts'
import { peersFolder, readRecording } from './recording.ts'
import { replayed } from './subject.ts'

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
  'cases/gateway',
  'cases/gateway-api-mesh',
  'cases/inbound',
  'examples/routing',
  'examples/resilience',
  'examples/inbound-policy',
]

/** Part of a name: only these requests. */
const ONLY = process.env['HEDDLE_REPLAY_ONLY'] ?? ''
/** Part of a folder's or file's name: only these. */
const ONLY_FOLDER = process.env['HEDDLE_REPLAY_FOLDER'] ?? ''
const peers = peersFolder()

if (peers === null) t.plan(0, 'the recordings of Istio and Envoy are not here; HEDDLE_PEERS names their folder')
else {
  const unused = new Set<Difference>(DIFFERS)
  let skipped = 0
  for (const folder of FOLDERS) {
    if (!folder.includes(ONLY_FOLDER)) continue
    t.test(folder, async (t) => {
      const results = await replayed(t, readRecording(peers, folder), ONLY)
      if (results === null) skipped++
      for (const { name, wanted, found, ignore } of results ?? []) {
        if ('statuses' in wanted) judgeCounts(t, `${folder}: ${name}`, wanted, found as Counts, DIFFERS, unused)
        else judge(t, `${folder}: ${name}`, wanted, found as Outcome, ignore, DIFFERS, unused)
      }
    })
  }
  for (const { name, recording, answers } of readOwnCases(peers)) {
    if (!`own/${name}`.includes(ONLY_FOLDER)) continue
    t.test(`own questions: ${name}`, async (t) => {
      const results = await replayed(t, recording, ONLY)
      if (results === null) skipped++
      for (const { name: question, found } of results ?? []) {
        const wanted = answers.get(question) as OwnAnswer
        const fullName = `own/${name}: ${question}`
        const declared = DIFFERS.find((d) => d.cases.test(fullName))
        if (declared !== undefined) unused.delete(declared)
        const headers = 'headers' in wanted ? { headers: declared?.ownHeaders?.(wanted.headers ?? []) ?? wanted.headers } : {}
        t.same(compact(found, wanted), { ...wanted, ...headers, ...declared?.instead }, fullName)
      }
    })
  }
  t.test('every declared difference still exists', async (t) => {
    const left = [...unused].map((d) => `${d.cases} (${d.reason})`)
    if (ONLY !== '' || ONLY_FOLDER !== '' || skipped > 0) t.pass('not all was replayed', { skip: `${skipped} skipped` })
    else t.same(left, [])
  })
}
