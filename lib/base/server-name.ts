/** RFC 1035 §2.3.4. */
const MAX_NAME = 255
const NAME = /^[a-z0-9._*:-]+$/

/**
 * A server name that a stranger asked for (RFC 6066 §3), in lower case; empty when it has bytes that no name has: it stands in logs, headers and rules.
 * @param text latin1
 */
export function cleanServerName(text: string): string {
  const name = text.toLowerCase()
  return name.length <= MAX_NAME && NAME.test(name) ? name : ''
}
