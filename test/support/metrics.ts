/** One sample of the Prometheus text format. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A scrape of `/stats/prometheus`, read by the test's own parser; a line is read when somebody asks for it, since most never are. */
export class Metrics {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  get samples(): readonly Sample[] {
    const lines = this.text.split('\n')
    return lines.filter((line) => line !== '' && !line.startsWith('#')).map(parseSample)
  }

  /** Samples of this name that have these labels, and maybe others. */
  find(name: string, labels: Readonly<Record<string, string>> = {}): readonly Sample[] {
    const wanted = Object.entries(labels)
    const found: Sample[] = []
    for (let at = lineFrom(this.text, name, 0); at !== -1; at = lineFrom(this.text, name, at + 1)) {
      const end = this.text.indexOf('\n', at)
      const sample = parseSample(this.text.slice(at, end === -1 ? undefined : end))
      if (sample.name === name && wanted.every(([k, v]) => sample.labels[k] === v)) found.push(sample)
    }
    return found
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

/** Where the next line begins that begins so; -1: there is none. */
function lineFrom(text: string, start: string, from: number): number {
  if (from === 0 && text.startsWith(start)) return 0
  const before = text.indexOf(`\n${start}`, Math.max(0, from - 1))
  return before === -1 ? -1 : before + 1
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
