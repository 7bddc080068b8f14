// The metrics of the application put behind those of the proxy, for a Prometheus that scrapes each pod at one port (what Istio's agent does on 15020).
import { EXPOSITION_TYPE } from '../telemetry/metrics-registry.ts'

export interface ScrapeTarget {
  readonly port: number
  readonly path: string
}

/** Of one application; more is left out as a whole. */
const MAX_BYTES = 10 * 1024 * 1024
const MAX_HEADER_BYTES = 16 * 1024
/** What answers every path with a page would make all of it unreadable. */
const NO_METRICS = /^\s*(?:text\/html|application\/(?:json|xml|xhtml\+xml|vnd\.google\.protobuf))/i
/** Prometheus says how long it waits, in a header; else its default. */
const DEFAULT_TIMEOUT_MS = 10_000
const MAX_TIMEOUT_MS = 60_000

/** Never rejects: an application that does not answer is left out. `failed`: how many are. */
export async function mergedMetrics(
  ours: string,
  targets: readonly ScrapeTarget[],
  timeoutMs: number,
): Promise<{ readonly text: string; readonly failed: number }> {
  const scraped = await Promise.all(targets.map((target) => scrape(target, timeoutMs).catch(() => null)))
  const theirs = scraped.filter((text) => text !== null && text !== '') as string[]
  const text = [theirs.length > 0 ? withoutProcess(ours) : ours, ...theirs.map(asText)].join('')
  return { text, failed: scraped.filter((s) => s === null).length }
}

/** What of Prometheus' time applications may take: were it all of it, a slow one would hide the proxy's metrics too. */
const SHARE = 0.9

/** @param header `X-Prometheus-Scrape-Timeout-Seconds` */
export function scrapeTimeout(header: string | undefined): number {
  const seconds = header === undefined ? Number.NaN : Number(header)
  return SHARE * (seconds > 0 ? Math.min(seconds * 1000, MAX_TIMEOUT_MS) : DEFAULT_TIMEOUT_MS)
}

/** As Istio's agent counts them. */
export function scrapeCounts(scrapes: number, failed: number): string {
  return [
    '# HELP istio_agent_scrapes_total Requests for metrics of proxy and application.',
    '# TYPE istio_agent_scrapes_total counter',
    `istio_agent_scrapes_total ${scrapes}`,
    '# HELP istio_agent_scrape_failures_total Metrics that were left out, since the application did not answer with any in time.',
    '# TYPE istio_agent_scrape_failures_total counter',
    `istio_agent_scrape_failures_total{type="application"} ${failed}`,
    '',
  ].join('\n')
}

async function scrape({ port, path }: ScrapeTarget, timeoutMs: number): Promise<string | null> {
  const { Client } = await import('undici')
  const client = new Client(`http://127.0.0.1:${port}`, { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: 0, bodyTimeout: 0 })
  try {
    const { statusCode, headers, body } = await client.request({
      method: 'GET',
      path,
      // One form for all of it: what is put together has one content type.
      headers: { accept: EXPOSITION_TYPE, host: `localhost:${port}`, 'user-agent': 'heddle/metrics' },
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (statusCode !== 200 || NO_METRICS.test(String(headers['content-type'] ?? ''))) return null
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > MAX_BYTES) return null
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  } finally {
    client.destroy().catch(() => {})
  }
}

/** An application that knows OpenMetrics only says where it ends, which is not the end of all. */
function asText(text: string): string {
  const lines = text.replace(/^# EOF\s*$/m, '')
  return lines === '' || lines.endsWith('\n') ? lines : `${lines}\n`
}

/** What every program says of its process the application says of its own: two series of one name without labels would be one. */
export function withoutProcess(text: string): string {
  return text
    .split('\n')
    .filter((line) => !/^(?:# (?:HELP|TYPE) )?(?:process|nodejs)_/.test(line))
    .join('\n')
}
