// What of a request is refused before anybody looks at it. Expected: what Envoy answers where use_remote_address and xff_num_trusted_hops say that nobody is in front.
import t from 'tap'
import type { HttpStream } from '../../../../lib/filter/http/http-stream.ts'
import { intake } from '../../../../lib/filter/http/intake.ts'
import * as R from '../../../../lib/filter/http/reasons.ts'
import { mapOf } from '../../http/kit.ts'

/** Refused later than by the target where the target is let be. */
function refusalOf(target: string, trustedProxies: number | null, tls: object | null): R.Reason | null {
  const edge = trustedProxies === null ? null : { trustedProxies, keepsRequestIds: false }
  const manager = { config: { settings: { http10: false }, edge }, pathNormalization: 'NONE' }
  const session = { authority: '', connection: { tls } }
  const stream = { method: 'GET', target, minor: 1, manager, session, absoluteScheme: '' } as unknown as HttpStream
  return intake(stream, mapOf('host: a\r\nexpect: nothing\r\n'))
}

t.test('a URL of https without TLS', async (t) => {
  const cases: [title: string, target: string, trustedProxies: number | null, tls: object | null, refused: boolean][] = [
    ['from outside', 'https://a/b', 0, null, true],
    ['in capitals', 'HTTPS://a/b', 0, null, true],
    ['one of http', 'http://a/b', 0, null, false],
    ['a path', '/https://a/b', 0, null, false],
    ['with TLS', 'https://a/b', 0, {}, false],
    ['by a proxy that is believed', 'https://a/b', 1, null, false],
    ['within the mesh', 'https://a/b', null, null, false],
  ]
  for (const [title, target, trustedProxies, tls, refused] of cases)
    t.equal(refusalOf(target, trustedProxies, tls), refused ? R.HTTPS_IN_PLAIN_TEXT : R.EXPECTATION_FAILED, title)
})
