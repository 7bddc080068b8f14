// TLS contexts of both sides and Secrets: what they become, and that a check that is not made is never accepted. Certificates are openssl's.
import t from 'tap'
import { decode } from '../../../../lib/xds/proto/decode.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import { fromJson } from '../../../../lib/xds/proto/json.ts'
import { REGISTRY } from '../../../../lib/xds/proto/registry.ts'
import { DownstreamTlsContext, Secret, UpstreamTlsContext } from '../../../../lib/xds/proto/tls.ts'
import { translateDownstreamTls } from '../../../../lib/xds/translate/downstream-tls.ts'
import { translateSecret } from '../../../../lib/xds/translate/secret.ts'
import { translateUpstreamTls } from '../../../../lib/xds/translate/upstream-tls.ts'
import { isFetched } from '../../../../lib/xds/translate/warming.ts'
import { SigningCa } from '../../../support/signing-ca.ts'
import { bytesOf, found, type Json } from './kit.ts'

const V3 = 'envoy.extensions.transport_sockets.tls.v3'
const sds = (name: string): Json => ({ name, sds_config: { ads: {} } })
const OWN: Json = { tls_certificate_sds_secret_configs: [sds('default')] }
const roots = (validation: Json = {}): Json => ({
  combined_validation_context: { default_validation_context: validation, validation_context_sds_secret_config: sds('ROOTCA') },
})

const down = (common: Json, more: Json = {}) =>
  found((f) =>
    translateDownstreamTls(
      decode(DownstreamTlsContext, bytesOf(`${V3}.DownstreamTlsContext`, { common_tls_context: common, ...more })),
      f,
    ),
  )
const up = (common: Json, more: Json = {}, http: Json | null = null) => {
  const options = http === null ? null : { auto_sni: false, auto_san_validation: false, override_auto_sni_header: '', ...http }
  return found((f) =>
    translateUpstreamTls(
      decode(UpstreamTlsContext, bytesOf(`${V3}.UpstreamTlsContext`, { common_tls_context: common, ...more })),
      options,
      f,
    ),
  )
}

t.test("a sidecar's inbound side", async (t) => {
  const { result, faults, notes } = down(
    {
      ...OWN,
      ...roots({ match_subject_alt_names: [{ prefix: 'spiffe://cluster.local/' }] }),
      alpn_protocols: ['h2', 'http/1.1'],
      tls_params: {
        tls_minimum_protocol_version: 'TLSv1_2',
        tls_maximum_protocol_version: 'TLSv1_3',
        cipher_suites: ['ECDHE-RSA-AES256-GCM-SHA384', 'AES128-GCM-SHA256'],
      },
    },
    { require_client_certificate: true },
  )
  t.same([faults, notes], ['', ''])
  t.same(result?.tls, {
    certificate: 'default',
    trust: 'ROOTCA',
    requireClientCertificate: true,
    subjectAltNames: [],
    subjectAltNamePrefixes: ['spiffe://cluster.local/'],
    pins: null,
    alpn: ['h2', 'http/1.1'],
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cipherSuites: [
      ...['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'],
      ...['ECDHE-RSA-AES256-GCM-SHA384', 'AES128-GCM-SHA256'],
    ],
    curves: [],
    handshakeTimeoutMs: 10_000,
  })
  t.same(down({ ...OWN, ...roots(), alpn_protocols: ['istio-peer-exchange', 'h2', 'http/1.1'] }).result?.tls.alpn, [])
})

t.test('a gateway', async (t) => {
  const of = (common: Json, more: Json = {}) => down(common, more).result?.tls
  const server = { tls_certificate_sds_secret_configs: [sds('kubernetes://shop')] }
  t.match(of(server), { certificate: 'kubernetes://shop', trust: '', requireClientCertificate: false })
  const optional = { ...server, validation_context_sds_secret_config: sds('kubernetes://shop-cacert') }
  t.match(of(optional), { trust: 'kubernetes://shop-cacert', requireClientCertificate: false })
  t.match(of(optional, { require_client_certificate: true }), { requireClientCertificate: true })
  t.match(of({ tls_certificate_sds_secret_configs: [sds('builtin://')] }), { certificate: 'default' })
  t.match(of({ tls_certificates: [{ certificate_chain: { filename: '/c' }, private_key: { filename: '/k' } }] }), {
    certificate: 'file-cert:/c~/k',
  })
})

