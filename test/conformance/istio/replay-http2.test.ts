// Requests that were recorded over HTTP/1.1 get the same answers over HTTP/2. Endpoints have other addresses here, so that this runs beside
// replay.test.ts.
import t from 'tap'
import type { Difference } from './differs.ts'
import { DIFFERS } from './differs.ts'
import { DIFFERS_HTTP2 } from './differs-http2.ts'
import { judge, judgeCounts } from './judge.ts'
import { overHttp2, withoutVersion } from './over-http2.ts'
import type { Counts, Outcome } from './recording.ts'
import { peersFolder, readRecording } from './recording.ts'
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

const ONLY = process.env['HEDDLE_REPLAY_ONLY'] ?? ''
const ONLY_FOLDER = process.env['HEDDLE_REPLAY_FOLDER'] ?? ''
const peers = peersFolder()

if (peers === null) t.plan(0, 'the recordings of Istio and Envoy are not here; HEDDLE_PEERS names their folder')
else {
  const unused = new Set<Difference>(DIFFERS_HTTP2)
  let skipped = 0
  for (const [folder, skip] of Object.entries(FOLDERS)) {
    if (!folder.includes(ONLY_FOLDER)) continue
    t.test(folder, async (t) => {
      const results = await replayed(t, overHttp2(readRecording(peers, folder, 64), skip), ONLY)
      if (results === null) skipped++
      for (const { name, wanted, found, ignore } of results ?? []) {
        const differs = [...DIFFERS_HTTP2, ...DIFFERS]
        if ('statuses' in wanted) judgeCounts(t, `${folder}: ${name}`, wanted, found as Counts, differs, unused)
        else judge(t, `${folder}: ${name}`, withoutVersion(wanted), withoutVersion(found as Outcome), ignore, differs, unused)
      }
    })
  }
  t.test('every declared difference still exists', async (t) => {
    const left = [...unused].map((d) => `${d.cases} (${d.reason})`)
    if (ONLY !== '' || ONLY_FOLDER !== '' || skipped > 0) t.pass('not all was replayed', { skip: `${skipped} skipped` })
    else t.same(left, [])
  })
}
