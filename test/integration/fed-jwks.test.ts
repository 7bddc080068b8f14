// Keys of an issuer that a control plane wants asked for through a cluster (remote_jwks): nobody is believed while it is not there, and then it is spoken to with the
// cluster's TLS, whatever the address would resolve to.
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { askAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { leafExtensions, OpensslCa } from '../support/openssl-ca.ts'
import { startProxy } from '../support/proxy.ts'
import { jwksText, rsaKey, token } from '../support/tokens.ts'
import { httpFilter, putResource, setResource, xdsCluster, xdsEndpoints, xdsListener, xdsRoutes } from '../support/xds-json.ts'

const KEYS = 'outbound|443||issuer.invalid'
const rsa = rsaKey()
const good = token(rsa, 'RS256', { iss: 'me', sub: 'ada' })

const filter = httpFilter('http.jwt_authn.v3.JwtAuthentication', {
  providers: {
    'origins-0': {
      issuer: 'me',
      payload_in_metadata: 'payload',
      remote_jwks: {
        http_uri: { uri: 'https://issuer.invalid/keys', cluster: KEYS, timeout: '5s' },
        cache_duration: '300s',
      },
    },
  },
  rules: [
    {
      match: { prefix: '/' },
      requires: { requires_any: { requirements: [{ provider_name: 'origins-0' }, { allow_missing: {} }] } },
    },
  ],
})

t.test('keys through a cluster with mutual TLS', async (t) => {
  const ca = new OpensslCa(t)
  const root = ca.root('/CN=root')
  const server = ca.issue(root, { extensions: leafExtensions([], { subjectAltName: 'DNS:keys.inner' }) })
  const client = ca.issue(root, { subject: '/CN=heddle', extensions: leafExtensions([]) })
  const seen: unknown[] = []
  const tls = { cert: server.certPem, key: server.keyPem, ca: [root.certPem], requestCert: true }
  const keys = createServer(tls, (req, res) => {
    const socket = req.socket as TLSSocket
    seen.push([req.url, req.headers.host, socket.servername, socket.authorized && socket.getPeerCertificate().subject.CN])
    res.end(jwksText(rsa))
  }).listen(0, '127.0.0.1')
  await once(keys, 'listening')
  t.teardown(() => {
    keys.closeAllConnections()
    keys.close()
  })

  const plane = await FakeControlPlane.start(t)
  const app = await EchoUpstream.start(t)
  const port = await freePort()
  setResource(plane, XDS.cluster, xdsCluster('app'))
  setResource(plane, XDS.endpoints, xdsEndpoints('app', app))
  setResource(plane, XDS.listener, xdsListener({ name: 'in', host: '127.0.0.1', port, routes: 'r', filters: [filter] }))
  setResource(plane, XDS.route, xdsRoutes('r', { '*': { '/': 'app' } }))
  const xds = { address: plane.hostAndPort, transport: 'plaintext' }
  const proxy = await startProxy(t, { bootstrap: { resources: [], listeners: [], xds } })
  const ask = async (headers: Readonly<Record<string, string>>) => {
    const { status, body } = await askAny(t, port, { host: 'web', target: '/', headers })
    return status === 200 ? 'let in' : `${status} ${body.toString()}`
  }
  const believed = () => ask({ authorization: `Bearer ${good}` })
  t.equal(await ask({}), 'let in')
  t.equal(await believed(), '401 Jwks remote fetch is failed')
  await proxy.said(
    /the keys at https:\/\/issuer\.invalid\/keys \(through .*\) cannot be fetched: there is no cluster outbound\|443/,
  )

  const transport_socket = {
    name: 'tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
      sni: 'outer.inner',
      common_tls_context: {
        tls_certificates: [{ certificate_chain: { filename: client.certFile }, private_key: { filename: client.keyFile } }],
        validation_context: {
          trusted_ca: { filename: root.certFile },
          match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'keys.inner' } }],
        },
      },
    },
  }
  const endpoint = { host: '127.0.0.1', port: (keys.address() as AddressInfo).port }
  setResource(plane, XDS.endpoints, xdsEndpoints(KEYS, endpoint))
  putResource(plane, XDS.cluster, xdsCluster(KEYS, { transport_socket }))
  plane.push([XDS.endpoints])
  await eventually('the keys to be fetched', async () => (await believed()) === 'let in', 15_000)
  t.same(seen, [['/keys', 'issuer.invalid', 'outer.inner', 'heddle']])
  t.match(await ask({ authorization: 'Bearer x.y.z' }), /^401/)
})
