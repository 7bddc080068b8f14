// Two workers as two sidecars with mTLS between them: what the application, the logs, the metrics and `explain` learn of who is who.
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import tls from 'node:tls'
import t from 'tap'
import { HTTP_SETTINGS, type HttpChain, type PeerSettings } from '../../lib/state/listener.ts'
import type { SelfDescription } from '../../lib/state/self-description.ts'
import type { Snapshot } from '../../lib/state/snapshot.ts'
import type { DownstreamTls, UpstreamTls } from '../../lib/state/tls.ts'
import { describeSelf } from '../../lib/xds/client/self-description.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import {
  aCluster,
  aDestination,
  aFilterChain,
  aForward,
  aListener,
  anEndpoint,
  anHttpChain,
  aRoute,
  aRouteTable,
  aSnapshot,
  aVirtualHost,
} from '../support/nouns.ts'
import { OneWorker } from '../support/one-worker.ts'
import { RawClient } from '../support/raw-client.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { aDownstreamTls, anUpstreamTls, meshSecrets } from '../support/tls-ends.ts'

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client'
const SERVER = 'spiffe://cluster.local/ns/shop/sa/server'
const SNI = 'outbound_.9080_._.reviews.shop.svc.cluster.local'
const ca = await SigningCa.root(t, 'mesh')
const [client, server] = await Promise.all([
  ca.issue({ uris: [CLIENT], dnsNames: ['client.shop'] }),
  ca.issue({ uris: [SERVER] }),
])
const ROOTS = { 'cluster.local': [ca.rootPem] }
const HASH = createHash('sha256').update(new X509Certificate(client.chain).raw).digest('hex')

const described = (name: string, version: string): SelfDescription =>
  describeSelf(
    {
      id: `sidecar~10.0.0.1~${name}-0.shop~shop.svc.cluster.local`,
      metadata: {
        NAME: `${name}-0`,
        NAMESPACE: 'shop',
        WORKLOAD_NAME: `${name}-${version}`,
        CLUSTER_ID: 'west',
        LABELS: { app: name, version, 'service.istio.io/canonical-name': name, 'service.istio.io/canonical-revision': version },
      },
    },
    { namespace: 'shop', serviceAccount: name, name, labels: {}, address: '', locality: '' },
  )
const FRONT = described('front', 'v1')
const REVIEWS = described('reviews', 'v2')

/** One cluster to `port`, whatever is asked for. */
function snapshot(
  name: string,
  port: number,
  over: Partial<Snapshot> & { tls?: UpstreamTls | null; protocol?: 'http1' | 'http2' },
): Snapshot {
  const { tls = null, protocol = 'http1', ...rest } = over
  const route = aRoute({ action: aForward({ clusters: [aDestination(name)] }) })
  return aSnapshot({
    routeTables: [aRouteTable({ name: 'any', virtualHosts: [aVirtualHost({ routes: [route] })] })],
    clusters: [
      aCluster({
        name,
        protocol,
        tls,
        endpoints: [anEndpoint({ port, tls: tls !== null })],
        host: 'reviews.shop.svc.cluster.local',
      }),
    ],
    ...rest,
  })
}

interface Sides {
  readonly down?: Partial<DownstreamTls>
  readonly up?: Partial<UpstreamTls>
  readonly mode?: HttpChain['clientCertificate']
  readonly protocol?: 'http1' | 'http2'
  /** Who tells the other side who it is. */
  readonly peers?: { readonly in?: PeerSettings; readonly out?: PeerSettings }
}

