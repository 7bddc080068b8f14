// HPACK in both directions: the examples of RFC 7541, the rules of its limits, and what RFC 9113 forbids in a field.
import t from 'tap'
import { COMPRESSION_FAILED, HpackDecoder } from '../../../../lib/http/h2/hpack/decoder.ts'
import { HpackEncoder } from '../../../../lib/http/h2/hpack/encoder.ts'
import { BAD_HUFFMAN, HuffmanDecoder, huffmanEncode, huffmanLength } from '../../../../lib/http/h2/hpack/huffman.ts'
import * as M from '../../../../lib/http/h2/message-head.ts'
import { HeaderMap } from '../../../../lib/http/header-map.ts'
import { H_CONTENT_TYPE, H_USER_AGENT } from '../../../../lib/http/known-headers.ts'
import { fieldsOf, mapOf } from '../kit.ts'
import { block, integer, text } from './kit.ts'

const hex = (s: string) => Buffer.from(s.replace(/\s/g, ''), 'hex')

class Reader {
  readonly decoder: HpackDecoder
  readonly map: HeaderMap
  readonly head: M.MessageHead

  constructor(tableSize = 4096, maxHeaderBytes = 60000, maxHeaders = 100) {
    this.decoder = new HpackDecoder({ tableSize, maxHeaderBytes, maxHeaders, extendedConnect: false })
    this.map = new HeaderMap()
    this.head = new M.MessageHead()
  }

  outcome(b: Buffer, mode = M.REQUEST): number {
    return this.decoder.decode(b, 0, b.length, mode, this.map, this.head)
  }

  /** Pseudo-headers and fields; or the outcome when it is not 0. */
  read(b: Buffer, mode = M.REQUEST): readonly string[] | number {
    const outcome = this.outcome(b, mode)
    if (outcome !== 0) return outcome
    const { method, scheme, authority, path, status } = this.head
    const pseudo = mode === M.RESPONSE ? [String(status)] : mode === M.REQUEST ? [method, scheme, authority, path] : []
    return [...pseudo, ...fieldsOf(this.map)]
  }

  /** The dynamic table, youngest first, and its size. */
  table(): readonly string[] {
    const { table } = this.decoder
    const out = [String(table.size)]
    for (let i = 0; i < table.count; i++) {
      const slot = table.slot(i)
      const start = table.start[slot] as number
      out.push(table.arena.toString('latin1', start, start + (table.lineLength[slot] as number) - 2))
    }
    return out
  }
}

t.test('RFC 7541 C.3 and C.4: requests, plain and Huffman-coded', async (t) => {
  const variants = {
    plain: [
      '828684410f7777772e6578616d706c652e636f6d',
      '828684be58086e6f2d6361636865',
      '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
    ],
    coded: ['828684418cf1e3c2e5f23a6ba0ab90f4ff', '828684be5886a8eb10649cbf', '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf'],
  }
  for (const [name, blocks] of Object.entries(variants)) {
    const r = new Reader()
    t.same(r.read(hex(blocks[0]!)), ['GET', 'http', 'www.example.com', '/'], name)
    t.same(r.table(), ['57', ':authority: www.example.com'])
    t.same(r.read(hex(blocks[1]!)), ['GET', 'http', 'www.example.com', '/', 'cache-control: no-cache'])
    t.same(r.table(), ['110', 'cache-control: no-cache', ':authority: www.example.com'])
    t.same(r.read(hex(blocks[2]!)), ['GET', 'https', 'www.example.com', '/index.html', 'custom-key: custom-value'])
    t.same(r.table(), ['164', 'custom-key: custom-value', 'cache-control: no-cache', ':authority: www.example.com'])
  }
})

t.test('RFC 7541 C.5 and C.6: responses with eviction from a table of 256 bytes', async (t) => {
  const variants = [
    [
      '4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d',
      '4803333037c1c0bf',
      '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31',
    ],
    [
      '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
      '4883640effc1c0bf',
      '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
    ],
  ]
  const fields = ['cache-control: private', 'date: Mon, 21 Oct 2013 20:13:21 GMT', 'location: https://www.example.com']
  for (const blocks of variants) {
    const r = new Reader()
    r.decoder.table.resize(256)
    t.same(r.read(hex(blocks[0]!), M.RESPONSE), ['302', ...fields])
    t.same(r.table().slice(0, 2), ['222', 'location: https://www.example.com'])
    t.same(r.read(hex(blocks[1]!), M.RESPONSE), ['307', ...fields])
    t.same(r.table(), ['222', ':status: 307', fields[2], fields[1], fields[0]])
    const cookie = 'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'
    const date = 'date: Mon, 21 Oct 2013 20:13:22 GMT'
    t.same(r.read(hex(blocks[2]!), M.RESPONSE), ['200', fields[0], date, fields[2], 'content-encoding: gzip', cookie])
    t.same(r.table(), ['215', cookie, 'content-encoding: gzip', date])
  }
})

