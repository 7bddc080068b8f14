// The printed result.
import { type Comparison, compare } from './aims.ts'
import { type Row, summarise } from './summary.ts'
import { table } from './table.ts'

const HEADER = [
  'target',
  'req/s',
  'CPU µs/req',
  '(least-most)',
  'cores',
  'p50 ms',
  'p99 ms',
  'p99.9 ms',
  'RSS idle',
  'loaded MB',
  'others',
]

/** The table of one scenario and tool, with its ratios. */
export function reportOf(rows: readonly Row[]): string {
  const parts = [table(HEADER, rows.map(cells))]
  for (const row of rows) {
    const { failure } = summarise(row)
    if (failure !== '') parts.push(`FAILED ${row.target}: ${failure}`)
  }
  const lag = Math.max(...rows.map((row) => summarise(row).sendLagP99Ms ?? 0))
  if (lag > 0)
    parts.push(`The generator itself sent late by ${lag.toFixed(2)} ms at its worst p99; that is part of every latency above.`)
  const comparisons = compare(rows)
  if (comparisons.length > 0) parts.push(table(['ratio', 'value', 'aim', ''], comparisons.map(comparisonCells)))
  return parts.join('\n\n')
}

/** Calls per request, the ten most frequent over all targets; those below one in a hundred requests are left out. */
export function syscallsReport(byTarget: ReadonlyMap<string, ReadonlyMap<string, number>>): string {
  const most = new Map<string, number>()
  for (const calls of byTarget.values()) {
    for (const [name, count] of calls) most.set(name, Math.max(count, most.get(name) ?? 0))
  }
  const names = [...most].filter(([, count]) => count >= 0.01)
  const shown = names.sort((a, b) => b[1] - a[1]).slice(0, 10)
  const total = (calls: ReadonlyMap<string, number>): number => [...calls.values()].reduce((sum, count) => sum + count, 0)
  const rows = [...byTarget].map(([target, calls]) => [
    target,
    total(calls).toFixed(2),
    ...shown.map(([name]) => (calls.get(name) ?? 0).toFixed(2)),
  ])
  return table(['system calls per request', 'all', ...shown.map(([name]) => name)], rows)
}

function cells(row: Row): string[] {
  const summary = summarise(row)
  if (summary.failure !== '') return [row.target, 'FAILED']
  const megabytes = (bytes: number): string => (bytes === 0 ? '-' : (bytes / 2 ** 20).toFixed(0))
  const orDash = (value: number | null, digits: number): string => (value === null ? '-' : value.toFixed(digits))
  const { cpuMicrosLeast: least, cpuMicrosMost: most } = summary
  return [
    row.target,
    summary.requestsPerSecond.toFixed(0),
    orDash(summary.cpuMicros, 1),
    least === null || most === null ? '' : `(${least.toFixed(1)}-${most.toFixed(1)})`,
    orDash(summary.cpuCores, 2),
    ...[summary.p50Ms, summary.p99Ms, summary.p999Ms].map((ms) => (Number.isNaN(ms) ? '-' : ms.toFixed(2))),
    megabytes(row.idleBytes),
    megabytes(summary.loadedBytes),
    summary.foreign === null ? '-' : `${(summary.foreign * 100).toFixed(0)} %`,
  ]
}

function comparisonCells({ subject, value, aim, unit }: Comparison): string[] {
  const shown = (number: number): string => (unit === 'MB' ? `${number.toFixed(0)} MB` : number.toFixed(2))
  if (aim === null) return [subject, shown(value), '', '']
  return [subject, shown(value), `<= ${shown(aim)}`, value <= aim ? 'met' : 'not met']
}
