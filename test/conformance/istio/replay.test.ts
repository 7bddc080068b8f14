// Every recorded request gets from heddle what it got from Envoy, configured by istiod from the same YAML.
import t, { type Test } from 'tap'
import { DIFFERS } from './differs.ts'
import { compact, type OwnAnswer, readOwnCases } from './own-cases.ts'
import { readRecording } from './recording.ts'
import { ONLY, ReplayFolders, recordingsOr } from './replay-folders.ts'
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

const peers = recordingsOr(t)

if (peers !== null) {
  const replay = new ReplayFolders(t, DIFFERS)
  for (const folder of FOLDERS) replay.folder(folder, (t) => replayed(t, readRecording(peers, folder), ONLY))
  for (const { name, recording, answers } of readOwnCases(peers)) {
    const ask = (t: Test) => replayed(t, recording, ONLY)
    replay.other(`own/${name}`, `own questions: ${name}`, ask, (t, { name: question, found }) => {
      const wanted = answers.get(question) as OwnAnswer
      const fullName = `own/${name}: ${question}`
      const declared = replay.declared(fullName)
      const headers = 'headers' in wanted ? { headers: declared?.ownHeaders?.(wanted.headers ?? []) ?? wanted.headers } : {}
      t.same(compact(found, wanted), { ...wanted, ...headers, ...declared?.instead }, fullName)
    })
  }
  replay.end()
}