t.test('curves and suites', async (t) => {
  const of = (tls_params: Json) => up({ tls_params })
  const suites = of({ cipher_suites: ['[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]'] }).result?.tls.cipherSuites
  t.same(suites?.slice(-2), ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305'])
  const { result, notes } = of({ ecdh_curves: ['P-384', 'Curve0'] })
  t.same(
    [result?.tls.curves, notes],
    [['P-384'], 'common_tls_context.tls_params.ecdh_curves: Curve0 is not known to OpenSSL here'],
  )
  t.equal(
    of({ ecdh_curves: ['Curve0'] }).faults,
    'common_tls_context.tls_params.ecdh_curves: none of Curve0 is known to OpenSSL here',
  )
})

t.test('towards endpoints', async (t) => {
  const of = (common: Json, more: Json = {}, http: Json | null = null) => up(common, more, http).result?.tls
  const trust = {
    combined_validation_context: {
      default_validation_context: { match_subject_alt_names: [{ exact: 'a.example' }] },
      validation_context_sds_secret_config: sds('file-root:/ca.pem'),
    },
  }
  t.match(of(trust, { sni: 'a.example' }), {
    certificate: '',
    trust: 'file-root:/ca.pem',
    sni: 'a.example',
    autoSni: false,
    subjectAltNames: ['a.example'],
  })
  t.match(
    of({ validation_context_sds_secret_config: sds('file-root:system') }, {}, { auto_sni: true, auto_san_validation: true }),
    {
      trust: 'file-root:system',
      sni: '',
      autoSni: true,
      subjectAltNames: [],
    },
  )
  t.match(of({}, { sni: 'x' }), { trust: '', sni: 'x' }, 'nothing is asked of the server')
  t.match(
    of({ ...OWN, ...roots({ match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { prefix: 'spiffe://td/' } }] }) }),
    { subjectAltNamePrefixes: ['spiffe://td/'] },
  )
  t.match(
    of({ alpn_protocols: ['istio-peer-exchange', 'istio', 'h2'] }),
    { alpn: [] },
    "heddle's own, by the protocol of the connection",
  )
  t.match(of({ alpn_protocols: ['mqtt'] }), { alpn: ['mqtt'] })
  t.match(of({ validation_context: { trusted_ca: { filename: '/etc/ca.pem' } } }), { trust: 'file-root:/etc/ca.pem' })
})

