// `npm run bench:micro`: runs every micro-benchmark under this folder and prints what one operation costs.
//
// Rounds go over all benchmarks in turn, so that a disturbance of the machine falls on all of them alike. The median says
// what it costs, the least what it costs undisturbed; a wide range says that the machine was not quiet.
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from '../load/summary.ts'
import { table } from '../load/table.ts'
import { type Bench, type BenchModule, lastKept } from './contract.ts'

const HELP = `Usage: npm run bench:micro -- [options]

  --only TEXT      benchmarks whose name or file contains TEXT
  --rounds N       measured rounds (default 7)
  --ms N           length of a round in milliseconds (default 100)
  --json           one JSON array instead of a table
  --help           this text
`

/** Milliseconds of running before anything counts: long enough for the optimising compiler to have finished. */
const WARM_UP_MS = 200

/** No operation is so cheap that more are needed; a bound for a benchmark that does nothing. */
const MOST_ITERATIONS = 1e9

interface Subject {
  readonly file: string
  readonly bench: Bench
  /** Iterations that fill about one round. */
  iterations: number
  /** Nanoseconds per operation, one of each round. */
  readonly nanos: number[]
}

/** Modules below `folder` that are benchmarks, by the contract's one rule: everything but the runner and the contract. */
function benchFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.js') && file !== 'main.js' && file !== 'contract.js')
    .sort()
}

async function load(folder: string, only: string): Promise<{ readonly subjects: Subject[]; readonly faults: string[] }> {
  const subjects: Subject[] = []
  const faults: string[] = []
  for (const file of benchFiles(folder)) {
    try {
      const module = (await import(pathToFileURL(join(folder, file)).href)) as Partial<BenchModule>
      if (module.benches === undefined) continue // inputs that several benchmarks share
      for (const bench of module.benches) {
        if (`${file} ${bench.name}`.includes(only)) subjects.push({ file, bench, iterations: 1, nanos: [] })
      }
    } catch (error) {
      faults.push(`${relative(process.cwd(), join(folder, file))}: ${(error as Error).message}`)
    }
  }
  return { subjects, faults }
}

/** Milliseconds that `iterations` operations take. */
function timed(bench: Bench, iterations: number): number {
  const start = process.hrtime.bigint()
  bench.fn(iterations)
  return Number(process.hrtime.bigint() - start) / 1e6
}

/** Runs for the warm-up time with growing counts, and leaves the count that fills `roundMs`. */
function warmUp(subject: Subject, roundMs: number): void {
  let spentMs = 0
  let lastMs = 0
  while (spentMs < WARM_UP_MS) {
    lastMs = timed(subject.bench, subject.iterations)
    spentMs += lastMs
    if (lastMs < roundMs / 2) subject.iterations = Math.min(MOST_ITERATIONS, subject.iterations * 2)
  }
  const fitting = Math.round((subject.iterations * roundMs) / Math.max(lastMs, 0.001))
  subject.iterations = Math.min(MOST_ITERATIONS, Math.max(1, fitting))
}

function cells({ bench, nanos }: Subject): string[] {
  const shown = (value: number): string => value.toFixed(value < 100 ? 1 : 0)
  const middle = median(nanos)
  const range = `(${shown(Math.min(...nanos))}-${shown(Math.max(...nanos))})`
  return [bench.name, shown(middle), range, Math.round(1e9 / middle).toLocaleString('en')]
}

async function main(): Promise<number> {
  let values: { only?: string; rounds?: string; ms?: string; json?: boolean; help?: boolean }
  try {
    const text = { type: 'string' } as const
    const flag = { type: 'boolean' } as const
    values = parseArgs({ options: { only: text, rounds: text, ms: text, json: flag, help: flag } }).values
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${HELP}`)
    return 2
  }
  if (values.help === true) {
    process.stdout.write(HELP)
    return 0
  }
  const rounds = Math.max(1, Number(values.rounds ?? 7) || 7)
  const roundMs = Math.max(1, Number(values.ms ?? 100) || 100)
  const { subjects, faults } = await load(import.meta.dirname, values.only ?? '')
  const running = subjects.filter((subject) => {
    try {
      warmUp(subject, roundMs)
      return true
    } catch (error) {
      faults.push(`${subject.bench.name}: ${(error as Error).message}`)
      return false
    }
  })
  for (const fault of faults) process.stderr.write(`FAILED ${fault}\n`)
  for (let round = 0; round < rounds; round++) {
    for (const { bench, iterations, nanos } of running) nanos.push((timed(bench, iterations) * 1e6) / iterations)
  }
  if (values.json === true) {
    const rows = running.map(({ file, bench, nanos }) => ({ file, name: bench.name, medianNanos: median(nanos), nanos }))
    process.stdout.write(`${JSON.stringify(rows)}\n`)
  } else {
    process.stdout.write(`Node.js ${process.version}, ${rounds} rounds of ${roundMs} ms\n\n`)
    process.stdout.write(`${table(['benchmark', 'ns/op', '(least-most)', 'op/s'], running.map(cells))}\n`)
  }
  lastKept()
  return faults.length > 0 || running.length === 0 ? 1 : 0
}

process.exitCode = await main()