t.test('Huffman: every byte comes back, and padding is as RFC 7541 §5.2 wants it', async (t) => {
  const all = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join('')
  const decoder = new HuffmanDecoder()
  for (const s of ['', 'a', all, all.repeat(3), 'www.example.com', '\xff\xff\xff', 'zzzzzzzz{}{}']) {
    const bytes = Buffer.from(s, 'latin1')
    const length = huffmanLength(bytes, 0, bytes.length)
    const coded = Buffer.alloc(length + 1, 0xaa)
    t.equal(huffmanEncode(bytes, 0, bytes.length, coded, 0), length)
    const out = Buffer.alloc(s.length + 8)
    t.equal(decoder.decode(coded, 0, length, out, 0), s.length)
    t.equal(out.toString('latin1', 0, s.length), s)
  }
  const bad: readonly (readonly [string, string])[] = [
    ['a byte of padding', 'f1e3c2e5f23a6ba0ab90f4ffff'],
    ['padding of zeros', '00'],
    ['EOS', 'fffffffc'],
    ['EOS behind text', '1fffffffff'],
    ['eight ones', 'ff'],
    ['a long code cut off', 'fffe'],
  ]
  for (const [what, bytes] of bad)
    t.equal(decoder.decode(hex(bytes), 0, hex(bytes).length, Buffer.alloc(64), 0), BAD_HUFFMAN, what)
})

t.test('integers: RFC 7541 C.1, and what is too large or cut off', async (t) => {
  // 1337 as a table size (5 bits): 1f9a0a becomes 3f9a0a.
  const r = new Reader()
  t.equal(r.outcome(Buffer.concat([hex('3f9a0a'), block([':method', 'GET'], [':scheme', 'http'], [':path', '/'])])), 0)
  t.equal(r.decoder.table.capacity, 1337)
  for (const bytes of [
    '3fe21f' /* 4097 */,
    '3fffffffffff0f',
    'ffffffffffffffffff7f',
    'ff',
    'ffff',
    '00',
    '0001',
    '000161',
    '7f',
    '0f80',
  ])
    t.equal(new Reader().outcome(hex(bytes)), COMPRESSION_FAILED, bytes)
})

t.test('indices that no table has', async (t) => {
  for (const bytes of ['80', 'be', 'ff00', '7e0161', '0f2f0161'])
    t.equal(new Reader().outcome(hex(bytes)), COMPRESSION_FAILED, bytes)
})

t.test('table sizes: only in front, only within our limit, and obligatory when we asked for less', async (t) => {
  const request = block([':method', 'GET'], [':scheme', 'http'], [':path', '/'])
  t.equal(new Reader().outcome(Buffer.concat([hex('203fe11f'), request])), 0, 'two in front')
  t.equal(new Reader().outcome(Buffer.concat([request, hex('20')])), COMPRESSION_FAILED, 'behind a field')
  const small = new Reader(0)
  t.equal(small.outcome(request), 0, 'before our SETTINGS are acknowledged')
  small.decoder.limitTable(0)
  t.equal(small.outcome(request), COMPRESSION_FAILED, 'and after them')
  const large = new Reader(65536)
  t.equal(large.outcome(Buffer.concat([hex('3fe1ff03'), request])), 0)
  t.equal(large.decoder.table.capacity, 65536)
})

