import { BlockList, isIP, SocketAddress } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { isLoopback, PrefixSet, parseIp, parsePrefix, parseRange, parseWrittenIp } from '../../../lib/base/ip-prefix.ts'

t.test('addresses', async (t) => {
  const v4 = (d: number) => ({ v6: false, a: 0, b: 0, c: 0, d })
  const rows: [text: string, ip: ReturnType<typeof parseIp>][] = [
    ['10.1.2.3', v4(0x0a010203)],
    ['255.255.255.255', v4(0xffffffff)],
    ['0.0.0.0', v4(0)],
    ['::', { v6: true, a: 0, b: 0, c: 0, d: 0 }],
    ['::1', { v6: true, a: 0, b: 0, c: 0, d: 1 }],
    ['2001:db8::ff:1', { v6: true, a: 0x20010db8, b: 0, c: 0, d: 0x00ff0001 }],
    ['1:2:3:4:5:6:7:8', { v6: true, a: 0x00010002, b: 0x00030004, c: 0x00050006, d: 0x00070008 }],
    ['fe80::1%eth0', { v6: true, a: 0xfe800000, b: 0, c: 0, d: 1 }],
    ['64:ff9b::10.1.2.3', { v6: true, a: 0x0064ff9b, b: 0, c: 0, d: 0x0a010203 }],
    ['::ffff:10.1.2.3', v4(0x0a010203)],
    ['::FFFF:0a01:0203', v4(0x0a010203)],
    ['10.1.2', null],
    ['10.1.2.3:80', null],
    ['', null],
    ['localhost', null],
  ]
  for (const [text, ip] of rows) t.same(parseIp(text), ip, text)
})

t.test('addresses as they are written', async (t) => {
  t.same(parseWrittenIp('::ffff:10.1.2.3'), { v6: true, a: 0, b: 0, c: 0xffff, d: 0x0a010203 })
  t.same(parseWrittenIp('10.1.2.3'), parseIp('10.1.2.3'))
  t.equal(parseWrittenIp('localhost'), null)
})

t.test('ranges', async (t) => {
  const rows: [range: string, bits: number, inside: string[], outside: string[]][] = [
    ['10.1.0.0/16', 16, ['10.1.255.255', '::ffff:10.1.0.1'], ['10.2.0.0', '::1', 'localhost']],
    ['10.1.2.3/8', 8, ['10.255.0.0'], ['11.0.0.0']],
    ['10.1.2.3', 32, ['10.1.2.3'], ['10.1.2.4']],
    ['0.0.0.0/0', 0, ['255.255.255.255'], ['::']],
    ['fd00::/8', 8, ['fdff::1', 'fd00::1%eth0'], ['fe80::1', '10.0.0.1']],
    ['::1', 128, ['::1'], ['::2']],
  ]
  for (const [text, bits, inside, outside] of rows) {
    const range = parseRange(text)
    t.equal(range?.bits, bits, text)
    for (const address of inside) t.equal(range?.contains(address), true, `${text} has ${address}`)
    for (const address of outside) t.equal(range?.contains(address), false, `${text} has not ${address}`)
  }
  for (const text of ['10.1.2', '10.0.0.0/33', '::/129', 'a/8', '']) t.equal(parseRange(text), null, text)
})

t.test('prefixes', async (t) => {
  for (const text of ['10.0.0.0/8', '10.1.2.3/32', '0.0.0.0/0', '::/0', 'fe80::/10', '::1/128']) t.ok(parsePrefix(text), text)
  for (const text of [
    '10.0.0.0',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8.0',
    'a/8',
    'fe80::1%e/64',
    '/8',
  ])
    t.equal(parsePrefix(text), null, text)
})

