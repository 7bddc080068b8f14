// Expected bytes are haproxy's proxy-protocol.txt by hand.
import t from 'tap'
import { proxyHeader } from '../../../lib/pool/proxy-header.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'

t.test('version 1', async (t) => {
  const rows: readonly (readonly [source: string, destination: string, line: string])[] = [
    ['10.0.0.1:5', '10.0.0.2:80', 'PROXY TCP4 10.0.0.1 10.0.0.2 5 80'],
    ['[2001:db8::1]:5', '[::1]:80', 'PROXY TCP6 2001:db8::1 ::1 5 80'],
    ['[::ffff:10.0.0.1]:5', '10.0.0.2:80', 'PROXY TCP4 10.0.0.1 10.0.0.2 5 80'],
    ['10.0.0.1:5', '[::1]:80', 'PROXY UNKNOWN'],
    ['', '10.0.0.2:80', 'PROXY UNKNOWN'],
  ]
  for (const [source, destination, line] of rows)
    t.equal(proxyHeader('v1', { source, destination }).toString(), `${line}\r\n`, source)
  t.equal(proxyHeader('v1', null).toString(), 'PROXY UNKNOWN\r\n')
})

t.test('version 2', async (t) => {
  const rows: readonly (readonly [source: string, destination: string, rest: string])[] = [
    ['10.0.0.1:5', '10.0.0.2:80', '2111000c0a0000010a00000200050050'],
    ['[2001:db8::1]:5', '[::]:80', '2121002420010db80000000000000000000000010000000000000000000000000000000000050050'],
    [
      '[64:ff9b::10.0.0.1]:65535',
      '[1:2:3:4:5:6:7:8]:1',
      '212100240064ff9b00000000000000000a00000100010002000300040005000600070008ffff0001',
    ],
    ['10.0.0.1:5', '[::1]:80', '20000000'],
  ]
  for (const [source, destination, rest] of rows)
    t.equal(proxyHeader('v2', { source, destination }).toString('hex'), SIGNATURE + rest, source)
  t.equal(proxyHeader('v2', null).toString('hex'), `${SIGNATURE}20000000`)
})
