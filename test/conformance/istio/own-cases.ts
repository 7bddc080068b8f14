// Questions of our own about recorded configurations, with what Envoy answered: `cases/*.jsonl`. The first line names the recorded folder, each
// other one has a request and what of the answer matters; a line without an answer changes the world.
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { HeaderPair } from '../../support/h1-reader.ts'
import { ROOT } from '../../support/proxy.ts'
import { comparable } from './compare.ts'
import type { Counts, Outcome, RecordedRequest, Recording } from './recording.ts'
import { readRecording } from './recording.ts'

/** Of one request; what is left out is not compared. */
interface OwnOutcome {
  readonly status: number | null
  readonly flags: string
  readonly details?: string
  readonly route: string | null
  readonly upstreamHost?: string | null
  readonly clientError?: string
  /** `address:port METHOD path bytes`, sorted: what upstreams got. */
  readonly upstream?: readonly string[]
  /** Of CORS, cookies and overload only. */
  readonly headers?: readonly HeaderPair[]
}

/** Of a request that is repeated. */
interface OwnCounts {
  readonly statuses: Readonly<Record<string, number>>
  readonly flags: Readonly<Record<string, number>>
  /** The one endpoint that answered, or how many did where it is chance which. */
  readonly hosts: string | number
}

export type OwnAnswer = OwnOutcome | OwnCounts

export interface OwnCases {
  /** Of the file. */
  readonly name: string
  /** The recorded configuration, with our requests. */
  readonly recording: Recording
  readonly answers: ReadonlyMap<string, OwnAnswer>
}

const FOLDER = path.join(ROOT, 'test/conformance/istio/cases')

export function readOwnCases(peers: string): OwnCases[] {
  return readdirSync(FOLDER)
    .filter((f) => f.endsWith('.jsonl'))
    .map((file) => {
      const [head = '', ...lines] = readFileSync(path.join(FOLDER, file), 'utf8').trimEnd().split('\n')
      const { recorded } = JSON.parse(head) as { recorded: string }
      const cases = lines.map((l) => JSON.parse(l) as { ask: RecordedRequest; answer?: OwnAnswer })
      const answers = new Map(cases.flatMap(({ ask, answer }) => (answer === undefined ? [] : [[ask.name, answer] as const])))
      const expected = new Map([...answers].map(([name, answer]) => [name, expectation(name, answer)]))
      const recording = { ...readRecording(peers, recorded), requests: cases.map((c) => c.ask), expected }
      return { name: path.basename(file, '.jsonl'), recording, answers }
    })
}

/** What the replay wants to know beforehand: how many requests are to arrive. */
function expectation(name: string, answer: OwnAnswer): Outcome | Counts {
  const upstream = 'upstream' in answer ? { upstream: (answer.upstream ?? []).map((at) => ({ at })) } : {}
  return { name, ...answer, ...upstream } as unknown as Outcome | Counts
}

const TELLING = /^(access-control-.*|set-cookie|vary|x-envoy-overloaded|grpc-status)$/

/** In the form of a case, with the fields that `like` has. */
export function compact(found: Outcome | Counts, like: OwnAnswer): Partial<OwnAnswer> {
  if ('statuses' in found) {
    const hosts = Object.keys(found.hosts ?? {}).filter((h) => h !== 'null')
    return {
      statuses: found.statuses,
      flags: found.flags,
      hosts: 'hosts' in like && typeof like.hosts === 'string' && hosts.length === 1 ? (hosts[0] as string) : hosts.length,
    }
  }
  const { headers } = comparable(found) as { headers: readonly HeaderPair[] }
  const telling = headers.filter(([name]) => TELLING.test(name)).sort((a, b) => (String(a) < String(b) ? -1 : 1))
  const all: OwnOutcome = {
    status: found.status,
    flags: found.flags ?? '',
    details: found.details ?? '',
    route: found.route,
    upstreamHost: found.upstreamHost,
    ...(found.clientError === undefined ? {} : { clientError: found.clientError }),
    upstream: (found.upstream ?? []).map((u) => `${u.at} ${u.method} ${u.path} ${u.bodyBytes}`).sort(),
    ...(telling.length === 0 ? {} : { headers: telling }),
  }
  // A field that the case does not have was left to chance, but an answer must not have more fields than the recorded one.
  const chance = ['details', 'upstreamHost', 'upstream'].filter((field) => !(field in like))
  return Object.fromEntries(Object.entries(all).filter(([field]) => !chance.includes(field)))
}
