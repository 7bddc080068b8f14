// A strict reader of Prometheus text 0.0.4, written from its description: it throws at whatever a scraper could choke on.

export interface Sample {
  readonly name: string
  /** In the order of the text. */
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Page {
  readonly samples: readonly Sample[]
  /** The one sample with at least these labels; throws when there is none, or more than one. */
  value(name: string, labels: Readonly<Record<string, string>>): number
  type(name: string): string
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\+Inf|-Inf|NaN|-?\d+(?:\.\d+)?)$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\\\|\\"|\\n)*)"(,|$)/y

export function parseExposition(text: string): Page {
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  const types = new Map<string, string>()
  const samples: Sample[] = []
  const seen = new Set<string>()
  let family = ''
  for (const line of text.slice(0, -1).split('\n')) {
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line)
    if (comment !== null) {
      const [, kind, name, rest] = comment as unknown as [string, string, string, string]
      family = name
      if (kind === 'HELP') continue
      if (types.has(name)) throw new Error(`second TYPE of ${name}: a family must be one block`)
      types.set(name, rest)
      continue
    }
    const match = SAMPLE.exec(line)
    if (match === null) throw new Error(`not a sample: ${line}`)
    const name = match[1] as string
    const histogram = types.get(family) === 'histogram'
    const base = histogram ? name.replace(/_(bucket|sum|count)$/, '') : name
    if (base !== family) throw new Error(`${name} stands under ${family}`)
    const key = `${name}{${match[2] ?? ''}}`
    if (seen.has(key)) throw new Error(`twice: ${key}`)
    seen.add(key)
    samples.push({ name, labels: parseLabels(match[2] ?? ''), value: Number((match[3] as string).replace('Inf', 'Infinity')) })
  }
  return {
    samples,
    value(wanted, labels) {
      const found = samples.filter((s) => s.name === wanted && Object.entries(labels).every(([k, v]) => s.labels[k] === v))
      if (found.length !== 1) throw new Error(`${found.length} samples of ${wanted} ${JSON.stringify(labels)}`)
      return (found[0] as Sample).value
    },
    type: (name) => types.get(name) ?? '',
  }
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  while (LABEL.lastIndex < text.length) {
    const at = LABEL.lastIndex
    const match = LABEL.exec(text)
    if (match === null) throw new Error(`bad labels at ${at}: ${text}`)
    labels[match[1] as string] = (match[2] as string).replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c))
  }
  return labels
}
