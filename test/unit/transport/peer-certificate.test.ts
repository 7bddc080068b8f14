// x-forwarded-client-cert of certificates that no decent CA makes; subjects are compared with what the program openssl says.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import t from 'tap'
import { readCertificate } from '../../../lib/identity/x509.ts'
import { PeerCertificate } from '../../../lib/transport/peer-certificate.ts'
import { leafExtensions, OpensslCa } from '../../support/openssl-ca.ts'

const ca = new OpensslCa(t)
const root = ca.root('/O=mesh')
const BY = 'spiffe://cluster.local/ns/a/sa/b'

t.test('subjects as openssl writes them by RFC 2253', (t) => {
  for (const subject of [
    '/',
    '/O=shop/CN=web',
    '/C=DE/ST=Bayern/L=München/O=a, b + "c"; <d>/OU=x=y/CN=#first',
    '/CN= blank at both ends ',
    '/CN=back\\\\slash',
    '/DC=org/DC=example/UID=u1/emailAddress=a@b.example/serialNumber=12/GN=g/SN=s/title=t/street=st',
    '/O=one+OU=two/CN=multi',
    '/1.2.3.4=unknown type/CN=x',
    '/CN=Kö\u0007\u4e2d',
  ]) {
    const made = ca.issue(root, { subject, extensions: leafExtensions(['spiffe://cluster.local/ns/a/sa/b']) })
    const said = execFileSync('openssl', ['x509', '-noout', '-subject', '-nameopt', 'RFC2253', '-in', made.certFile], {
      encoding: 'utf8',
    })
    const read = readCertificate(made.der)
    t.equal(read.ok && read.facts.subjectRfc2253, said.replace(/\n$/, '').replace(/^subject=/, ''), subject)
  }
  t.end()
})

t.test('an element has what Istio asks for, in its order', (t) => {
  const made = ca.issue(root, {
    subject: '/O=shop/CN=web',
    extensions: leafExtensions(['spiffe://x/a'], { subjectAltName: 'URI:spiffe://x/a,DNS:a.example,DNS:b.example' }),
  })
  const certificate = new PeerCertificate(made.der, 0)
  const hash = createHash('sha256').update(made.der).digest('hex')
  const rest = `Hash=${hash};Subject="CN=web,O=shop";URI=spiffe://x/a;DNS=a.example;DNS=b.example`
  t.equal(certificate.forwarded(BY), `By=${BY};${rest}`)
  t.equal(certificate.forwarded(''), rest, 'we have no identity')
  // As Envoy writes it: PEM with these five replaced.
  const signs: Readonly<Record<string, string>> = { '\n': '%0A', ' ': '%20', '+': '%2B', '/': '%2F', '=': '%3D' }
  const pem = execFileSync('openssl', ['x509', '-in', made.certFile], { encoding: 'utf8' }).replace(/[\n +/=]/g, (c) => signs[c]!)
  t.equal(certificate.forwarded('', true), rest.replace(';Subject', `;Cert="${pem}";Subject`), 'with the certificate')
  t.equal(certificate.forwarded(`${BY}2`), `By=${BY}2;${rest}`, 'and another connection another')
  t.end()
})

t.test('names with odd bytes end neither a part, nor an element, nor the header', (t) => {
  // IA5String allows these; openssl's configuration takes them behind its own escapes.
  const name = 'http://x/a;URI=spiffe://cluster.local/ns/admin/sa/root'
  const made = ca.issue(root, {
    subject: '/CN=a";URI=spiffe:\\/\\/x',
    extensions: leafExtensions(['spiffe://x/a'], { subjectAltName: '@names' }).concat([
      '[names]',
      `URI.1=${name}`,
      'DNS.1=a=b\\"c',
    ]),
  })
  const text = new PeerCertificate(made.der, 0).forwarded(BY)
  t.match(text, `URI="${name}"`)
  t.match(text, 'DNS="a=b\\"c"')
  t.match(text, 'Subject="CN=a\\"\\;URI=spiffe://x"')
  // The DER of a name with a line break, a NUL and a byte above ASCII, of the same length.
  const der = Buffer.from(made.der)
  const at = der.indexOf('http://x/a;URI')
  der.write('\r\nX\0\xff', at, 'latin1')
  t.match(new PeerCertificate(der, 0).forwarded(BY), 'URI="%0D%0AX%00%FF//x/a;URI=')
  t.notMatch(new PeerCertificate(der, 0).forwarded(BY), /[^\x20-\x7e]/)
  t.end()
})