t.test('which prefixes contain an address', async (t) => {
  const rows: [prefixes: string[], inside: string[], outside: string[]][] = [
    [[], [], ['10.0.0.1', '::1']],
    [['10.0.0.0/8'], ['10.0.0.0', '10.255.255.255', '::ffff:10.1.1.1'], ['9.255.255.255', '11.0.0.0', '::10.0.0.1']],
    [['192.168.7.200/25'], ['192.168.7.128', '192.168.7.255'], ['192.168.7.127']],
    [['10.0.0.1/32'], ['10.0.0.1'], ['10.0.0.0', '10.0.0.2']],
    [['0.0.0.0/0'], ['1.2.3.4', '255.255.255.255'], ['::1']],
    [['::/0'], ['::1', 'ffff::'], ['1.2.3.4', '::ffff:1.2.3.4']],
    [['2001:db8::/33'], ['2001:db8:7fff::1'], ['2001:db8:8000::1']],
    [['2001:db8::1/128'], ['2001:db8::1'], ['2001:db8::2']],
    [
      ['10.0.0.0/8', 'fd00::/8', '172.16.0.0/12'],
      ['172.31.0.1', 'fd12::1'],
      ['172.32.0.1', 'fe00::1'],
    ],
  ]
  for (const [prefixes, inside, outside] of rows) {
    const set = new PrefixSet(prefixes.map((p) => parsePrefix(p)!))
    for (const ip of inside) t.ok(set.contains(parseIp(ip)!), `${ip} in ${prefixes}`)
    for (const ip of outside) t.notOk(set.contains(parseIp(ip)!), `${ip} not in ${prefixes}`)
  }
})

t.test('loopback', async (t) => {
  for (const ip of ['127.0.0.1', '127.255.0.9', '::1', '::ffff:127.0.0.1']) t.ok(isLoopback(parseIp(ip)!), ip)
  for (const ip of ['126.255.255.255', '128.0.0.1', '::2', '::', '0.0.0.0']) t.notOk(isLoopback(parseIp(ip)!), ip)
})

const v4 = fc.ipV4()
// Mapped addresses are left out: a BlockList takes them for IPv4 in some places only.
const v6 = fc.ipV6().filter((ip) => parseIp(ip)?.v6 === true)

t.test('as net.BlockList has it', async () => {
  const prefix4 = fc.record({ address: v4, length: fc.integer({ min: 1, max: 32 }) })
  const prefix6 = fc.record({ address: v6, length: fc.integer({ min: 1, max: 128 }) })
  const some = fc.array(fc.oneof(prefix4, prefix6), { maxLength: 5 })
  fc.assert(
    fc.property(some, fc.oneof(v4, v6), (prefixes, other) => {
      // One for each family: to a BlockList an IPv4 address is also a mapped one in ::/0, to the API it is not.
      const lists = { ipv4: new BlockList(), ipv6: new BlockList() }
      for (const { address, length } of prefixes) lists[familyOf(address)].addSubnet(address, length, familyOf(address))
      const set = new PrefixSet(prefixes)
      // The edges are where mistakes are: the last bit of each prefix, and the first one behind it.
      const near = prefixes.flatMap(({ address, length }) => [flipBit(address, length - 1), flipBit(address, length)])
      return [other, ...prefixes.map((p) => p.address), ...near].every(
        (ip) => set.contains(parseIp(ip)!) === lists[familyOf(ip)].check(ip, familyOf(ip)),
      )
    }),
    { numRuns: 400 },
  )
})

t.test('a written address is read again', async () => {
  fc.assert(
    fc.property(v6, (ip) => {
      const canonical = new SocketAddress({ address: ip, family: 'ipv6' }).address
      const [x, y] = [parseIp(ip)!, parseIp(canonical)!]
      return x.a === y.a && x.b === y.b && x.c === y.c && x.d === y.d
    }),
  )
})

function familyOf(ip: string): 'ipv4' | 'ipv6' {
  return isIP(ip) === 4 ? 'ipv4' : 'ipv6'
}

function flipBit(address: string, bit: number): string {
  const { v6: is6, a, b, c, d } = parseIp(address)!
  const words = is6 ? [a, b, c, d] : [d]
  const at = bit % (words.length * 32)
  const index = at >>> 5
  words[index] = (words[index]! ^ (0x80000000 >>> (at & 31))) >>> 0
  if (!is6) return [24, 16, 8, 0].map((shift) => (words[0]! >>> shift) & 255).join('.')
  return words.flatMap((w) => [w >>> 16, w & 0xffff].map((g) => g.toString(16))).join(':')
}
