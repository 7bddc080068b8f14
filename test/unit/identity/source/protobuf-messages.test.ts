// Our few protobuf messages against protobufjs, and against bytes that no encoder makes.
import fc from 'fast-check'
import protobuf from 'protobufjs'
import t from 'tap'
import { eachField, ProtobufError } from '../../../../lib/grpc/protobuf-fields.ts'
import {
  decodeIstioCertificateResponse,
  encodeIstioCertificateRequest,
} from '../../../../lib/identity/source/istio-ca-messages.ts'
import { decodeX509SvidResponse } from '../../../../lib/identity/source/workload-api-messages.ts'
import { ISTIO_CA, WORKLOAD_API } from '../../../support/identity-protos.ts'

const istio = protobuf.Root.fromJSON(ISTIO_CA as never)
const workload = protobuf.Root.fromJSON(WORKLOAD_API as never)
const CertificateRequest = istio.lookupType('istio.v1.auth.IstioCertificateRequest')
const CertificateResponse = istio.lookupType('istio.v1.auth.IstioCertificateResponse')
const SvidResponse = workload.lookupType('X509SVIDResponse')

const text = fc.string({ unit: 'grapheme', maxLength: 300 })
const bytes = fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b))

t.test('what we encode, protobufjs reads', async () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 0, max: 2 ** 48 }), fc.dictionary(text, text), (csr, validitySeconds, metadata) => {
      const read = CertificateRequest.toObject(
        CertificateRequest.decode(encodeIstioCertificateRequest({ csr, validitySeconds, metadata })),
        {
          longs: Number,
          defaults: true,
        },
      )
      const fields: Record<string, { stringValue?: string }> = read['metadata']?.fields ?? {}
      const strings = Object.entries(fields).map(([key, value]) => [key, value.stringValue] as const)
      return (
        read['csr'] === csr &&
        read['validityDuration'] === validitySeconds &&
        strings.length === Object.keys(metadata).length &&
        strings.every(([key, value]) => Object.hasOwn(metadata, key) && metadata[key] === value)
      )
    }),
  )
})

t.test('what protobufjs encodes, we read', async () => {
  fc.assert(
    fc.property(fc.array(text, { maxLength: 20 }), (certChain) => {
      const read = decodeIstioCertificateResponse(CertificateResponse.encode({ certChain }).finish())
      return JSON.stringify(read) === JSON.stringify(certChain)
    }),
  )
  const svid = fc.record({ spiffeId: text, x509Svid: bytes, x509SvidKey: bytes, bundle: bytes, hint: text })
  const response = fc.record({
    svids: fc.array(svid, { maxLength: 5 }),
    crl: fc.array(bytes, { maxLength: 3 }),
    federatedBundles: fc.dictionary(
      fc.string({ maxLength: 20 }).filter((k) => k !== '__proto__'),
      bytes,
    ),
  })
  fc.assert(
    fc.property(response, (message) => {
      const read = decodeX509SvidResponse(SvidResponse.encode(SvidResponse.fromObject(message)).finish())
      return (
        read.crls === message.crl.length &&
        read.svids.length === message.svids.length &&
        read.svids.every((s, i) => {
          const m = message.svids[i] as (typeof message.svids)[number]
          return (
            s.spiffeId === m.spiffeId &&
            s.hint === m.hint &&
            m.x509Svid.equals(s.certificates) &&
            m.x509SvidKey.equals(s.key) &&
            m.bundle.equals(s.bundle)
          )
        }) &&
        read.federatedBundles.size === Object.keys(message.federatedBundles).length &&
        Object.entries(message.federatedBundles).every(([k, v]) => v.equals(read.federatedBundles.get(k) ?? Buffer.from('none')))
      )
    }),
  )
})

/** One field: number, wire type, and the bytes that follow. */
function raw(field: number, wire: number, ...rest: readonly (number | Buffer)[]): Buffer {
  const tag = field * 8 + wire
  const head = tag < 128 ? [tag] : [(tag % 128) + 128, Math.floor(tag / 128)]
  return Buffer.concat([Buffer.from(head), ...rest.map((r) => (typeof r === 'number' ? Buffer.from([r]) : r))])
}

function delimited(field: number, content: Buffer | string): Buffer {
  const body = Buffer.from(content)
  return raw(field, 2, body.length, body)
}

