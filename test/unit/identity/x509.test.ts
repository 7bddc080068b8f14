// RFC 5280 §4 on certificates made by openssl, X.690 §8.1.3 and §10.1 on bytes made by hand.
import { X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import t from 'tap'
import { derChildren, derElement, derOid, derTimeMs } from '../../../lib/identity/der.ts'
import { type CertificateFacts, readCertificate } from '../../../lib/identity/x509.ts'
import { caExtensions, hasOpenssl, leafExtensions, OpensslCa } from '../../support/openssl-ca.ts'

const skip = hasOpenssl() ? false : 'NOT RUN: there is no openssl on this machine'

t.test('what openssl put in', { skip }, async (t) => {
  const ca = new OpensslCa(t)
  const facts = (subject: string, ...extensions: string[]): CertificateFacts => {
    const read = readCertificate(ca.root(subject, { extensions }).der)
    if (!read.ok) throw new Error(read.error)
    return read.facts
  }
  t.match(facts('/', ...leafExtensions(['spiffe://td/a', 'https://b/?c'], { keyUsage: 'digitalSignature,keyAgreement' })), {
    subject: '',
    uris: ['spiffe://td/a', 'https://b/?c'],
    hasSubjectAltName: true,
    subjectAltNameCritical: true,
    isCa: false,
    pathLength: null,
    keyUsage: { critical: false, digitalSignature: true, keyEncipherment: false, keyCertSign: false, crlSign: false },
    extendedKeyUsage: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
    uriConstraints: null,
  })
  t.match(
    facts('/C=DE/O=a, b/CN=Kö\u0007', 'subjectAltName=DNS:x,DNS:y,IP:10.1.2.3,IP:::1,email:a@b,RID:1.2.3,otherName:1.2.3;UTF8:z'),
    {
      subject: /^C=DE,O=a\\, b,CN=/,
      uris: [],
      dnsNames: ['x', 'y'],
      ipAddresses: ['0a010203', '00000000000000000000000000000001'],
      otherNames: 3,
      subjectAltNameCritical: false,
      keyUsage: null,
      extendedKeyUsage: null,
    },
  )
  t.match(facts('/CN=x', ...caExtensions('nameConstraints=permitted;URI:A.b,permitted;DNS:c,excluded;URI:.d')), {
    isCa: true,
    keyUsage: { critical: true, digitalSignature: false, keyCertSign: true, crlSign: true },
    uriConstraints: { permitted: ['a.b'], excluded: ['.d'] },
  })
  t.match(facts('/CN=x', 'basicConstraints=CA:TRUE,pathlen:3'), { isCa: true, pathLength: 3 })
  t.match(facts('/CN=x', 'basicConstraints=CA:FALSE'), { isCa: false, hasSubjectAltName: false, keyUsage: null })
  t.match(facts('/CN=x', 'keyUsage=decipherOnly,keyAgreement'), { keyUsage: { digitalSignature: false } })
})

t.test('the root certificates of Node say to us what they say to OpenSSL', async (t) => {
  const wrong = tls.rootCertificates.filter((pem) => {
    const x509 = new X509Certificate(pem)
    const read = readCertificate(x509.raw)
    return (
      !read.ok ||
      read.facts.isCa !== x509.ca ||
      read.facts.notBeforeMs !== Date.parse(x509.validFrom) ||
      read.facts.notAfterMs !== Date.parse(x509.validTo) ||
      BigInt(`0x${read.facts.serial}`) !== BigInt(`0x${x509.serialNumber}`)
    )
  })
  t.same(wrong, [])
  t.ok(tls.rootCertificates.length > 50)
})

const SAN = '0603551d11'
const good = (extensions: readonly string[]): Buffer => certificate({ extensions })

t.test('certificates made by hand', async (t) => {
  const uri = (text: string): string => tlv(0x86, Buffer.from(text, 'latin1').toString('hex'))
  const san = (...names: string[]): string => tlv(0x30, SAN + tlv(0x04, tlv(0x30, names.join(''))))
  const rows: readonly (readonly [what: string, der: Buffer, expected: RegExp | readonly string[]])[] = [
    ['without extensions', certificate({}), []],
    ['version 1', certificate({ version: '' }), []],
    ['a URI', good([san(uri('spiffe://a/b'))]), ['spiffe://a/b']],
    ['an empty URI counts', good([san(uri(''), uri('spiffe://a/b'))]), ['', 'spiffe://a/b']],
    ['bytes are not interpreted', good([san(uri('a\u0000\u00ff,URI:x'))]), ['a\u0000\u00ff,URI:x']],
    ['bytes behind it', Buffer.concat([certificate({}), Buffer.from([0])]), /not one DER sequence/],
    ['cut off', certificate({}).subarray(0, -1), /not one DER sequence/],
    ['empty', Buffer.alloc(0), /not one DER sequence/],
    ['two SANs', good([san(uri('spiffe://a/b')), san(uri('spiffe://a/c'))]), /extension 2\.5\.29\.17 twice/],
    [
      'a SAN of a longer inside than outside',
      good([tlv(0x30, `${SAN}040630058604617a`)]),
      /2\.5\.29\.17 is not DER|subjectAltName is not DER/,
    ],
    ['bytes behind the SAN', good([tlv(0x30, SAN + tlv(0x04, `${tlv(0x30, uri('x'))}00`))]), /2\.5\.29\.17 is not DER/],
    ['a URI in a wrapping', good([san(tlv(0xa6, uri('x')))]), /entry of no known type/],
    ['a name of a type that there is not', good([san(uri('spiffe://a/b'), tlv(0x00, ''))]), /entry of no known type/],
    [
      'critical is neither true nor false',
      good([tlv(0x30, `${SAN}010101${tlv(0x04, tlv(0x30, ''))}`)]),
      /critical cannot be read/,
    ],
    ['a length with a needless byte', good([`308105${SAN}`]), /not DER/],
    ['an indefinite length', Buffer.from('3080300000000000', 'hex'), /not one DER sequence/],
    [
      'cA with two bytes',
      good([tlv(0x30, `0603551d13${tlv(0x04, '30040102ffff')}`)]),
      /cA of its basicConstraints cannot be read/,
    ],
    ['cA true in BER', good([tlv(0x30, `0603551d13${tlv(0x04, '3003010101')}`)]), /cA of its basicConstraints cannot be read/],
    ['a negative path length', good([tlv(0x30, `0603551d13${tlv(0x04, '30060101ff0201ff')}`)]), /path length/],
    ['an empty keyUsage', good([tlv(0x30, `0603551d0f${tlv(0x04, '0300')}`)]), /keyUsage cannot be read/],
    ['a time with an offset', certificate({ notAfter: tlv(0x17, hex('260101000000+0100')) }), /validity cannot be read/],
    ['a day that is none', certificate({ notAfter: tlv(0x17, hex('260431000000Z')) }), /validity cannot be read/],
    ['no validity', certificate({ notAfter: '' }), /validity cannot be read/],
    [
      '101 extensions',
      good(Array.from({ length: 101 }, (_, i) => tlv(0x30, `06032a03${byte(i)}0400`))),
      /extensions are not DER/,
    ],
  ]
  for (const [what, der, expected] of rows) {
    const read = readCertificate(der)
    if (expected instanceof RegExp) t.match(read.ok ? 'read' : read.error, expected, what)
    else t.same(read.ok ? read.facts.uris : read.error, expected, what)
  }
})

t.test('elements, identifiers and times', async (t) => {
  const element = (text: string): ReturnType<typeof derElement> => derElement(Buffer.from(text, 'hex'), 0, text.length / 2)
  t.match(element('0400'), { tag: 4, contentStart: 2, end: 2 })
  t.match(element(`048180${'00'.repeat(128)}`), { contentStart: 3, end: 131 })
  for (const bad of [
    '',
    '04',
    '0401',
    '04810100',
    `04820080${'00'.repeat(128)}`,
    '0480',
    '048500000000010a',
    '0484ffffffff',
    '1f8101',
    '3f0100',
  ])
    t.equal(element(bad), null, bad)
  const deep = Buffer.alloc(200_000, '3083', 'hex')
  t.equal(derElement(deep, 0, deep.length), null)
  t.equal(derChildren(Buffer.from('040004000401', 'hex'), { contentStart: 0, end: 6 }, 9), null)
  t.equal(derChildren(Buffer.from('04000400', 'hex'), { contentStart: 0, end: 4 }, 1), null)
  const oid = (text: string): string =>
    derOid(Buffer.from(text, 'hex'), { tag: 6, start: 0, contentStart: 0, end: text.length / 2 })
  t.equal(oid('551d11'), '2.5.29.17')
  t.equal(oid('2a864886f70d010101'), '1.2.840.113549.1.1.1')
  t.equal(oid('883703'), '2.999.3')
  for (const bad of ['', '80', '5580', '558001', `${'ff'.repeat(20)}01`, '55'.repeat(65)]) t.equal(oid(bad), '', bad)
  const time = (tag: number, text: string): number =>
    derTimeMs(Buffer.from(text), { tag, start: 0, contentStart: 0, end: text.length })
  t.equal(time(0x17, '491231235959Z'), Date.UTC(2049, 11, 31, 23, 59, 59))
  t.equal(time(0x17, '500101000000Z'), Date.UTC(1950, 0, 1))
  t.ok(Number.isNaN(time(0x18, '20500229000000Z')))
  t.equal(time(0x18, '20520229000000Z'), Date.UTC(2052, 1, 29))
  t.equal(time(0x18, '99991231235959Z'), Date.UTC(9999, 11, 31, 23, 59, 59))
  for (const bad of ['20520229000000', '20520229000000.5Z', '20521329000000Z', '20520229240000Z', '205202290000Z'])
    t.ok(Number.isNaN(time(0x18, bad)), bad)
})

function certificate(parts: { version?: string; notAfter?: string; extensions?: readonly string[] }): Buffer {
  const time = tlv(0x17, hex('260101000000Z'))
  const algorithm = tlv(0x30, '06082a8648ce3d040302')
  const body = [
    parts.version ?? 'a003020102',
    '020101',
    algorithm,
    '3000',
    tlv(0x30, time + (parts.notAfter ?? time)),
    '3000',
    tlv(0x30, `${algorithm}030100`),
    parts.extensions === undefined ? '' : tlv(0xa3, tlv(0x30, parts.extensions.join(''))),
  ]
  return Buffer.from(tlv(0x30, `${tlv(0x30, body.join(''))}${algorithm}030100`), 'hex')
}

function tlv(tag: number, content: string): string {
  const length = content.length / 2
  const size = length < 128 ? byte(length) : length < 256 ? `81${byte(length)}` : `82${length.toString(16).padStart(4, '0')}`
  return byte(tag) + size + content
}

function byte(n: number): string {
  return n.toString(16).padStart(2, '0')
}

function hex(text: string): string {
  return Buffer.from(text).toString('hex')
}
