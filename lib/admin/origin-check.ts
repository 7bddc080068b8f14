// Who may speak to the admin page (control surfaces). It has no passwords, so a web page in a browser on the same machine must
// not reach it: neither under a name of its own that resolves to 127.0.0.1 (DNS rebinding), nor by a form or fetch from elsewhere.
import { isIPv4 } from 'node:net'

/**
 * Whether a Host header names this machine's loopback: `localhost`, `*.localhost`, 127.0.0.0/8, `[::1]`, with any port.
 * @param alsoAddress the address that the admin listener is bound to, which is good as well
 */
export function isLocalHost(host: string | undefined, alsoAddress: string): boolean {
  if (host === undefined) return false
  const name = withoutPort(host.toLowerCase())
  if (name === null) return false
  if (name === 'localhost' || name.endsWith('.localhost')) return true
  if (name === '::1' || (isIPv4(name) && name.startsWith('127.'))) return true
  return name === alsoAddress.toLowerCase() && name !== '0.0.0.0' && name !== '::'
}

/** Browsers send Origin with every POST; other clients send none. `null` is the origin of a sandboxed page. */
export function isLocalOrigin(origin: string | undefined, alsoAddress: string): boolean {
  if (origin === undefined) return true
  const match = /^https?:\/\/([^/?#@]+)$/i.exec(origin)
  return match !== null && isLocalHost(match[1], alsoAddress)
}

/** Brackets are taken off; null when it is no host with an optional port. */
function withoutPort(host: string): string | null {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/.exec(host)
  return match === null ? null : (match[1] ?? match[2] ?? null)
}
