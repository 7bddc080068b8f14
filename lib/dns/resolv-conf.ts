// /etc/resolv.conf as resolv.conf(5) says it.
import { isIP } from 'node:net'

export interface ResolvConf {
  /** `address:port`, `[::1]:53`. */
  readonly servers: readonly string[]
  /** Domains that a resolver appends, without points at their ends. */
  readonly search: readonly string[]
}

export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = []
  let search: readonly string[] = []
  for (const line of text.split('\n')) {
    const [word = '', ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/)
    const [first = ''] = values
    if (word === 'nameserver' && isIP(first.replace(/%.*/, '')) !== 0)
      servers.push(first.includes(':') ? `[${first}]:53` : `${first}:53`)
    // The last one counts.
    if (word === 'search' || word === 'domain') search = values.map((v) => v.replace(/\.$/, '')).filter((v) => v !== '')
  }
  return { servers, search }
}
