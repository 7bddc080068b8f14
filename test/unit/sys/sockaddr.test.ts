// Addresses as the kernel has them (struct sockaddr_in, sockaddr_in6), and in their written form (RFC 5952, RFC 4291 §2.2).
import net from 'node:net'
import { endianness } from 'node:os'
import fc from 'fast-check'
import t from 'tap'
import { addressOf, portOf, unmappedAddress, writeSockaddr } from '../../../lib/sys/sockaddr.ts'

const family = (n: number) => (endianness() === 'LE' ? [n, 0] : [0, n])

t.test('bytes', async (t) => {
  const bytes = new Uint8Array(28)
  t.equal(writeSockaddr(bytes, '10.1.2.255', 8080), 16)
  t.same([...bytes.subarray(0, 16)], [...family(2), 0x1f, 0x90, 10, 1, 2, 255, 0, 0, 0, 0, 0, 0, 0, 0])
  t.equal(writeSockaddr(bytes, 'fd00::1:2', 15001), 28)
  t.same([...bytes.subarray(0, 8)], [...family(10), 0x3a, 0x99, 0, 0, 0, 0])
  t.same([...bytes.subarray(8, 24)], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2])
  t.equal(portOf(bytes), 15001)
  t.equal(writeSockaddr(bytes, 'fe80::1%lo', 1), 28)
  t.equal(writeSockaddr(bytes, 'fe80::1%7', 1), 28)
  t.equal(new DataView(bytes.buffer).getUint32(24, endianness() === 'LE'), 7)
})

t.test('written forms', async (t) => {
  const rows: [text: string, written: string][] = [
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['::6', '::6'],
    ['2001:DB8::1', '2001:db8::1'],
    ['2001:0db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], // the first of two equal runs
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'], // the longest run
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'], // one group alone is not shortened (RFC 5952 §4.2.2)
    ['::1:2:3:4:5:6:7', '0:1:2:3:4:5:6:7'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::ffff:a00:1', '10.0.0.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ]
  const bytes = new Uint8Array(28)
  for (const [text, written] of rows) {
    t.not(writeSockaddr(bytes, text, 1), 0, text)
    t.equal(addressOf(bytes), written, text)
  }
})

t.test('what is no address', async (t) => {
  const rows = ['', 'a', '1.2.3', '1.2.3.4.5', '1.2.3.256', '1..2.3', '.1.2.3.4', '1.2.3.4.', '1.2.3.4 ', 'localhost']
  const rows6 = [
    ':',
    ':::',
    '1:2',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    '12345::',
    '::g',
    '1:2:3:4:5:6:7:',
    ':1:2:3:4:5:6:7:8',
    '::1.2.3',
    '1:2:3:4:5:6:7:1.2.3.4',
    '1:2:3:4::5:6:7:8',
    '::1 ',
  ]
  for (const text of [...rows, ...rows6]) t.equal(writeSockaddr(new Uint8Array(28), text, 1), 0, JSON.stringify(text))
})

t.test('any address: Node takes it as one exactly when this does, and writes it the same', async () => {
  const groups = fc.array(
    fc.oneof(
      fc.constant('0'),
      fc.constant(''),
      fc.integer({ max: 0xffff, min: 0 }).map((n) => n.toString(16)),
    ),
    { maxLength: 9 },
  )
  const like = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    groups.map((g) => g.join(':')),
    fc.tuple(groups, fc.ipV4()).map(([g, v4]) => [...g, v4].join(':')),
  )
  fc.assert(
    fc.property(like, (text) => {
      const bytes = new Uint8Array(28)
      const length = writeSockaddr(bytes, text, 7)
      if ((length !== 0) !== (net.isIP(text) !== 0)) return false
      if (length === 0) return true
      const node = new net.SocketAddress({ address: text, family: length === 28 ? 'ipv6' : 'ipv4' }).address
      // The C library writes addresses with 96 leading zeros bits as IPv4 in IPv6; RFC 5952 asks for that only where it is known.
      return addressOf(bytes) === unmappedAddress(node) || /^::[\d.]+$/.test(node)
    }),
  )
})
