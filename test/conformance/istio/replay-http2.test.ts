// Requests that were recorded over HTTP/1.1 get the same answers over HTTP/2. Endpoints have other addresses here, so that this runs beside
// replay.test.ts.
import t, { type Test } from 'tap'
import { DIFFERS } from './differs.ts'
import { DIFFERS_HTTP2 } from './differs-http2.ts'
import { overHttp2, withoutVersion } from './over-http2.ts'
import { readRecording } from './recording.ts'
import { ONLY, ReplayFolders, recordingsOr } from './replay-folders.ts'
import { replayed } from './subject.ts'

/** Folders, and what is not asked again: a content-length that only HTTP/1 says, a fragment, which is malformed in `:path`, and what takes long. */
const FOLDERS: Readonly<Record<string, RegExp | null>> = {
  'cases/match': null,
  'cases/hosts': null,
  'cases/rewrite': null,
  'cases/headers': null,
  'cases/limits-and-paths': null,
  'cases/retry': null,
  'cases/faults': null,
  'cases/weights': null,
  'cases/registry-only': /HEAD$/,
  'cases/visibility': null,
  'cases/inbound': /#/,
  'examples/routing': null,
  'examples/resilience': null,
  'examples/inbound-policy': null,
}

const peers = recordingsOr(t)

if (peers !== null) {
  const replay = new ReplayFolders(t, DIFFERS_HTTP2, DIFFERS)
  for (const [folder, skip] of Object.entries(FOLDERS)) {
    const ask = (t: Test) => replayed(t, overHttp2(readRecording(peers, folder, 64), skip), ONLY)
    replay.folder(folder, ask, withoutVersion)
  }
  replay.end()
}
