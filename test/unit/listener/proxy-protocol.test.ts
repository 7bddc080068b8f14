// haproxy.org/download/2.8/doc/proxy-protocol.txt: what a header says, by the specification's own words.
import t from 'tap'
import { MALFORMED, NEEDS_MORE, NO_HEADER, readProxyHeader } from '../../../lib/listener/proxy-protocol.ts'

const SIGNATURE = '\r\n\r\n\0\r\nQUIT\n'
/** §2.2: version and command, family and protocol, length, and what is of that length. */
const v2 = (command: number, family: number, rest: string, length = rest.length): string =>
  SIGNATURE + String.fromCharCode(command, family, length >> 8, length & 255) + rest
const IPV4 = '\x0a\x01\x02\x03\xc0\xa8\x00\x0b\xdc\x04\x01\xbb'
const IPV6 = `\x20\x01\x0d\xb8${'\0'.repeat(11)}\x01\x20\x01\x0d\xb8${'\0'.repeat(11)}\x02\xdc\x04\x01\xbb`
const read = (text: string) => readProxyHeader(Buffer.from(`${text}\0`, 'latin1'), text.length)

t.test('headers', async (t) => {
  const rows: [text: string, expected: ReturnType<typeof readProxyHeader>][] = [
    [
      'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET /',
      { bytes: 47, source: '192.168.0.1:56324', destination: '192.168.0.11:443' },
    ],
    [
      'PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n',
      { bytes: 46, source: '[2001:db8::1]:56324', destination: '[2001:db8::2]:443' },
    ],
    ['PROXY UNKNOWN\r\n', { bytes: 15, source: '', destination: '' }],
    ['PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nx', { bytes: 35, source: '', destination: '' }],
    [v2(0x21, 0x11, IPV4), { bytes: 28, source: '10.1.2.3:56324', destination: '192.168.0.11:443' }],
    [v2(0x21, 0x11, `${IPV4}\x04\0\x01z`), { bytes: 32, source: '10.1.2.3:56324', destination: '192.168.0.11:443' }],
    [v2(0x21, 0x21, IPV6), { bytes: 52, source: '[2001:db8::1]:56324', destination: '[2001:db8::2]:443' }],
    [v2(0x20, 0x00, ''), { bytes: 16, source: '', destination: '' }],
    [v2(0x20, 0x11, IPV4), { bytes: 28, source: '', destination: '' }],
    [v2(0x21, 0x00, ''), { bytes: 16, source: '', destination: '' }],
    ['', NEEDS_MORE],
    ['P', NEEDS_MORE],
    ['PROXY TCP4 192.168.0.1 1', NEEDS_MORE],
    ['\r\n\r\n', NEEDS_MORE],
    [v2(0x21, 0x11, IPV4.slice(0, 11), 12), NEEDS_MORE],
    ['GET / HTTP/1.1\r\n', NO_HEADER],
    ['PUT / HTTP/1.1\r\n', NO_HEADER],
    ['\x16\x03\x01', NO_HEADER],
    ['\r\n\r\nGET', NO_HEADER],
    ['PROXY TCP4 192.168.0.1 ::1 56324 443\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.256 192.168.0.11 56324 443\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.1 192.168.0.11 65536 443\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.1\r\n', MALFORMED],
    ['PROXY UDP4 192.168.0.1 192.168.0.11 56324 443\r\n', MALFORMED],
    [`PROXY TCP4 ${' '.repeat(120)}`, MALFORMED],
    [v2(0x11, 0x11, IPV4), MALFORMED],
    [v2(0x22, 0x11, IPV4), MALFORMED],
    [v2(0x21, 0x12, IPV4), MALFORMED],
    [v2(0x21, 0x11, IPV4.slice(0, 8)), MALFORMED],
    [v2(0x21, 0x11, IPV4, 65_535), MALFORMED],
  ]
  for (const [text, expected] of rows) t.same(read(text), expected, JSON.stringify(text))
})

t.test('a byte at a time', async (t) => {
  for (const header of ['PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n', v2(0x21, 0x11, IPV4)]) {
    for (let n = 0; n < header.length; n++) t.equal(read(header.slice(0, n)), NEEDS_MORE)
    t.not(read(header), NEEDS_MORE)
  }
})