/** client → outbound sidecar → mTLS → inbound sidecar → application. */
async function sidecars(t: Teardown, { down = {}, up = {}, mode = 'append_forward', protocol = 'http1', peers = {} }: Sides) {
  const app = await EchoUpstream.start(t)
  const network = anHttpChain({
    routeTable: 'any',
    clientCertificate: mode,
    settings: { ...HTTP_SETTINGS, peers: peers.in ?? null },
  })
  const asks = anHttpChain({ routeTable: 'any', settings: { ...HTTP_SETTINGS, peers: peers.out ?? null } })
  const inbound = await OneWorker.start(
    t,
    snapshot('inbound|9080||', app.port, {
      listeners: [
        aListener({
          name: 'in',
          direction: 'inbound',
          filterChains: [aFilterChain({ tls: aDownstreamTls({ alpn: ['h2', 'http/1.1'], ...down }), network })],
        }),
        aListener({ name: 'plain', direction: 'inbound', filterChains: [aFilterChain({ network })] }),
      ],
    }),
    { secrets: meshSecrets({ identity: SERVER, issued: server, roots: ROOTS }), self: REVIEWS },
  )
  const outbound = await OneWorker.start(
    t,
    snapshot('outbound|9080||reviews', inbound.ports['in'] as number, {
      protocol,
      tls: anUpstreamTls({ sni: SNI, subjectAltNames: [SERVER], ...up }),
      listeners: [aListener({ name: 'out', filterChains: [aFilterChain({ network: asks })] })],
    }),
    { secrets: meshSecrets({ identity: CLIENT, issued: client, roots: ROOTS }), self: FRONT },
  )
  return { app, inbound, outbound }
}

async function ask(
  t: Teardown,
  port: number,
  headers: readonly (readonly [string, string])[] = [],
): Promise<{ status: number; body: string; id: string }> {
  const asking = await RawClient.connect(t, port)
  const id = `00000000-0000-4000-8000-${String(++asked).padStart(12, '0')}`
  await asking.send({ target: '/x', host: 'reviews', headers: [...headers, ['x-request-id', id]] })
  const { status, body } = await asking.response()
  return { status, body: body.toString('latin1'), id }
}

let asked = 0

const ELEMENT = `By=${SERVER};Hash=${HASH};Subject="";URI=${CLIENT};DNS=client.shop`
/** Fields of x-forwarded-client-cert that the application saw in the last request. */
const xfcc = ({ seen }: EchoUpstream): string[] =>
  (seen.at(-1)?.headers ?? []).filter(([name]) => name.toLowerCase() === 'x-forwarded-client-cert').map(([, value]) => value)

for (const protocol of ['http1', 'http2'] as const)
  t.test(`two sidecars, ${protocol} between them`, async (t) => {
    const { app, inbound, outbound } = await sidecars(t, { protocol })
    const { status, body, id } = await ask(t, outbound.ports['out'] as number)
    t.equal(status, 200, body)
    t.same(xfcc(app), [ELEMENT])
    t.equal((await inbound.record(0))['requested_server_name'], SNI)
    t.equal((await outbound.record(0))['requested_server_name'], null)
    t.match(await inbound.record(0), { protocol: protocol === 'http2' ? 'HTTP/2' : 'HTTP/1.1' })

    const labels = (worker: OneWorker): string => worker.series.find((s) => s.labels.includes('reporter='))?.labels ?? ''
    t.match(labels(inbound), `source_principal="${CLIENT}"`)
    t.match(labels(inbound), `destination_principal="${SERVER}"`)
    t.match(labels(inbound), 'connection_security_policy="mutual_tls"')
    t.match(labels(outbound), `source_principal="${CLIENT}"`)
    t.match(labels(outbound), `destination_principal="${SERVER}"`)
    t.match(labels(outbound), 'connection_security_policy="unknown"')

    const there = inbound.explain(id)
    t.match(there?.client, {
      identity: CLIENT,
      own: SERVER,
      version: 'TLSv1.3',
      sni: SNI,
      alpn: protocol === 'http2' ? 'h2' : 'http/1.1',
    })
    t.equal(there?.server, null)
    t.match(there?.steps[0], { step: 'peer', text: `the client is ${CLIENT}, by TLSv1.3; we are ${SERVER}` })
    t.match(outbound.explain(id), { client: null, server: { identity: SERVER, own: CLIENT } })
    t.same([...inbound.errors, ...outbound.errors, ...inbound.handshakes, ...outbound.handshakes], [])
  })