t.test('a table that turns round many times keeps its entries whole', async (t) => {
  const r = new Reader()
  const kept: string[] = []
  let wrong = ''
  for (let i = 0; i < 2000; i++) {
    const value = `${i}-${'v'.repeat((i * 37) % 500)}`
    const entry = Buffer.concat([Buffer.from([0x40]), text('x-a'), text(value)])
    r.outcome(entry, M.TRAILERS)
    kept.unshift(`x-a: ${value}`)
    const alive = r.table().slice(1)
    if (wrong === '' && JSON.stringify(alive) !== JSON.stringify(kept.slice(0, alive.length))) wrong = `after entry ${i}`
  }
  t.equal(wrong, '')
  const table = r.table().slice(1)
  t.ok(table.length > 3)
  t.same(table, kept.slice(0, table.length))
  t.equal(
    Number(r.table()[0]),
    table.reduce((n, line) => n + line.length - 2 + 32, 0),
  )
  t.ok(Number(r.table()[0]) <= 4096)
  r.outcome(Buffer.concat([Buffer.from([0x40]), text('x-a'), text('y'.repeat(5000))]), M.TRAILERS)
  t.same(r.table(), ['0'], 'an entry larger than the table empties it')
})

t.test('a name that refers to an entry which goes for it', async (t) => {
  const r = new Reader()
  r.outcome(Buffer.concat([Buffer.from([0x40]), text('x-long-name'), text('v'.repeat(4000))]), M.TRAILERS)
  const next = Buffer.concat([integer(0x40, 6, 62), text('w'.repeat(3990))])
  t.same(r.read(next, M.TRAILERS), [`x-long-name: ${'w'.repeat(3990)}`])
  t.same(r.table().slice(1), [`x-long-name: ${'w'.repeat(3990)}`])
})

t.test('names that the proxy reads have their ids, wherever they came from', async (t) => {
  const r = new Reader()
  const get = Buffer.from([0x82, 0x86, 0x84])
  r.outcome(Buffer.concat([get, integer(0x40, 6, 58), text('curl'), Buffer.from([0x40]), text('content-type'), text('a/b')]))
  t.equal(r.map.known(H_USER_AGENT, 'user-agent'), 'curl', 'static name')
  t.equal(r.map.known(H_CONTENT_TYPE, 'content-type'), 'a/b', 'literal name')
  r.outcome(Buffer.concat([get, integer(0x80, 7, 62), integer(0x80, 7, 63)]))
  t.equal(r.map.known(H_USER_AGENT, 'user-agent'), 'curl', 'dynamic entry')
  t.equal(r.map.known(H_CONTENT_TYPE, 'content-type'), 'a/b')
  t.equal(r.map.serialise(), 'content-type: a/b\r\nuser-agent: curl\r\n', 'and are forwarded to HTTP/1 as they are')
})

const GET: readonly (readonly [string, string])[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a'],
]
const without = (name: string) => GET.filter(([n]) => n !== name)
const instead = (name: string, value: string) => GET.map(([n, v]) => [n, n === name ? value : v] as const)

