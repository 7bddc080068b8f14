// Every recorded request gets from heddle what it got from Envoy, configured by istiod from the same YAML.
import type { Test } from 'tap'
import t from 'tap'
import { DnsServer } from '../../support/dns-server.ts'
import { startProxy } from '../../support/proxy.ts'
import type { Teardown } from '../../support/teardown.ts'
import { comparable, countDifferences, differences } from './compare.ts'
import type { Difference } from './differs.ts'
import { DIFFERS } from './differs.ts'
import { compact, type OwnAnswer, readOwnCases } from './own-cases.ts'
import type { Counts, Outcome, Recording } from './recording.ts'
import { PASSTHROUGH, peersFolder, readRecording } from './recording.ts'
import type { Result, Subject } from './replay.ts'
import { Replay } from './replay.ts'
import { Stubs } from './stub.ts'

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
  'examples/routing',
  'examples/resilience',
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
      const results = await replayed(t, readRecording(peers, folder))
      if (results === null) skipped++
      for (const { name, wanted, found, ignore } of results ?? []) {
        if ('statuses' in wanted) judgeCounts(t, `${folder}: ${name}`, wanted, found as Counts, unused)
        else judge(t, `${folder}: ${name}`, wanted, found as Outcome, ignore, unused)
      }
    })
  }
  for (const { name, recording, answers } of readOwnCases(peers)) {
    if (!`own/${name}`.includes(ONLY_FOLDER)) continue
    t.test(`own questions: ${name}`, async (t) => {
      const results = await replayed(t, recording)
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

/** null: the upstreams cannot stand where the recording has them. */
async function replayed(t: Test, recording: Recording): Promise<Result[] | null> {
  const stubs = new Stubs()
  t.teardown(() => stubs.close())
  try {
    await stubs.open(recording.endpoints)
  } catch (error) {
    t.comment(error)
    t.pass('skipped', { skip: `${(error as Error).message} (ports below 1024 need root)` })
    return null
  }
  return new Replay(t, recording, stubs, (r) => startHeddle(t, r)).run(ONLY)
}

async function startHeddle(t: Teardown, { workload, resources, mesh, names, ports }: Recording): Promise<Subject> {
  const records = [...names].map(([name, address]) => [name, { addresses: [address], ttl: 3600 }] as const)
  const dns = await DnsServer.start(t, Object.fromEntries(records))
  const proxy = await startProxy(t, {
    resources,
    listeners: ports.map((p) => ({ name: `p${p}`, destinationPort: p, destination: PASSTHROUGH })),
    bootstrap: {
      workload: { ...workload, serviceAccount: 'default' },
      retries: 'exact',
      mirror: { hostSuffix: '' },
      mesh: {
        dnsServers: [dns.address],
        outboundTrafficPolicy: mesh.outboundTrafficPolicy?.mode ?? 'ALLOW_ANY',
        pathNormalization: mesh.pathNormalization?.normalization ?? 'BASE',
        defaultRetryAttempts: mesh.defaultHttpRetryPolicy?.attempts ?? 2,
        defaultRetryOn: mesh.defaultHttpRetryPolicy?.retryOn ?? '',
      },
      http1: { halfClose: 'abort' },
      drain: { deadline: '0s' },
    },
  })
  return {
    portFor: (port) => proxy.port(`p${port}`),
    accessLog: () => proxy.accessLog(),
    stop: () => proxy.stop(),
  }
}

type Judge = Pick<Test, 'pass' | 'fail'>

function judge(
  t: Judge,
  name: string,
  recorded: Outcome,
  outcome: Outcome,
  ignore: readonly string[],
  unused: Set<Difference>,
): void {
  const found = comparable(outcome)
  const declared = DIFFERS.find((d) => d.cases.test(name))
  if (declared !== undefined) {
    unused.delete(declared)
    if (differences(comparable(recorded), found, ignore).length === 0) {
      t.fail(`${name}: declared to differ, but does not`, { reason: declared.reason })
      return
    }
    if (declared.pending === true) {
      t.pass(name, { todo: declared.reason })
      return
    }
  }
  const wanted = comparable({ ...recorded, ...declared?.instead })
  const differing = differences(wanted, found, [...ignore, ...(declared?.ignore ?? [])])
  if (differing.length === 0 && declared?.also?.(outcome) === false) {
    t.fail(`${name}: not as declared`, { reason: declared.reason, outcome })
  } else if (differing.length === 0) t.pass(name)
  else {
    const first = differing[0] as (typeof differing)[number]
    t.fail(`${name}: ${differing.join(', ')}`, {
      [first]: { recorded: wanted[first], now: found[first] },
      ...Object.fromEntries(differing.slice(1).map((f) => [f, { recorded: wanted[f], now: found[f] }])),
    })
  }
}

function judgeCounts(t: Judge, name: string, recorded: Counts, found: Counts, unused: Set<Difference>): void {
  const declared = DIFFERS.find((d) => d.cases.test(name))
  if (declared !== undefined) unused.delete(declared)
  const differing = countDifferences({ ...recorded, ...declared?.insteadCounts }, found)
  if (differing.length === 0) t.pass(name)
  else if (declared !== undefined && countDifferences(recorded, found).length === 0) {
    t.fail(`${name}: declared to differ, but does not`, { reason: declared.reason })
  } else t.fail(`${name}: ${differing.join('; ')}`)
}