const METADATA = ['x-envoy-peer-metadata', 'x-envoy-peer-metadata-id']
const told = (headers: readonly (readonly [string, string])[]): string[] =>
  headers.map(([name]) => name.toLowerCase()).filter((name) => METADATA.includes(name))

for (const protocol of ['http1', 'http2'] as const)
  t.test(`who the other side is, told by headers over ${protocol}`, async (t) => {
    const READS = { clients: true, upstreams: 'never', readsUpstreams: false } as const
    const TELLS = { clients: false, upstreams: 'always', readsUpstreams: true } as const
    const both = { protocol, peers: { in: READS, out: TELLS } } as const
    const labelled = (worker: OneWorker): string => worker.series.find((s) => s.labels.includes('reporter='))?.labels ?? ''

    await t.test('metrics of both know both', async (t) => {
      const { app, inbound, outbound } = await sidecars(t, both)
      const client = await RawClient.connect(t, outbound.ports['out'] as number)
      const answer = await client.ask({ target: '/x', host: 'reviews' })
      t.same([answer.status, told(answer.headers)], [200, []], 'a client that does not ask is not told')
      t.same(told(app.seen.at(-1)?.headers ?? []), [])
      for (const [worker, reporter] of [
        [inbound, 'destination'],
        [outbound, 'source'],
      ] as const) {
        await worker.record(0)
        const labels = labelled(worker)
        t.match(labels, `reporter="${reporter}",source_workload="front-v1",source_canonical_service="front"`)
        for (const pair of ['source_app="front"', 'source_version="v1"', 'source_workload_namespace="shop"'])
          t.match(labels, pair, `${reporter} ${pair}`)
        for (const pair of ['destination_workload="reviews-v2"', 'destination_version="v2"', 'destination_app="reviews"'])
          t.match(labels, pair, `${reporter} ${pair}`)
      }
      t.match(labelled(inbound), 'source_cluster="west"')
      t.match(labelled(outbound), 'destination_cluster="west"')
    })
    await t.test('nobody is told who did not say who it is', async (t) => {
      const { app, inbound, outbound } = await sidecars(t, { protocol, peers: { in: READS } })
      const client = await RawClient.connect(t, outbound.ports['out'] as number)
      t.same(told((await client.ask({ target: '/x', host: 'reviews' })).headers), [])
      t.same(told(app.seen.at(-1)?.headers ?? []), [])
      await inbound.record(0)
      // What a certificate proves is known all the same.
      t.match(labelled(inbound), 'source_workload="unknown"')
      t.match(labelled(inbound), 'source_workload_namespace="shop"')
    })
    await t.test('without a certificate nobody is believed, and the application sees nothing of it', async (t) => {
      const { app, inbound } = await sidecars(t, both)
      const client = await RawClient.connect(t, inbound.ports['plain'] as number)
      const headers = [
        ['X-Envoy-Peer-Metadata', FRONT.peerMetadata],
        ['x-envoy-peer-metadata-id', FRONT.peerId],
      ] as const
      const answer = await client.ask({ target: '/x', host: 'reviews', headers })
      t.same(told(answer.headers).toSorted(), METADATA, 'who asks is told')
      t.same(told(app.seen.at(-1)?.headers ?? []), [])
      await inbound.record(0)
      t.match(labelled(inbound), 'source_workload="unknown"')
    })
  })