t.test('requests that are malformed, RFC 9113 §8.2 and §8.3', async (t) => {
  const rows: readonly (readonly [string, readonly (readonly [string, string])[], number])[] = [
    ['all is well', GET, 0],
    ['upper case in a name', [...GET, ['X-Foo', 'a']], M.BAD_NAME],
    ['an empty name', [...GET, ['', 'a']], M.BAD_NAME],
    ['a colon in a name', [...GET, ['a:b', 'a']], M.BAD_NAME],
    ['a blank in a name', [...GET, ['a b', 'a']], M.BAD_NAME],
    ['a byte beyond ASCII in a name', [...GET, ['caf\xe9', 'a']], M.BAD_NAME],
    ['CR LF in a value', [...GET, ['x', 'a\r\ny: b']], M.BAD_VALUE],
    ['LF in a value', [...GET, ['x', 'a\nb']], M.BAD_VALUE],
    ['NUL in a value', [...GET, ['x', 'a\0b']], M.BAD_VALUE],
    ['a blank before a value', [...GET, ['x', ' a']], M.BAD_VALUE],
    ['a tab behind a value', [...GET, ['x', 'a\t']], M.BAD_VALUE],
    ['a blank inside, obs-text, an empty value', [...GET, ['x', 'a b\xff'], ['y', '']], 0],
    ['connection', [...GET, ['connection', 'close']], M.HTTP1_FIELD],
    ['keep-alive', [...GET, ['keep-alive', 'timeout=5']], M.HTTP1_FIELD],
    ['proxy-connection', [...GET, ['proxy-connection', 'close']], M.HTTP1_FIELD],
    ['transfer-encoding', [...GET, ['transfer-encoding', 'chunked']], M.HTTP1_FIELD],
    ['upgrade', [...GET, ['upgrade', 'h2c']], M.HTTP1_FIELD],
    ['te: gzip', [...GET, ['te', 'trailers, gzip']], M.BAD_TE],
    ['te: trailers', [...GET, ['te', 'trailers']], 0],
    ['an unknown pseudo-header', [...GET, [':foo', 'a']], M.BAD_PSEUDO],
    ["a response's pseudo-header", [...GET, [':status', '200']], M.BAD_PSEUDO],
    ['a pseudo-header behind a field', [...without(':path'), ['x', 'a'], [':path', '/']], M.PSEUDO_ORDER],
    ['two :path', [...GET, [':path', '/b']], M.PSEUDO_TWICE],
    ['two :authority', [...GET, [':authority', 'a']], M.PSEUDO_TWICE],
    ['no :method', without(':method'), M.PSEUDO_MISSING],
    ['no :scheme', without(':scheme'), M.PSEUDO_MISSING],
    ['no :path', without(':path'), M.PSEUDO_MISSING],
    ['no :authority and no host', without(':authority'), 0],
    ['an empty :path', instead(':path', ''), M.BAD_PATH],
    ['a :path without a slash', instead(':path', 'a'), M.BAD_PATH],
    ['a blank in :path', instead(':path', '/a b'), M.BAD_PATH],
    ['a fragment in :path', instead(':path', '/a#b'), M.BAD_PATH],
    ['CR LF in :path', instead(':path', '/ HTTP/1.1\r\nx: y'), M.BAD_PATH],
    ['a star without OPTIONS', instead(':path', '*'), M.BAD_PATH],
    [
      'a star with OPTIONS',
      [[':method', 'OPTIONS'], ...without(':method').map(([n, v]) => [n, n === ':path' ? '*' : v] as const)],
      0,
    ],
    ['a request line as a method', instead(':method', 'GET / HTTP/1.1'), M.BAD_METHOD],
    ['an empty method', instead(':method', ''), M.BAD_METHOD],
    ['a scheme with a colon', instead(':scheme', 'http://x'), M.BAD_SCHEME],
    ['userinfo', instead(':authority', 'u:p@a'), M.BAD_AUTHORITY],
    ['a path in the authority', instead(':authority', 'a/b'), M.BAD_AUTHORITY],
    ['a blank in the authority', instead(':authority', 'a b'), M.BAD_AUTHORITY],
    ['an IPv6 authority', instead(':authority', '[::1]:80'), 0],
    ['host of the same name', [...GET, ['host', 'A']], 0],
    ['host of another name', [...GET, ['host', 'b']], M.HOST_MISMATCH],
    ['two hosts', [...without(':authority'), ['host', 'a'], ['host', 'a']], M.HOST_MISMATCH],
    ['a host that is none', [...without(':authority'), ['host', 'a/b']], M.BAD_AUTHORITY],
    ['a length', [...GET, ['content-length', '5']], 0],
    ['a length that is none', [...GET, ['content-length', '+5']], M.BAD_LENGTH],
    ['two lengths', [...GET, ['content-length', '5'], ['content-length', '5']], M.BAD_LENGTH],
    [
      'CONNECT',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
      ],
      0,
    ],
    [
      'CONNECT with a path',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        [':path', '/'],
      ],
      M.PSEUDO_MISSING,
    ],
    [
      'CONNECT with a scheme',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        [':scheme', 'http'],
      ],
      M.PSEUDO_MISSING,
    ],
    ['CONNECT without an authority', [[':method', 'CONNECT']], M.PSEUDO_MISSING],
    ['extended CONNECT that was not offered', [...instead(':method', 'CONNECT'), [':protocol', 'websocket']], M.BAD_PROTOCOL],
  ]
  for (const [what, fields, fault] of rows) {
    const r = new Reader()
    t.equal(r.outcome(block(...fields)), fault, what)
    // The same over the tables: a malformed field stays so when it is indexed.
    const indexed = Buffer.concat(fields.map(([n, v]) => Buffer.concat([Buffer.from([0x40]), text(n), text(v)])))
    const again = Buffer.concat(fields.map((_, i) => integer(0x80, 7, 61 + fields.length - i)))
    const x = new Reader()
    t.equal(x.outcome(indexed), fault, `${what}, into the table`)
    t.equal(x.outcome(again), fault, `${what}, from the table`)
  }
})

