/** One sample of the Prometheus text format. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A scrape of `/stats/prometheus`, read by the test's own parser. */
export class Metrics {
  readonly text: string
  readonly samples: readonly Sample[]

  constructor(text: string) {
    this.text = text
    this.samples = text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map(parseSample)
  }

  /** Samples of this name that have these labels, and maybe others. */
  find(name: string, labels: Readonly<Record<string, string>> = {}): readonly Sample[] {
    return this.samples.filter((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v))
  }

  /** Sum of what `find` returns; null when there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | null {
    const found = this.find(name, labels)
    return found.length === 0 ? null : found.reduce((sum, s) => sum + s.value, 0)
  }

  /** `counter`, `gauge` or `histogram`; null when the family is not declared. */
  type(name: string): string | null {
    return new RegExp(`^# TYPE ${name} (\\w+)$`, 'm').exec(this.text)?.[1] ?? null
  }
}

function parseSample(line: string): Sample {
  const m = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/.exec(line)
  if (m === null) throw new Error(`not a sample: ${line}`)
  const labels: Record<string, string> = {}
  for (const l of (m[2] ?? '').matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)",?/g)) {
    labels[l[1] as string] = (l[2] as string).replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c))
  }
  return { name: m[1] as string, labels, value: m[3] === '+Inf' ? Number.POSITIVE_INFINITY : Number(m[3]) }
}
