// Hot lane: HTTP/2 in the clear for a client that begins with HTTP/1.1 and asks for it (RFC 7540 §3.2; RFC 9113 §3.1 has given it up, clients have not).
//
// An offer may always be ignored (RFC 9110 §7.8), and whoever makes it goes on with HTTP/1.1. So it is taken only where nothing is left open: a request without a body, which
// would have to be read before HTTP/2 can begin; one HTTP2-Settings that is what RFC 7540 §3.2.1 wants; and nothing that says that the request has come through another
// proxy. One that passes such an offer on believes that it forwards a request, and forwards a tunnel, past all that it checks (h2c smuggling).
import { upgradeSettings } from '../../http/h2/peer-settings.ts'
import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'

/** Behind it the connection speaks HTTP/2. */
export const SWITCHING_TO_H2C = 'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n'

/** Written by proxies for whom they forward to. */
const OF_PROXIES: readonly string[] = [
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'forwarded',
  'via',
  'x-real-ip',
]

/** The client's SETTINGS, when the request of `target` with these headers and without a body is to be answered over HTTP/2; null: it is not. */
export function h2cSettings(minor: number, target: string, headers: HeaderMap): Buffer | null {
  const at = headers.firstKnown(H.H_HTTP2_SETTINGS)
  if (at < 0 || headers.nextKnown(H.H_HTTP2_SETTINGS, at) >= 0) return null
  const upgrade = headers.firstKnown(H.H_UPGRADE)
  if (upgrade < 0 || headers.nextKnown(H.H_UPGRADE, upgrade) >= 0 || headers.valueAt(upgrade).toLowerCase() !== 'h2c') return null
  if (minor !== 1 || !asksForBoth(headers) || !hasOneHost(headers)) return null
  // An absolute form names another host than Host does.
  if (target.charCodeAt(0) !== 0x2f && target !== '*') return null
  for (let i = 0; i < OF_PROXIES.length; i++) if (headers.get(OF_PROXIES[i] as string) !== null) return null
  return upgradeSettings(headers.valueAt(at))
}

/** Connection has to name both fields (RFC 7540 §3.2, §3.2.1), and does not say that this is the last request. */
function asksForBoth(headers: HeaderMap): boolean {
  let upgrade = false
  let settings = false
  for (let i = headers.firstKnown(H.H_CONNECTION); i >= 0; i = headers.nextKnown(H.H_CONNECTION, i)) {
    for (const word of headers.valueAt(i).split(',')) {
      const option = word.trim().toLowerCase()
      if (option === 'close') return false
      if (option === 'upgrade') upgrade = true
      else if (option === 'http2-settings') settings = true
    }
  }
  return upgrade && settings
}

function hasOneHost(headers: HeaderMap): boolean {
  const i = headers.firstKnown(H.H_HOST)
  return i >= 0 && headers.nextKnown(H.H_HOST, i) < 0 && headers.valueAt(i) !== ''
}