t.test('extended CONNECT where it was offered', async (t) => {
  const decoder = new HpackDecoder({ tableSize: 4096, maxHeaderBytes: 9999, maxHeaders: 99, extendedConnect: true })
  const head = new M.MessageHead()
  const connect = block(
    [':method', 'CONNECT'],
    [':protocol', 'websocket'],
    [':scheme', 'https'],
    [':path', '/chat'],
    [':authority', 'a'],
  )
  t.equal(decoder.decode(connect, 0, connect.length, M.REQUEST, new HeaderMap(), head), 0)
  t.equal(head.protocol, 'websocket')
  const other = block(
    [':method', 'GET'],
    [':protocol', 'websocket'],
    [':scheme', 'https'],
    [':path', '/chat'],
    [':authority', 'a'],
  )
  t.equal(decoder.decode(other, 0, other.length, M.REQUEST, new HeaderMap(), head), M.BAD_PROTOCOL)
})

t.test('responses and trailers', async (t) => {
  const rows: readonly (readonly [string, number, readonly (readonly [string, string])[], number])[] = [
    ['200', M.RESPONSE, [[':status', '200']], 0],
    ['no status', M.RESPONSE, [['x', 'y']], M.BAD_STATUS],
    ['a status of four digits', M.RESPONSE, [[':status', '2000']], M.BAD_STATUS],
    ['a status of letters', M.RESPONSE, [[':status', 'abc']], M.BAD_STATUS],
    ['099', M.RESPONSE, [[':status', '099']], M.BAD_STATUS],
    ['101 does not exist', M.RESPONSE, [[':status', '101']], M.BAD_STATUS],
    [
      'a path',
      M.RESPONSE,
      [
        [':status', '200'],
        [':path', '/'],
      ],
      M.BAD_PSEUDO,
    ],
    [
      'transfer-encoding',
      M.RESPONSE,
      [
        [':status', '200'],
        ['transfer-encoding', 'chunked'],
      ],
      M.HTTP1_FIELD,
    ],
    ['trailers', M.TRAILERS, [['grpc-status', '0']], 0],
    ['a pseudo-header in trailers', M.TRAILERS, [[':status', '200']], M.BAD_PSEUDO],
  ]
  for (const [what, mode, fields, fault] of rows) t.equal(new Reader().outcome(block(...fields), mode), fault, what)
})

t.test('host without :authority is the authority, and no field', async (t) => {
  const r = new Reader()
  t.same(r.read(block(...without(':authority'), ['host', 'b.example'])), ['GET', 'http', 'b.example', '/'])
})

t.test('cookie crumbs become one field (RFC 9113 §8.2.3)', async (t) => {
  const r = new Reader()
  t.same(r.read(block(...GET, ['cookie', 'a=1'], ['x', 'y'], ['cookie', 'b=2'], ['cookie', 'c=3'])), [
    'GET',
    'http',
    'a',
    '/',
    'x: y',
    'cookie: a=1; b=2; c=3',
  ])
  t.same(r.read(block(...GET, ['cookie', 'a=1'], ['x', 'y'])).valueOf(), ['GET', 'http', 'a', '/', 'cookie: a=1', 'x: y'])
})

t.test('names that came as never indexed are told', async (t) => {
  const r = new Reader()
  r.outcome(
    Buffer.concat([block(...GET), Buffer.from([0x10]), text('x-token'), text('s'), Buffer.from([0x1f, 8]), text('basic')]),
  )
  t.equal(r.head.neverIndexed, ',x-token,authorization,')
})

t.test('limits: a list of names, values and 32 for each', async (t) => {
  const listed = (fields: readonly (readonly [string, string])[]) => fields.reduce((n, [a, b]) => n + a.length + b.length + 32, 0)
  const fields = [...GET, ['x', 'y'.repeat(100)] as const]
  t.equal(new Reader(4096, listed(fields)).outcome(block(...fields)), 0)
  t.equal(new Reader(4096, listed(fields) - 1).outcome(block(...fields)), M.TOO_LARGE)
  t.equal(new Reader(4096, 60000, 5).outcome(block(...fields)), 0)
  t.equal(new Reader(4096, 60000, 4).outcome(block(...fields)), M.TOO_MANY)
  const r = new Reader(4096, 300)
  const large = Buffer.concat([block(...GET), Buffer.from([0x40]), text('x-kept'), text('z'.repeat(400))])
  t.equal(r.outcome(large), M.TOO_LARGE)
  t.same(r.table().slice(1), [`x-kept: ${'z'.repeat(400)}`], 'and the table has what the block put there')
})