t.test('refused', async (t) => {
  const validation = (fields: Json) => ({ ...OWN, ...roots(fields) })
  const at = 'common_tls_context'
  const within = `${at}.combined_validation_context.default_validation_context`
  const name = `${at}.validation_context`
  const rows: [common: Json, more: Json, faults: string][] = [
    [{}, {}, `${at}: a server needs a certificate`],
    [
      OWN,
      { require_client_certificate: true },
      'require_client_certificate: there are no roots that a client certificate could be verified with',
    ],
    [
      validation({ verify_certificate_hash: ['ab'] }),
      {},
      `${within}.verify_certificate_hash[0]: the SHA-256 of a certificate as 64 hexadecimal digits is expected`,
    ],
    [
      validation({ verify_certificate_spki: ['ab'] }),
      {},
      `${within}.verify_certificate_spki[0]: the SHA-256 of a public key in base64 is expected`,
    ],
    [
      validation({ crl: { inline_string: 'x' } }),
      {},
      `${within}.crl: a revocation list is carried out beside its roots only, which are in another secret`,
    ],
    [
      { ...OWN, validation_context: { verify_certificate_hash: ['ab'.repeat(32)] } },
      {},
      `${at}: certificates are pinned, but there are no roots that one could be verified with`,
    ],
    [
      validation({ trust_chain_verification: 'ACCEPT_UNTRUSTED' }),
      {},
      `${within}.trust_chain_verification: ACCEPT_UNTRUSTED is not carried out; VERIFY_TRUST_CHAIN is`,
    ],
    [
      validation({ custom_validator_config: { name: 'spiffe' } }),
      {},
      `${within}.custom_validator_config: the validator spiffe is not understood`,
    ],
    [
      validation({ match_subject_alt_names: [{ suffix: '.example' }] }),
      {},
      `${name}.match_subject_alt_names[0]: a name is compared whole, or a URI by its prefix; suffix is not understood`,
    ],
    [
      validation({ match_subject_alt_names: [{ exact: 'a', ignore_case: true }] }),
      {},
      `${name}.match_subject_alt_names[0]: ignore_case is not carried out for names of certificates`,
    ],
    [
      validation({ match_typed_subject_alt_names: [{ san_type: 'EMAIL', matcher: { prefix: 'x://' } }] }),
      {},
      `${name}.match_typed_subject_alt_names[0].san_type: EMAIL is not understood`,
    ],
    [
      validation({ match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'spiffe://a' } }] }),
      {},
      `${name}.match_typed_subject_alt_names[0]: "spiffe://a" is looked for as URI, not as DNS`,
    ],
    [
      { ...OWN, validation_context: { match_subject_alt_names: [{ exact: 'a' }] } },
      {},
      `${at}: subject alternative names are asked for, but there are no roots that a certificate could be verified with`,
    ],
    [{ ...OWN, custom_handshaker: { name: 'h' } }, {}, `${at}.custom_handshaker: the handshaker h is not understood`],
    [
      { ...OWN, tls_params: { tls_maximum_protocol_version: 'TLSv1_1' } },
      {},
      `${at}.tls_params.tls_maximum_protocol_version: TLSv1_1 is not spoken; TLSv1_2 is the oldest`,
    ],
    [
      { ...OWN, tls_params: { cipher_suites: ['NULL-X'] } },
      {},
      `${at}.tls_params.cipher_suites: none of NULL-X is known to OpenSSL here`,
    ],
    [OWN, { require_sni: true }, 'require_sni: it is not carried out'],
    [
      OWN,
      { ocsp_staple_policy: 'MUST_STAPLE' },
      'ocsp_staple_policy: MUST_STAPLE is not carried out: no OCSP response is stapled',
    ],
  ]
  for (const [common, more, faults] of rows) t.equal(down(common, more).faults, faults, faults)
  t.equal(up({}, {}, { auto_san_validation: true }).faults, 'auto_san_validation is carried out together with auto_sni only')
  const bySni = (common: Json, more: Json) => {
    const context = decode(UpstreamTlsContext, bytesOf(`${V3}.UpstreamTlsContext`, { common_tls_context: common, ...more }))
    return found((f) => translateUpstreamTls({ ...context, auto_sni_san_validation: true }, null, f))
  }
  const system = { validation_context_sds_secret_config: sds('file-root:system') }
  t.equal(bySni(system, {}).faults, 'auto_sni_san_validation: it is carried out together with `sni` or auto_sni only')
  t.match(bySni(system, { sni: 'a.example' }), {
    faults: '',
    result: { tls: { sni: 'a.example', subjectAltNames: ['a.example'] } },
  })
  t.equal(
    bySni({}, { sni: 'a.example' }).faults,
    'auto_sni_san_validation: there are no roots that a certificate could be verified with',
  )
})

