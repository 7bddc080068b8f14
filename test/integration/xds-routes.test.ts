// What a control plane alone says of routes, carried out: a RouteConfiguration, requests through a worker, and what the upstream got of them.
import t from 'tap'
import { Findings, findingsText } from '../../lib/xds/translate/findings.ts'
import { translateRoutes } from '../../lib/xds/translate/route-configuration.ts'
import { askAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { envoyProtos } from '../support/envoy-protos.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { aCluster, aFilterChain, aListener, anEndpoint, anHttpChain, aSnapshot } from '../support/nouns.ts'
import { OneWorker } from '../support/one-worker.ts'

const add = (key: string, value: string, append_action: string) => ({ header: { key, value }, append_action })
const CONFIG = {
  name: 'edge',
  virtual_hosts: [
    {
      name: 'app',
      domains: ['app.test:8443', 'app.test'],
      routes: [
        { match: { prefix: '/old' }, redirect: { path_redirect: '/new', strip_query: true } },
        {
          match: { prefix: '/' },
          route: { cluster: 'c', timeout: '0s', host_rewrite_literal: 'inner.test', append_x_forwarded_host: true },
          request_headers_to_add: [add('x-one', 'ours', 'ADD_IF_ABSENT'), add('x-two', 'ours', 'OVERWRITE_IF_EXISTS')],
          response_headers_to_add: [
            add('x-upstream', 'ours', 'OVERWRITE_IF_EXISTS'),
            add('x-none', 'ours', 'OVERWRITE_IF_EXISTS'),
          ],
        },
      ],
    },
    {
      name: 'secure',
      domains: ['secure.test'],
      require_tls: 'ALL',
      routes: [{ match: { prefix: '/' }, route: { cluster: 'c' } }],
    },
  ],
}

t.test('routes of a control plane', async (t) => {
  const app = await EchoUpstream.start(t)
  const findings = new Findings()
  const bytes = envoyProtos().encode('envoy.config.route.v3.RouteConfiguration', CONFIG as never)
  const table = translateRoutes(bytes, { unsafeRetries: 'held-back' }, findings, null)
  t.equal(findingsText(findings.faults), '')
  const network = anHttpChain({ routeTable: 'edge' })
  const worker = await OneWorker.start(
    t,
    aSnapshot({
      listeners: [aListener({ filterChains: [aFilterChain({ network })] })],
      routeTables: [table!],
      clusters: [aCluster({ name: 'c', endpoints: [anEndpoint({ port: app.port })] })],
    }),
  )
  const ask = (host: string, target: string, headers: Record<string, string> = {}) =>
    askAny(t, worker.ports['out'] as number, { host, target, headers })
  const seen = (name: string) => headerValues(app.seen.at(-1)!, name)

  const moved = await ask('app.test', '/old/x?q=1')
  t.same([moved.status, header(moved, 'location')], [301, 'http://app.test/new'], 'without its query')

  const answer = await ask('app.test', '/a', { 'x-two': 'theirs' })
  t.equal(answer.status, 200)
  t.same([seen('host'), seen('x-forwarded-host')], [['inner.test'], ['app.test']], 'the host that was asked for')
  t.same([seen('x-one'), seen('x-two')], [['ours'], ['ours']])
  t.same([header(answer, 'x-upstream'), header(answer, 'x-none')], ['ours', undefined])

  await ask('app.test', '/a', { 'x-one': 'theirs', 'x-forwarded-host': 'first.test' })
  t.same(seen('x-forwarded-host'), ['first.test,app.test'], 'behind those that were there')
  t.same([seen('x-one'), seen('x-two')], [['theirs'], []])
  await ask('app.test', '/a', { 'x-forwarded-host': 'first.test, app.test' })
  t.same(seen('x-forwarded-host'), ['first.test, app.test'], 'not twice')

  t.equal((await ask('app.test:8443', '/a')).status, 200, 'a port that a domain has')
  t.equal((await ask('app.test:8444', '/a')).status, 404, 'another port')

  const secure = await ask('secure.test', '/a?b=c')
  t.same([secure.status, header(secure, 'location')], [301, 'https://secure.test/a?b=c'])
  t.same(worker.errors, [])
})
