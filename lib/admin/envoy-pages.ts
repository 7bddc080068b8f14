// Further pages in Envoy's shapes (envoy.admin.v3): `/certs`, `/memory`, the parts of `/server_info` that tools read, `/stats?format=json`.
import { X509Certificate } from 'node:crypto'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { DumpedSecret } from './dumped-config.ts'

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g
const DAY_MS = 86_400_000

/** envoy.admin.v3.Certificates. `nowMs`: epoch. */
export function certsJson(secrets: readonly DumpedSecret[], nowMs: number): object {
  return {
    certificates: secrets.map(({ name, chainPem, rootsPem }) => ({
      ca_cert: details(rootsPem.join('\n'), name, nowMs),
      cert_chain: details(chainPem, name, nowMs),
    })),
  }
}

/** `path` is the name of the secret: they are in no file. What cannot be read is left out. */
function details(pem: string, path: string, nowMs: number): object[] {
  return (pem.match(PEM_CERTIFICATE) ?? []).flatMap((text) => {
    try {
      const c = new X509Certificate(text)
      const [from, to] = [Date.parse(c.validFrom), Date.parse(c.validTo)]
      const days = Math.max(0, Math.floor((to - nowMs) / DAY_MS))
      return [
        {
          path,
          serial_number: c.serialNumber.toLowerCase(),
          subject_alt_names: altNames(c.subjectAltName ?? ''),
          days_until_expiration: String(days),
          valid_from: new Date(from).toISOString(),
          expiration_time: new Date(to).toISOString(),
        },
      ]
    } catch {
      return []
    }
  })
}

/** Node's text, `URI:spiffe://…, DNS:example.com`. */
function altNames(text: string): object[] {
  const fields: Readonly<Record<string, string>> = { URI: 'uri', DNS: 'dns', 'IP Address': 'ip_address' }
  return text.split(', ').flatMap((part) => {
    const colon = part.indexOf(':')
    const field = fields[part.slice(0, colon)]
    return field === undefined ? [] : [{ [field]: part.slice(colon + 1) }]
  })
}

/** envoy.admin.v3.Memory: the heap of the main thread, and what the whole process has of the machine's memory. */
export function memoryJson({ heapUsed, heapTotal, external, rss }: NodeJS.MemoryUsage): object {
  return {
    allocated: String(heapUsed + external),
    heap_size: String(heapTotal + external),
    pageheap_unmapped: '0',
    pageheap_free: String(heapTotal - heapUsed),
    total_thread_cache: '0',
    total_physical_bytes: String(rss),
  }
}

/** Those of envoy.admin.v3.CommandLineOptions that heddle has something for. */
export function commandLineOptions({ concurrency, drain, logLevel }: BootstrapConfig): object {
  return { concurrency, log_level: logLevel, mode: 'Serve', drain_time: `${drain.deadlineMs / 1000}s`, disable_hot_restart: true }
}

/** Of lines `name: value`. */
export function statsJson(text: string): object {
  const lines = text.split('\n').filter((line) => line !== '')
  return {
    stats: lines.map((line) => {
      const colon = line.lastIndexOf(': ')
      return { name: line.slice(0, colon), value: Number(line.slice(colon + 2)) }
    }),
  }
}
