// Every recorded request gets from heddle what it got from Envoy, when heddle is fed the very resources that istiod sent to Envoy.
import t from 'tap'
import { DIFFERS_FED } from './differs-fed.ts'
import { replayedFed } from './fed-subject.ts'
import { readRecording } from './recording.ts'
import { ONLY, ReplayFolders, recordingsOr } from './replay-folders.ts'

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

const peers = recordingsOr(t)

if (peers !== null) {
  const replay = new ReplayFolders(t, DIFFERS_FED)
  for (const folder of FOLDERS) replay.folder(folder, (t) => replayedFed(t, peers, readRecording(peers, folder, 96), ONLY))
  replay.end()
}
