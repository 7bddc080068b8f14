// Durations as Go's time.ParseDuration writes them, which is what Kubernetes and Istio use: `5s`, `1m30s`, `250ms`, `1.5h`.

const UNIT_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3, // U+00B5, micro sign
  μs: 1e-3, // U+03BC, Greek mu; Go takes both
  ns: 1e-6,
}

const PART = /(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|μs|ns)/y

/** Milliseconds, possibly with a fraction and possibly negative; null when the text is not a duration. `0` needs no unit. */
export function parseDuration(text: string): number | null {
  const negative = text.startsWith('-')
  const body = negative || text.startsWith('+') ? text.slice(1) : text
  if (body === '0') return 0
  if (body === '') return null
  let total = 0
  PART.lastIndex = 0
  while (PART.lastIndex < body.length) {
    const part = PART.exec(body)
    if (part === null) return null
    total += Number(part[1]) * UNIT_MS[part[2]!]!
  }
  return negative ? -total : total
}

/** `1m30s`, `250ms`, `0s`: what `parseDuration` reads back as the same number of whole milliseconds. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  if (ms < 0) return `-${formatDuration(-ms)}`
  const hours = Math.floor(ms / 3_600_000)
  const minutes = Math.floor((ms % 3_600_000) / 60_000)
  const seconds = Math.floor((ms % 60_000) / 1000)
  const rest = ms % 1000
  return `${hours > 0 ? `${hours}h` : ''}${minutes > 0 ? `${minutes}m` : ''}${seconds > 0 ? `${seconds}s` : ''}${rest > 0 ? `${rest}ms` : ''}`
}
