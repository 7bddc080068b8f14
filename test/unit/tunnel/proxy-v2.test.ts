// PROXY protocol version 2, byte by byte from proxy-protocol.txt §2.2.
import t from 'tap'
import { proxyHeaderBytes } from '../../../lib/tunnel/proxy-v2.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'

t.test('headers', async (t) => {
  const v4 = { source: { ip: '10.0.0.1', port: 40_000 }, destination: { ip: '192.168.255.254', port: 80 } }
  const rows: readonly (readonly [string, Parameters<typeof proxyHeaderBytes>[0], string])[] = [
    ['IPv4', { ...v4, identity: '' }, '2111000c0a000001c0a8fffe9c400050'],
    // Type 0xd0, two bytes of length, the text.
    ['with an identity', { ...v4, identity: 'spiffe://a' }, '211100190a000001c0a8fffe9c400050d0000a7370696666653a2f2f61'],
    [
      'IPv6',
      { source: { ip: 'fd00::1', port: 1 }, destination: { ip: '2001:db8::2', port: 65_535 }, identity: '' },
      '21210024fd00000000000000000000000000000120010db80000000000000000000000020001ffff',
    ],
    [
      'of both families: IPv4 as IPv6 writes it',
      { source: { ip: '10.0.0.1', port: 1 }, destination: { ip: 'fd00::2', port: 2 }, identity: '' },
      '2121002400000000000000000000ffff0a000001fd00000000000000000000000000000200010002',
    ],
  ]
  for (const [what, header, expected] of rows) t.equal(proxyHeaderBytes(header).toString('hex'), SIGNATURE + expected, what)
})