t.test('unknown fields of all wire types are skipped, known ones of another type too, and the last value counts', async (t) => {
  const unknown = [
    raw(9, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
    raw(10, 1, Buffer.alloc(8)),
    raw(500, 2, 3, Buffer.from('abc')),
    raw(11, 5, Buffer.alloc(4)),
    raw(1, 0, 7),
    raw(1, 5, Buffer.alloc(4)),
  ]
  for (const extra of unknown) {
    t.same(decodeIstioCertificateResponse(Buffer.concat([extra, delimited(1, 'a'), extra, delimited(1, 'b'), extra])), ['a', 'b'])
    const svid = Buffer.concat([extra, delimited(1, 'old'), delimited(5, 'h'), extra, delimited(1, 'new'), extra])
    const read = decodeX509SvidResponse(Buffer.concat([raw(9, 0, 1), delimited(1, svid)]))
    t.match(read.svids, [{ spiffeId: 'new', hint: 'h' }])
  }
  const entry = (...parts: Buffer[]): Buffer => delimited(3, Buffer.concat(parts))
  const twice = Buffer.concat([entry(delimited(1, 'td'), delimited(2, 'one')), entry(delimited(2, 'two'), delimited(1, 'td'))])
  t.equal(Buffer.from(decodeX509SvidResponse(twice).federatedBundles.get('td') ?? []).toString(), 'two')
  t.equal(decodeX509SvidResponse(entry()).federatedBundles.get('')?.length, 0, 'an entry without fields has their defaults')
})

const HOSTILE: readonly (readonly [string, Buffer])[] = [
  ['a tag alone', Buffer.from([0x0a])],
  ['a tag that does not end', Buffer.from([0x8a])],
  ['a length beyond the end', Buffer.from([0x0a, 5, 1, 2])],
  ['a length of 4 GB', Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])],
  ['a length of 2^63', Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])],
  ['a length without an end', Buffer.from([0x0a, ...Array(20).fill(0xff)])],
  ['an unknown field longer than the message', Buffer.from([0x52, 100, 1])],
  ['an unknown number without an end', Buffer.from([0x50, 0x80])],
  ['an unknown fixed64 of three bytes', Buffer.from([0x51, 1, 2, 3])],
  ['a group', Buffer.from([0x0b, 0x0c])],
  ['wire type 6', Buffer.from([0x0e, 1])],
  ['wire type 7', Buffer.from([0x57, 1])],
  ['field number 0', Buffer.from([0x02, 0])],
  ['field number 0 as the last byte', Buffer.from([0x00])],
]

t.test('bytes that are no message are refused', async (t) => {
  for (const [name, message] of HOSTILE) {
    t.throws(() => decodeIstioCertificateResponse(message), ProtobufError, name)
    t.throws(() => decodeX509SvidResponse(message), ProtobufError, name)
    if (message.length < 100)
      t.throws(() => decodeX509SvidResponse(delimited(1, message)), ProtobufError, `${name}, within an SVID`)
  }
  t.throws(() => decodeIstioCertificateResponse(delimited(1, Buffer.from([0xc3, 0x28]))), /not UTF-8/)
  t.throws(() => decodeIstioCertificateResponse(Buffer.concat(Array(101).fill(delimited(1, 'x')))), /more than 100 certificates/)
  t.throws(() => decodeX509SvidResponse(Buffer.concat(Array(1001).fill(delimited(1, '')))), /more than 1000 SVIDs/)
  t.throws(() => decodeX509SvidResponse(Buffer.concat(Array(1001).fill(delimited(2, '')))), /more than 1000 revocation lists/)
  const entries = Array.from({ length: 1001 }, (_, i) => delimited(3, delimited(1, `td${i}`)))
  t.throws(() => decodeX509SvidResponse(Buffer.concat(entries)), /more than 1000 bundles/)
})

t.test('random bytes are a message or are refused, and a message cut short is never read beyond its end', async () => {
  const decodes = (message: Uint8Array): boolean => {
    try {
      decodeX509SvidResponse(message)
      decodeIstioCertificateResponse(message)
      eachField(message, (_, value) => void value.bytes())
    } catch (error) {
      return error instanceof ProtobufError
    }
    return true
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), decodes), { numRuns: 2000 })
  const whole = Buffer.concat([
    delimited(1, Buffer.concat([delimited(1, 'spiffe://a/b'), delimited(2, 'cert')])),
    delimited(2, 'crl'),
  ])
  for (let at = 0; at < whole.length; at++) {
    if (!decodes(Buffer.concat([whole.subarray(0, at), Buffer.alloc(100, 1)]).subarray(0, at))) throw new Error(`cut at ${at}`)
  }
})