t.test('secrets', async (t) => {
  const ca = await SigningCa.root(t)
  const { chain, key } = await ca.issue({ dnsNames: ['a.example'] })
  const other = await ca.issue({ dnsNames: ['b.example'] })
  const of = (secret: Json) =>
    found((f) => translateSecret('kubernetes://shop', bytesOf(`${V3}.Secret`, { name: 'inside', ...secret }), f))
  const text = (inline_string: string): Json => ({ inline_string })
  const bytes = (pem: string): Json => ({ inline_bytes: Buffer.from(pem).toString('base64') })
  const pair = of({ tls_certificate: { certificate_chain: bytes(chain), private_key: text(key), ocsp_staple: bytes('x') } })
  t.same(pair, {
    result: { name: 'kubernetes://shop', certificateChainPem: chain, privateKeyPem: key, rootsPem: [], crlPem: '' },
    faults: '',
    notes: 'tls_certificate.ocsp_staple: it is not stapled',
  })
  t.same(of({ validation_context: { trusted_ca: bytes(ca.pem) } }).result, {
    name: 'kubernetes://shop',
    certificateChainPem: '',
    privateKeyPem: '',
    rootsPem: [ca.pem],
    crlPem: '',
  })

  const provider = {
    provider_name: 'qat',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.private_key_providers.qat.v3alpha.QatPrivateKeyMethodConfig',
      private_key: { inline_string: key },
    },
  }
  const withProvider = { tls_certificate: { certificate_chain: { inline_string: chain }, private_key_provider: provider } }
  const provided = found((f) => translateSecret('p', encode(Secret, fromJson(Secret, withProvider, REGISTRY)), f))
  t.equal(provided.result?.privateKeyPem, key, 'the key of a provider that is not used')
  t.equal(provided.faults, '')

  const certificate = (fields: Json): Json => ({
    tls_certificate: { certificate_chain: text(chain), private_key: text(key), ...fields },
  })
  const rows: [secret: Json, faults: string][] = [
    [certificate({ private_key: text(other.key) }), 'tls_certificate.private_key: the key is not that of the certificate'],
    [
      certificate({ private_key: text('x') }),
      'tls_certificate.private_key: it is no private key as PEM that could be read without a password',
    ],
    [certificate({ certificate_chain: text('x') }), 'tls_certificate.certificate_chain: it is no certificate as PEM'],
    [
      certificate({ private_key: { filename: '/k' } }),
      'tls_certificate.private_key: the file /k is not read here; inline_bytes or inline_string are expected',
    ],
    [certificate({ password: text('x') }), 'tls_certificate.password: encrypted private keys are not understood'],
    [
      { tls_certificate: { certificate_chain: text(chain) } },
      'tls_certificate: a certificate needs both certificate_chain and private_key',
    ],
    [{ validation_context: {} }, 'validation_context.trusted_ca: roots are missing'],
    [{ validation_context: { trusted_ca: text('x') } }, 'validation_context.trusted_ca: certificates as PEM are expected'],
    [
      { validation_context: { trusted_ca: text(ca.pem), crl: text('x') } },
      'validation_context.crl: revocation lists as PEM are expected',
    ],
    [{}, 'it holds nothing; tls_certificate or validation_context are expected'],
    [
      { generic_secret: { secret: text('x') } },
      'its kind is not used by anything here; tls_certificate or validation_context are expected',
    ],
  ]
  for (const [secret, faults] of rows) {
    const outcome = of(secret)
    t.equal(outcome.faults, faults, faults)
    t.notMatch(`${outcome.faults}${outcome.notes}`, /BEGIN/, 'nothing of what it holds is told')
  }

  const list = '-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n'
  t.equal(of({ validation_context: { trusted_ca: text(ca.pem), crl: text(list) } }).result?.crlPem, list)
  t.same(
    down({
      ...OWN,
      ...roots({ verify_certificate_hash: [`AB:${'cd'.repeat(31)}`], verify_certificate_spki: [`${'A'.repeat(43)}=`] }),
    }).result?.tls.pins,
    { certificates: [`ab${'cd'.repeat(31)}`], keys: [`${'A'.repeat(43)}=`] },
  )
  t.match(
    up({ validation_context: { trusted_ca: { filename: '/r' }, crl: { filename: '/l' } } }).result?.tls.trust,
    'file-root:/r~/l',
  )
  const inline = up({ validation_context: { trusted_ca: text(ca.pem) } }).result
  t.match(inline?.tls.trust, /^inline:[0-9a-f]{32}$/)
  t.same(inline?.credentials, [
    { name: inline?.tls.trust, certificateChainPem: '', privateKeyPem: '', rootsPem: [ca.pem], crlPem: '' },
  ])
})

t.test('who provides a secret', async (t) => {
  const rows: [name: string, fetched: boolean][] = [
    ...(['default', 'ROOTCA', 'file-cert:/c~/k', 'file-root:/r', 'file-root:system'] as const).map(
      (n) => [n, false] as [string, boolean],
    ),
    ...(['kubernetes://a', 'kubernetes-gateway://n/a', 'configmap://n/a', 'invalid://x'] as const).map(
      (n) => [n, true] as [string, boolean],
    ),
  ]
  for (const [name, fetched] of rows) t.equal(isFetched(name), fetched, name)
})
