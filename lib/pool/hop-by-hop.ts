// Hot lane: what belongs to the upstream's connection and not to its response (RFC 9110 §7.6.1).
import type { HeaderMap } from '../http/header-map.ts'
import * as H from '../http/known-headers.ts'

/** Takes it out. True when the upstream said that it closes the connection after this response. Keep-Alive stays for the pool to read. */
export function stripHopByHop(headers: HeaderMap): boolean {
  let closes = false
  for (let i = headers.firstKnown(H.H_CONNECTION); i >= 0; i = headers.nextKnown(H.H_CONNECTION, i)) {
    const value = headers.valueAt(i)
    if (value === 'keep-alive') continue
    for (const word of value.split(',')) {
      const option = word.trim().toLowerCase()
      if (option === 'close') closes = true
      // A length that is taken away would leave its body to be read as the next message.
      else if (option !== '' && option !== 'keep-alive' && option !== 'upgrade' && option !== 'content-length')
        headers.remove(option)
    }
  }
  headers.removeKnown(H.H_CONNECTION)
  headers.removeKnown(H.H_PROXY_CONNECTION)
  headers.removeKnown(H.H_TRANSFER_ENCODING)
  return closes
}
