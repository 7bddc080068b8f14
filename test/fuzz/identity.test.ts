// Certificates and SPIFFE ids of strangers: nothing is thrown, and what we read in a damaged certificate is what OpenSSL reads in it.
import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import type { TrustStore } from '../../lib/identity/material.ts'
import { parseSpiffeId, spiffeIdText } from '../../lib/identity/spiffe-id.ts'
import { verifyPeer } from '../../lib/identity/verify-peer.ts'
import { readCertificate } from '../../lib/identity/x509.ts'
import { holds } from './budget.ts'

// Made by openssl; a URI, a DNS name and an address, basicConstraints, keyUsage, extKeyUsage, key identifiers. It signs itself.
const PEM = `-----BEGIN CERTIFICATE-----
MIIBwTCCAWagAwIBAgIUWIGb17XsQtE56XwdLWVhkKVOMNAwCgYIKoZIzj0EAwIw
ADAgFw0yNjExMjExNjE4NTNaGA8yMTI2MTAyODE2MTg1M1owADBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABPWYb+FfKt2vc0mbaROO8kEMTxZcdN+nAr38ssQbEHoe
vIy8s1lWijA4XsPEAzKEBzFpuOUP5LyzheagUgA8VLejgbswgbgwHQYDVR0OBBYE
FOQZ5dvjeVagJ7daINj1BCcWpg18MB8GA1UdIwQYMBaAFOQZ5dvjeVagJ7daINj1
BCcWpg18MDkGA1UdEQEB/wQvMC2GIHNwaWZmZTovL2NsdXN0ZXIubG9jYWwvbnMv
YS9zYS9iggN4LnmHBAECAwQwDAYDVR0TAQH/BAIwADAOBgNVHQ8BAf8EBAMCB4Aw
HQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsGAQUFBwMCMAoGCCqGSM49BAMCA0kAMEYC
IQCkSHGB9K4RDbTNPvilpNiXkJCMe/W8owiNpFddgzVr2gIhAPM+qcS/uoqFGLqi
nCnKN33spE7xGe4nbgmDb8qyqZ1I
-----END CERTIFICATE-----
`
const DER = new X509Certificate(PEM).raw
const STORE: TrustStore = {
  trustDomain: 'cluster.local',
  aliases: [],
  bundles: [
    { trustDomain: 'cluster.local', rootsPem: [PEM] },
    { trustDomain: 'other', rootsPem: [PEM] },
  ],
  generation: 1,
}

t.test('bytes that are no certificate', async (t) => {
  holds(
    t,
    'are refused without an exception',
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => readCertificate(bytes).ok === false),
  )
})

t.test('damaged certificates', async (t) => {
  const edits = fc.array(fc.record({ at: fc.nat(DER.length - 1), byte: fc.nat(255) }), { minLength: 1, maxLength: 4 })
  const cuts = fc.oneof({ weight: 4, arbitrary: fc.constant(DER.length) }, fc.nat(DER.length))
  holds(
    t,
    'are refused, or say to us what they say to OpenSSL',
    fc.property(edits, cuts, (edits, length) => {
      const bytes = Buffer.from(DER)
      for (const { at, byte } of edits) bytes[at] = byte
      const der = bytes.subarray(0, length)
      verifyPeer({ chain: [der, DER], opensslError: '' }, STORE, { side: 'client', identities: [] }, 1_800_000_000_000)
      const read = readCertificate(der)
      const x509 = opened(der)
      if (!read.ok || x509 === null) return true
      const names = x509.subjectAltName ?? ''
      // OpenSSL reads names of other types, too, and drops all when one of them is malformed.
      if (names === '' && read.facts.otherNames > 0) return true
      // Names that need quoting are shown as JSON; the plain ones are compared.
      const plain = !names.includes('"') && !/[^ -~]/.test(read.facts.uris.join('')) && !read.facts.uris.join('').includes(',')
      const uris = names.split(', ').filter((n) => n.startsWith('URI:'))
      // OpenSSL also calls CA what says so by other means than basicConstraints, such as version 1.
      return (x509.ca || !read.facts.isCa) && (!plain || uris.join() === read.facts.uris.map((u) => `URI:${u}`).join())
    }),
  )
})

t.test('SPIFFE ids', async (t) => {
  const anything = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.webUrl())
  holds(
    t,
    'what is accepted has one text, which is accepted with the same meaning',
    fc.property(
      fc.oneof(
        anything,
        anything.map((s) => `spiffe://${s}`),
        anything.map((s) => `spiffe://td/${s}`),
      ),
      (text) => {
        const parsed = parseSpiffeId(text)
        if (!parsed.ok) return parsed.error.length < 1000
        const again = parseSpiffeId(spiffeIdText(parsed.id))
        return (
          again.ok &&
          JSON.stringify(again.id) === JSON.stringify(parsed.id) &&
          /^spiffe:\/\/[a-z0-9._-]+(?:\/[\w.-]+)*$/.test(spiffeIdText(parsed.id))
        )
      },
    ),
  )
})

function opened(der: Buffer): X509Certificate | null {
  try {
    return new X509Certificate(der)
  } catch {
    return null
  }
}