t.test('HPACK bomb: one byte that stands for four thousand is counted, and not made', async (t) => {
  const r = new Reader()
  const bomb = [block(...GET), Buffer.from([0x40]), text('x'), text('b'.repeat(4000)), Buffer.alloc(16000, 0xbe)]
  t.equal(r.outcome(Buffer.concat(bomb)), M.TOO_LARGE)
  t.ok(r.map.block.length < 60000, `${r.map.block.length} bytes`)
})

t.test('encoder: what it says is what the decoder reads, and repeats cost a byte', async (t) => {
  for (const huffman of [false, true]) {
    const encoder = new HpackEncoder(huffman)
    const r = new Reader()
    const lines = 'User-Agent: curl/8\r\naccept: */*\r\nx-request-id: 123\r\nauthorization: Bearer secret\r\nte: trailers\r\n'
    const out = Buffer.alloc(8192)
    const sizes: number[] = []
    for (let i = 0; i < 4; i++) {
      encoder.begin(out, 3, '')
      encoder.request('GET', 'http', 'www.example.com', '/a/b?c=d', '')
      encoder.fields(lines.replace('123', `${i}-0123456789`), false)
      sizes.push(encoder.position - 3)
      const got = r.read(out.subarray(3, encoder.position))
      t.same(got, [
        'GET',
        'http',
        'www.example.com',
        '/a/b?c=d',
        'user-agent: curl/8',
        'accept: */*',
        `x-request-id: ${i}-0123456789`,
        'authorization: Bearer secret',
        'te: trailers',
      ])
      t.equal(r.head.neverIndexed, ',authorization,')
    }
    t.notOk(
      r.table().some((line) => /request-id|authorization/.test(line)),
      'ids and secrets are in no table',
    )
    t.ok(sizes[3]! < sizes[0]! / 1.5, sizes.join(' '))
    t.equal(encoder.table.size, r.decoder.table.size)
  }
})

t.test('encoder: what belongs to HTTP/1 is left out; maps and lines give the same', async (t) => {
  const lines =
    'Host: a\r\nConnection: close\r\nKeep-Alive: x\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\nTE: gzip\r\nProxy-Connection: x\r\nX-Spaced:   v\r\nvia: 1.1 a\r\n'
  const out = Buffer.alloc(8192)
  for (const withHost of [false, true]) {
    const expected = withHost ? ['host: a', 'x-spaced: v', 'via: 1.1 a'] : ['x-spaced: v', 'via: 1.1 a']
    const map = mapOf(lines)
    map.append('x-added', 'z')
    const fromMap = new HpackEncoder(false)
    fromMap.begin(out, 0, '')
    fromMap.map(map, withHost)
    t.same(new Reader().read(out.subarray(0, fromMap.position), M.TRAILERS), [...expected, 'x-added: z'])
    const fromLines = new HpackEncoder(false)
    fromLines.begin(out, 0, '')
    fromLines.fields(lines.replace('Spaced:   v', 'Spaced: v'), withHost)
    t.same(new Reader().read(out.subarray(0, fromLines.position), M.TRAILERS), expected)
  }
})

t.test('encoder: names that must not be indexed are passed on so, even when the table has them', async (t) => {
  const encoder = new HpackEncoder(false)
  const r = new Reader()
  const out = Buffer.alloc(4096)
  for (const never of ['', '', ',x-token,:path,']) {
    encoder.begin(out, 0, never)
    encoder.request('GET', 'http', 'a', '/secret', '')
    encoder.fields('x-token: abc\r\n', false)
    t.same(r.read(out.subarray(0, encoder.position)), ['GET', 'http', 'a', '/secret', 'x-token: abc'])
  }
  t.equal(r.head.neverIndexed, ',:path,x-token,')
})

