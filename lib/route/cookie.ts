// Hot lane: runs for requests whose endpoint is chosen by a cookie.

/**
 * The value of the first cookie of that name in one Cookie field; null when there is none. As Envoy reads them: spaces in front of a name do
 * not belong to it, those behind it do; a value in double quotes stands without them.
 */
export function cookieIn(field: string, name: string): string | null {
  for (let at = 0; at < field.length; ) {
    const semicolon = field.indexOf(';', at)
    const end = semicolon < 0 ? field.length : semicolon
    while (at < end && field.charCodeAt(at) === 0x20) at++
    const value = at + name.length + 1
    if (value <= end && field.charCodeAt(value - 1) === 0x3d && field.startsWith(name, at)) return unquoted(field, value, end)
    at = end + 1
  }
  return null
}

function unquoted(field: string, start: number, end: number): string {
  const quoted = end - start >= 2 && field.charCodeAt(start) === 0x22 && field.charCodeAt(end - 1) === 0x22
  return quoted ? field.substring(start + 1, end - 1) : field.substring(start, end)
}

export interface CookieTerms {
  readonly name: string
  /** Empty: none is said. */
  readonly path: string
  /** 0: until the browser is closed. */
  readonly ttlSeconds: number
  readonly attributes: readonly { readonly name: string; readonly value: string }[]
}

/** What stands behind the closing quote of the value, in Envoy's order. */
export function cookieTail({ path, ttlSeconds, attributes }: CookieTerms): string {
  const parts = [
    ttlSeconds > 0 ? `Max-Age=${ttlSeconds}` : '',
    path === '' ? '' : `Path=${path}`,
    ...attributes.map(({ name, value }) => (value === '' ? name : `${name}=${value}`)),
    'HttpOnly',
  ]
  return parts
    .filter((p) => p !== '')
    .map((p) => `; ${p}`)
    .join('')
}
