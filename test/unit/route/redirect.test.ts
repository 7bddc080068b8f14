import t from 'tap'
import { locationOf } from '../../../lib/route/redirect.ts'
import type { RedirectAction } from '../../../lib/state/route.ts'
import { view } from './world.ts'

const NOTHING: RedirectAction = {
  kind: 'redirect',
  code: 301,
  scheme: '',
  authority: '',
  port: 0,
  portFromListener: false,
  path: '',
  prefixRewrite: null,
  regexRewrite: null,
  stripQuery: false,
}

t.test('Location', async (t) => {
  const rows: [redirect: Partial<RedirectAction>, target: string, authority: string, scheme: string, expected: string][] = [
    [{ path: '/new' }, '/r1/x?q=1', 'a:9080', 'http', 'http://a:9080/new?q=1'],
    [{ path: '/new' }, '/r1/x?', 'a', 'http', 'http://a/new?'],
    [{ path: '/new', stripQuery: true }, '/r1/x?q=1', 'a', 'http', 'http://a/new'],
    [{ authority: 'b', stripQuery: true }, '/r1/x?q=1', 'a', 'http', 'http://b/r1/x'],
    [{ path: '/new?z=1' }, '/r2/x?q=1', 'a:9080', 'http', 'http://a:9080/new?z=1'],
    [{ path: '%PREFIX()%/new' }, '/rb/x', 'a:9080', 'http', 'http://a:9080/%PREFIX()%/new'],
    [{ authority: 'other.host' }, '/r3/x?q=1', 'a:9080', 'http', 'http://other.host/r3/x?q=1'],
    [{ authority: 'other.host' }, '/r3/x', 'a:9080', 'https', 'https://other.host/r3/x'],
    [{ authority: 'o.host:8080' }, '/rc/x', 'a:9080', 'http', 'http://o.host:8080/rc/x'],
    [{ scheme: 'https' }, '/r4/x', 'a:9080', 'http', 'https://a:9080/r4/x'],
    [{ scheme: 'https' }, '/r4/x', 'a', 'http', 'https://a/r4/x'],
    [{ scheme: 'https' }, '/r4/x', 'a:80', 'http', 'https://a/r4/x'],
    [{ scheme: 'https' }, '/r4/x', 'a:', 'http', 'https://a:/r4/x'],
    [{ scheme: 'https' }, '/r4/x', 'a:443', 'https', 'https://a:443/r4/x'],
    [{ scheme: 'http' }, '/rd/x', 'a:443', 'https', 'http://a/rd/x'],
    [{ scheme: 'http' }, '/rd/x', 'a:9080', 'http', 'http://a:9080/rd/x'],
    [{ scheme: 'http' }, '/rd/x', 'a:80', 'http', 'http://a:80/rd/x'],
    [{ port: 8443 }, '/r5/x', 'a:9080', 'http', 'http://a:8443/r5/x'],
    [{ port: 8443 }, '/r5/x', 'a:80', 'http', 'http://a:8443/r5/x'],
    [{ port: 8443 }, '/r5/x', 'a:', 'http', 'http://a:8443/r5/x'],
    [{ port: 8443 }, '/r5/x?', 'A:9', 'http', 'http://A:8443/r5/x?'],
    [{ port: 8443 }, '/x', '[::1]:80', 'http', 'http://[::1]:8443/x'],
    [{ port: 8443 }, '/x', '[::1]', 'http', 'http://[::1]:8443/x'],
    // Who wants no default port names none.
    [{ scheme: 'https', port: 443 }, '/r6/x', 'a:9080', 'http', 'https://a:443/r6/x'],
    [{ scheme: 'https', port: 80 }, '/r6/x', 'a:9080', 'http', 'https://a:80/r6/x'],
    [{ port: 80 }, '/re/x', 'a:9080', 'http', 'http://a:80/re/x'],
    [{ port: 80 }, '/re/x', 'a', 'https', 'https://a:80/re/x'],
    [{ port: 80 }, '/re/x', 'a:443', 'https', 'https://a:80/re/x'],
    [{ authority: 'o.host' }, '/r7/x', 'a:9080', 'http', 'http://o.host/r7/x'],
    [{ authority: 'o.host', portFromListener: true }, '/r8/x', 'a', 'http', 'http://o.host:9080/r8/x'],
    [{ authority: 'o.host', portFromListener: true }, '/r8/x', 'a', 'https', 'https://o.host:9080/r8/x'],
    [{ prefixRewrite: '/' }, '/foo/baz?q', 'a', 'http', 'http://a//baz?q'],
    [{ prefixRewrite: '/bar' }, '/foo/baz', 'a', 'http', 'http://a/bar/baz'],
    [{ prefixRewrite: '/bar?p=1', stripQuery: true }, '/foo/baz?q', 'a', 'http', 'http://a/bar'],
  ]
  for (const [over, target, authority, scheme, expected] of rows) {
    const request = view(target, { authority, scheme })
    t.equal(locationOf({ ...NOTHING, ...over }, request, '/foo'.length, 9080), expected, `${JSON.stringify(over)} ${authority}`)
  }
})

t.test('the default port that goes is that of x-forwarded-proto, where it says one of the two', async (t) => {
  const rows: [said: string, authority: string, expected: string][] = [
    ['http', 'a:80', 'https://a/x'],
    ['ftp', 'a:80', 'https://a:80/x'],
    ['https', 'a:80', 'https://a:80/x'],
    ['https', 'a:443', 'https://a:443/x'],
    ['HTTPS', 'a:443', 'https://a/x'],
  ]
  for (const [said, authority, expected] of rows) {
    const request = view('/x', { authority, headers: [['x-forwarded-proto', said]] })
    t.equal(locationOf({ ...NOTHING, scheme: 'https' }, request, 0, 9080), expected, `${said} ${authority}`)
  }
})
