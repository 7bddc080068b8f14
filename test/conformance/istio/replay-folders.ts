// What the replays have in common: each folder is asked, each answer judged, and at the end every declared difference must have been met.
import type { Test } from 'tap'
import type { Difference } from './differs.ts'
import { judge, judgeCounts } from './judge.ts'
import { type Counts, type Outcome, peersFolder } from './recording.ts'
import type { Result } from './replay.ts'

/** Part of a name: only these requests. */
export const ONLY = process.env['HEDDLE_REPLAY_ONLY'] ?? ''
/** Part of a folder's or file's name: only these. */
const ONLY_FOLDER = process.env['HEDDLE_REPLAY_FOLDER'] ?? ''

/** The folder of the recordings; null: it is not here, and the file has been skipped, loudly. */
export function recordingsOr(t: Test): string | null {
  const peers = peersFolder()
  if (peers === null) t.plan(0, 'the recordings of Istio and Envoy are not here; HEDDLE_PEERS names their folder')
  return peers
}

export class ReplayFolders {
  readonly #t: Test
  readonly #differs: readonly Difference[]
  readonly #unused: Set<Difference>
  #skipped: number

  /** @param declared differences that must be met here. @param shared those that another replay answers for; they come second. */
  constructor(t: Test, declared: readonly Difference[], shared: readonly Difference[] = []) {
    this.#t = t
    this.#differs = [...declared, ...shared]
    this.#unused = new Set(declared)
    this.#skipped = 0
  }

  /** @param replayed null: this machine cannot ask it. @param named what both sides are brought to before they are compared. */
  folder(
    folder: string,
    replayed: (t: Test) => Promise<readonly Result[] | null>,
    named: (outcome: Outcome) => Outcome = (outcome) => outcome,
  ): void {
    this.other(folder, folder, replayed, (t, { name, wanted, found, ignore }) => {
      const full = `${folder}: ${name}`
      if ('statuses' in wanted) judgeCounts(t, full, wanted, found as Counts, this.#differs, this.#unused)
      else judge(t, full, named(wanted), named(found as Outcome), ignore, this.#differs, this.#unused)
    })
  }

  /** A folder that is judged in another way. */
  other(
    key: string,
    title: string,
    replayed: (t: Test) => Promise<readonly Result[] | null>,
    judged: (t: Test, result: Result) => void,
  ): void {
    if (!key.includes(ONLY_FOLDER)) return
    this.#t
      .test(title, async (t) => {
        const results = await replayed(t)
        if (results === null) this.#skipped++
        for (const result of results ?? []) judged(t, result)
      })
  }

  /** The difference that is declared for a request: it has been met. */
  declared(name: string): Difference | undefined {
    const declared = this.#differs.find((d) => d.cases.test(name))
    if (declared !== undefined) this.#unused.delete(declared)
    return declared
  }

  end(): void {
    this.#t
      .test('every declared difference still exists', async (t) => {
        const left = [...this.#unused].map((d) => `${d.cases} (${d.reason})`)
        const skipped = this.#skipped
        if (ONLY !== '' || ONLY_FOLDER !== '' || skipped > 0) t.pass('not all was replayed', { skip: `${skipped} skipped` })
        else t.same(left, [])
      })
  }
}
