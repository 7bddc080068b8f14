// The main thread's side of the metrics: which series each worker's slab holds, their sum, and the Prometheus text.
import { type Family, type FamilyGroup, GROUPS } from './families.ts'
import { escapeHelp, renderNumber } from './labels.ts'
import { createSlabBuffer, MetricsSlab } from './slab.ts'

/** Content type of `expose()`. */
export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** The main thread writes a slab of its own, under this index: room for what it knows of every cluster. */
const MAIN_INDEX = -1
const MAIN_SLOTS = 1 << 18

interface WorkerSlab {
  readonly values: Float64Array
  readonly series: { readonly group: FamilyGroup; readonly labels: string; readonly slot: number }[]
}

export class MetricsRegistry {
  /** For metrics of the main thread: `registry.main.allot(…)`, then write `registry.main.values`. */
  readonly main: MetricsSlab
  readonly #groups: Map<string, FamilyGroup>
  readonly #workers: Map<number, WorkerSlab>
  /** What workers that are gone had counted: group name, label text, one value a slot. Gauges are 0 in it. */
  readonly #base: Map<string, Map<string, Float64Array>>

  constructor() {
    this.#groups = new Map(GROUPS.map((g) => [g.name, g]))
    this.#workers = new Map()
    this.#base = new Map()
    const buffer = createSlabBuffer(MAIN_SLOTS)
    this.addWorker(MAIN_INDEX, buffer)
    this.main = new MetricsSlab(buffer, (family, labels, slot) => this.series(MAIN_INDEX, family, labels, slot), 0)
  }

  /** A worker begins with an empty slab. One with this index that is still known is taken for dead. */
  addWorker(index: number, buffer: SharedArrayBuffer): void {
    this.removeWorker(index)
    this.#workers.set(index, { values: new Float64Array(buffer), series: [] })
  }

  /** From a worker's `series` message. Unknown workers and families are ignored: a dying worker may still have messages. */
  series(index: number, family: string, labels: string, slot: number): void {
    const group = this.#groups.get(family)
    const worker = this.#workers.get(index)
    if (group !== undefined && worker !== undefined) worker.series.push({ group, labels, slot })
  }

  /** The worker is gone: its counters and histograms stay in the totals, its gauges (things that it held) do not. */
  removeWorker(index: number): void {
    const worker = this.#workers.get(index)
    if (worker === undefined) return
    this.#workers.delete(index)
    addUp(this.#base, worker, true)
  }

  /** Prometheus text format 0.0.4. Families in the order of families.ts, series in the order of their birth. */
  expose(): string {
    const sums: Sums = new Map()
    for (const [name, byLabels] of this.#base) {
      const copy = new Map<string, Float64Array>()
      for (const [labels, values] of byLabels) copy.set(labels, values.slice())
      sums.set(name, copy)
    }
    for (const worker of this.#workers.values()) addUp(sums, worker, false)
    let text = ''
    for (const group of GROUPS) {
      const byLabels = sums.get(group.name)
      if (byLabels !== undefined) text += groupText(group, byLabels)
    }
    return text
  }
}

type Sums = Map<string, Map<string, Float64Array>>

function addUp(into: Sums, worker: WorkerSlab, dropGauges: boolean): void {
  for (const { group, labels, slot } of worker.series) {
    let byLabels = into.get(group.name)
    if (byLabels === undefined) {
      byLabels = new Map()
      into.set(group.name, byLabels)
    }
    let sum = byLabels.get(labels)
    if (sum === undefined) {
      sum = new Float64Array(group.width)
      byLabels.set(labels, sum)
    }
    let offset = 0
    for (const family of group.families) {
      if (!(dropGauges && family.type === 'gauge')) {
        for (let i = offset; i < offset + family.width; i++) sum[i]! += worker.values[slot + i] as number
      }
      offset += family.width
    }
  }
}

function groupText(group: FamilyGroup, byLabels: Map<string, Float64Array>): string {
  let text = ''
  let offset = 0
  let lastName = ''
  const shown = group.onlyUsed ? [...byLabels].filter(([, values]) => values.some((v) => v !== 0)) : [...byLabels]
  if (shown.length === 0) return ''
  for (const family of group.families) {
    const own = group.sparse ? shown.filter(([, values]) => hasValue(values, offset, family.width)) : shown
    if (own.length > 0 && family.name !== lastName) {
      text += `# HELP ${family.name} ${escapeHelp(family.help)}\n# TYPE ${family.name} ${family.type}\n`
      lastName = family.name
    }
    for (const [labels, values] of own) text += seriesText(family, labels, values, offset)
    offset += family.width
  }
  return text
}

function hasValue(values: Float64Array, from: number, width: number): boolean {
  for (let i = from; i < from + width; i++) if (values[i] !== 0) return true
  return false
}

function seriesText(family: Family, labels: string, values: Float64Array, offset: number): string {
  const own = family.labels === '' ? labels : labels === '' ? family.labels : `${family.labels},${labels}`
  if (family.type !== 'histogram') return `${family.name}${braced(own)} ${renderNumber(values[offset] as number)}\n`
  let text = ''
  let cumulative = 0
  const prefix = own === '' ? '' : `${own},`
  for (let i = 0; i <= family.bounds.length; i++) {
    cumulative += values[offset + 1 + i] as number
    const le = i === family.bounds.length ? '+Inf' : renderNumber(family.bounds[i] as number)
    text += `${family.name}_bucket{${prefix}le="${le}"} ${renderNumber(cumulative)}\n`
  }
  // The count is the last bucket, so that the two agree even when a worker counts while we read.
  text += `${family.name}_sum${braced(own)} ${renderNumber(values[offset] as number)}\n`
  return `${text}${family.name}_count${braced(own)} ${renderNumber(cumulative)}\n`
}

function braced(labels: string): string {
  return labels === '' ? '' : `{${labels}}`
}