t.test('encoder: a line is the one of the table however its name is spelt, and no other', async (t) => {
  const encoder = new HpackEncoder(false)
  const r = new Reader()
  const out = Buffer.alloc(4096)
  const say = (line: string) => {
    encoder.begin(out, 0, '')
    encoder.fields(`${line}\r\n`, false)
    return [r.read(out.subarray(0, encoder.position), M.TRAILERS), encoder.position] as const
  }
  for (const line of ['x-name: Value of it', 'x^: 1', 'Y: 22', 'x-long: 0123456789abcdefghijklmnop'])
    for (let i = 0; i < 2; i++) say(line)
  const rows: readonly [line: string, read: string, known: boolean][] = [
    ['X-Name: Value of it', 'x-name: Value of it', true],
    ['x-nAME: Value of it', 'x-name: Value of it', true],
    ['x-name: value of it', 'x-name: value of it', false],
    ['x-game: Value of it', 'x-game: Value of it', false],
    ['X^: 1', 'x^: 1', true],
    ['x~: 1', 'x~: 1', false],
    ['y: 22', 'y: 22', true],
    ['x-long: 0123456789abcdefghijklmnop', 'x-long: 0123456789abcdefghijklmnop', true],
    // The ends of a value are what its hash is made of.
    ['x-long: 0123456789abcDefghijklmnop', 'x-long: 0123456789abcDefghijklmnop', false],
  ]
  for (const [line, read, known] of rows) {
    const [got, size] = say(line)
    t.same(got, [read])
    t.equal(size === 1, known, `${line}: ${size} bytes`)
  }
})

t.test('encoder: an authority that comes again costs a byte, also when the table has let go of it between', async (t) => {
  const encoder = new HpackEncoder(false)
  const r = new Reader()
  const out = Buffer.alloc(8192)
  const say = (authority: string, more = '', never = '') => {
    encoder.begin(out, 0, never)
    encoder.request('GET', 'http', authority, '/', '')
    encoder.fields(more, false)
    t.same((r.read(out.subarray(0, encoder.position)) as readonly string[]).slice(0, 4), ['GET', 'http', authority, '/'])
    return encoder.position
  }
  for (let i = 0; i < 2; i++) for (const host of ['a.example', 'b.example']) say(host)
  t.equal(say('a.example'), 4)
  t.equal(say('b.example'), 4)
  t.equal(say('b.example'), 4)
  const flood = Array.from({ length: 90 }, (_, i) => `x-${i}: ${'v'.repeat(40)}\r\n`).join('')
  for (let i = 0; i < 2; i++) say('b.example', flood)
  t.ok(say('b.example') > 4, 'it was pushed out')
  t.equal(say('b.example'), 4)
  t.ok(say('b.example', '', ',:authority,') > 4, 'what must not be indexed is not')
  t.equal(r.head.neverIndexed, ',:authority,')
})

t.test("encoder: the peer's table size is kept to and announced", async (t) => {
  const encoder = new HpackEncoder(false)
  const r = new Reader()
  const out = Buffer.alloc(4096)
  const say = (lines: string) => {
    encoder.begin(out, 0, '')
    encoder.fields(lines, false)
    return r.read(out.subarray(0, encoder.position), M.TRAILERS)
  }
  for (let i = 0; i < 3; i++) say('x-a: 1\r\nx-b: 2\r\nx-c: 3\r\n')
  t.equal(r.decoder.table.count, 3)
  encoder.limitTable(40)
  encoder.limitTable(80)
  t.same(say('x-c: 3\r\n'), ['x-c: 3'])
  t.equal(r.decoder.table.capacity, 80)
  t.equal(r.decoder.table.count, 1, 'the smallest size between two blocks evicts, too')
  encoder.limitTable(0)
  t.same(say('x-c: 3\r\n'), ['x-c: 3'])
  t.same(r.table(), ['0'])
  encoder.limitTable(2 ** 32 - 1)
  for (let i = 0; i < 3; i++) t.same(say('x-c: 3\r\n'), ['x-c: 3'])
  t.equal(r.decoder.table.capacity, 4096, 'never more than 4096, whatever the peer allows')
})

t.test('encoder: many lines push each other out, and both tables stay the same', async (t) => {
  const encoder = new HpackEncoder(false)
  const r = new Reader()
  const out = Buffer.alloc(4096)
  let wrong = ''
  for (let i = 0; i < 5000 && wrong === ''; i++) {
    const line = `x-${i % 211}: ${'v'.repeat((i * 7) % 60)}${i % 97}`
    encoder.begin(out, 0, '')
    encoder.fields(`${line}\r\n${line}\r\n`, false)
    const got = r.read(out.subarray(0, encoder.position), M.TRAILERS)
    if (JSON.stringify(got) !== JSON.stringify([line, line])) wrong = `${i}: ${line} became ${JSON.stringify(got)}`
  }
  t.equal(wrong, '')
  t.equal(encoder.table.size, r.decoder.table.size)
})