t.test('x-forwarded-client-cert', async (t) => {
  const forged = ['x-forwarded-client-cert', 'By=spiffe://a/b;URI=spiffe://cluster.local/ns/admin/sa/root'] as const
  const twice = ['X-Forwarded-Client-Cert', 'URI=spiffe://c/d'] as const

  await t.test('append_forward: what a peer of the mesh says stays in front of ours', async (t) => {
    const { app, inbound } = await sidecars(t, {})
    // The outbound side sanitises, as every peer's should; this one does not.
    const port = inbound.ports['in'] as number
    const peer = tls.connect({ host: '127.0.0.1', port, cert: client.chain, key: client.key, rejectUnauthorized: false })
    t.teardown(() => peer.destroy())
    peer.write(`GET /x HTTP/1.1\r\nhost: reviews\r\n${forged.join(': ')}\r\n${twice.join(': ')}\r\n\r\n`)
    await once(peer, 'data')
    t.same(xfcc(app), [`${forged[1]},${twice[1]},${ELEMENT}`])
  })
  await t.test('our outbound side removes it', async (t) => {
    const { app, outbound } = await sidecars(t, {})
    await ask(t, outbound.ports['out'] as number, [forged])
    t.same(xfcc(app), [ELEMENT])
  })
  await t.test('sanitize_set: ours alone', async (t) => {
    const { app, outbound } = await sidecars(t, { mode: 'sanitize_set' })
    await ask(t, outbound.ports['out'] as number, [forged])
    t.same(xfcc(app), [ELEMENT])
  })
  await t.test('sanitize: none', async (t) => {
    const { app, outbound } = await sidecars(t, { mode: 'sanitize' })
    await ask(t, outbound.ports['out'] as number, [forged])
    t.same(xfcc(app), [])
  })
  await t.test('plaintext: nobody is believed', async (t) => {
    const { app, inbound } = await sidecars(t, {})
    await ask(t, inbound.ports['plain'] as number, [forged, twice])
    t.same(xfcc(app), [])
    const labels = inbound.series.find((s) => s.labels.includes('reporter='))?.labels
    t.match(labels, 'source_principal="unknown"')
    t.match(labels, 'connection_security_policy="none"')
  })
  await t.test('TLS without a client certificate is not mutual', async (t) => {
    const { app, outbound, inbound } = await sidecars(t, { down: { requireClientCertificate: false }, up: { certificate: '' } })
    await ask(t, outbound.ports['out'] as number, [forged])
    t.same(xfcc(app), [])
    t.match(inbound.series.find((s) => s.labels.includes('reporter='))?.labels, 'connection_security_policy="none"')
  })
})

t.test('a refusal reaches the access log in words', async (t) => {
  await t.test('of a client that the server does not want', async (t) => {
    for (const protocol of ['http1', 'http2'] as const) {
      const { outbound, inbound } = await sidecars(t, {
        protocol,
        down: { subjectAltNames: ['spiffe://cluster.local/ns/x/sa/y'] },
      })
      t.equal((await ask(t, outbound.ports['out'] as number)).status, 503)
      const record = await outbound.record(0)
      t.match(record, {
        response_flags: 'UC',
        upstream_transport_failure_reason:
          /^TLS_error: the peer closed right behind the handshake without a byte: .* we presented spiffe:.*client, valid to/,
      })
      await eventually('both sides to say so', () => outbound.handshakes.length > 0 && inbound.handshakes.length > 0)
      t.match(inbound.handshakes[0], { side: 'server', reason: 'unexpected_identity', details: { listener: 'in', sni: SNI } })
    }
  })
  await t.test('of a client without a certificate', async (t) => {
    const { outbound, inbound } = await sidecars(t, { up: { certificate: '' } })
    t.equal((await ask(t, outbound.ports['out'] as number)).status, 503)
    t.match(await outbound.record(0), {
      upstream_transport_failure_reason: /^TLS_error: the peer ended the connection with certificate_required/,
    })
    t.match(inbound.handshakes, [{ reason: 'no_certificate' }])
  })
  await t.test('of a server that is somebody else', async (t) => {
    const { outbound } = await sidecars(t, { up: { subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/other'] } })
    t.equal((await ask(t, outbound.ports['out'] as number)).status, 503)
    t.match(await outbound.record(0), {
      response_flags: 'UF',
      upstream_transport_failure_reason: /^TLS_error: the server is spiffe:.*server; expected spiffe:.*other$/,
    })
  })
})
