// `/config_dump` in Envoy's shape: nouns of files, certificates, what must not be seen; judged by Envoy's .proto files and by openssl.
import { execFileSync } from 'node:child_process'
import t from 'tap'
import { redactedEnvoyJson } from '../../../lib/admin/config-dump.ts'
import { envoyDump } from '../../../lib/admin/dump-query.ts'
import type { DumpedConfig } from '../../../lib/admin/dumped-config.ts'
import { certsJson } from '../../../lib/admin/envoy-pages.ts'
import { nounDump } from '../../../lib/admin/noun-dump.ts'
import { dumpedSecrets } from '../../../lib/server/dumped-secrets.ts'
import { MATCH_EVERYTHING } from '../../../lib/state/listener.ts'
import { NO_SECRETS } from '../../../lib/transport/secrets.ts'
import { envoyProtos } from '../../support/envoy-protos.ts'
import {
  aCluster,
  aDestination,
  aFilterChain,
  aForward,
  aListener,
  anEndpoint,
  aRoute,
  aRouteTable,
  aSnapshot,
  aVirtualHost,
} from '../../support/nouns.ts'
import { OpensslCa } from '../../support/openssl-ca.ts'

const ME = 'spiffe://cluster.local/ns/default/sa/web'
const BOOTSTRAP = {
  role: 'sidecar',
  workload: { address: '10.0.0.1', name: 'web', namespace: 'default' },
  mesh: { domain: 'cluster.local' },
} as never

const SNAPSHOT = aSnapshot({
  version: 7,
  clusters: [
    aCluster({
      name: 'outbound|80||a',
      endpoints: [anEndpoint({ address: '10.0.0.9', port: 80 }), anEndpoint({ address: 'fd00::1', port: 80 })],
    }),
    aCluster({ name: 'PassthroughCluster', type: 'ORIGINAL_DST' }),
    aCluster({ name: 'ewma', loadBalancer: { kind: 'PEAK_EWMA', decayMs: 10_000 } }),
  ],
  listeners: [
    aListener({
      name: 'out',
      filterChains: [
        aFilterChain({
          name: 'http',
          match: { ...MATCH_EVERYTHING, destinationPort: 80, destinationRanges: ['10.0.0.0/8'], serverNames: ['x'] },
        }),
        aFilterChain({ name: 'no', network: { kind: 'refuse', accessLogs: [], reason: 'r' } }),
      ],
    }),
  ],
  routeTables: [
    aRouteTable({
      name: '80',
      virtualHosts: [
        aVirtualHost({
          name: 'a:80',
          domains: ['a'],
          routes: [
            aRoute({
              name: 'split',
              origin: { kind: 'VirtualService', namespace: 'default', name: 'a', file: 'a.yaml', line: 1, column: 1 },
              match: {
                share: { part: 25, of: 100 },
                certificate: true,
                path: { kind: 'pathPrefix', value: '/api', ignoreCase: true },
                headers: [
                  {
                    name: 'authorization',
                    field: '',
                    match: { kind: 'prefix', value: 'Bearer hunter2', ignoreCase: false },
                    invert: true,
                    missingIsEmpty: true,
                  },
                ],
                query: [{ name: 'q', field: '', match: { kind: 'present', value: '', ignoreCase: false } }],
                metadata: [
                  {
                    filter: 'envoy.filters.http.jwt_authn',
                    path: ['payload', 'group'],
                    field: 'withoutHeaders[@request.auth.claims.group]',
                    value: {
                      kind: 'or',
                      of: [
                        { kind: 'element', of: { kind: 'text', match: { kind: 'exact', value: 'admin', ignoreCase: false } } },
                        { kind: 'number', first: 1, end: 2 },
                      ],
                    },
                    invert: true,
                  },
                ],
              },
              action: aForward({ clusters: [aDestination('outbound|80||a', 1), aDestination('ewma', 3)], totalWeight: 4 }),
            }),
            aRoute({ name: 'my-token', action: { kind: 'direct', status: 418, body: '' } }),
          ],
        }),
      ],
    }),
  ],
})

function configOf(more: Partial<DumpedConfig> = {}): DumpedConfig {
  const isHealthy = (_: string, address: string): boolean => address !== '[fd00::1]:80'
  return { ...nounDump(BOOTSTRAP, SNAPSHOT, isHealthy), fed: false, startedMs: 1, secrets: [], ...more }
}

function ask(config: DumpedConfig, query: string): { configs: Record<string, unknown>[] } {
  const { status, body } = envoyDump(config, new URLSearchParams(query))
  if (status !== 200) throw new Error(String(body))
  return JSON.parse(redactedEnvoyJson(body))
}

t.test('of files: all is static, and an envoy.admin.v3.ConfigDump', (t) => {
  const dump = ask(configOf(), 'include_eds')
  t.doesNotThrow(() =>
    envoyProtos()
      .load('envoy/admin/v3')
      .encode('envoy.admin.v3.ConfigDump', dump as never),
  )
  t.match(ask(configOf(), 'resource=static_clusters&mask=cluster.name,cluster.type').configs, [
    { cluster: { name: 'outbound|80||a', type: 'STATIC' } },
    { cluster: { name: 'PassthroughCluster', type: 'ORIGINAL_DST' } },
    { cluster: { name: 'ewma', type: 'STATIC' } },
  ])
  const [{ route_config: table }] = ask(configOf(), 'resource=static_route_configs').configs as unknown as [
    { route_config: object },
  ]
  t.match(table, {
    name: '80',
    virtual_hosts: [
      {
        name: 'a:80',
        routes: [
          {
            name: 'split',
            match: {
              path_separated_prefix: '/api',
              case_sensitive: false,
              query_parameters: [{ name: 'q', present_match: true }],
              dynamic_metadata: [
                {
                  filter: 'envoy.filters.http.jwt_authn',
                  path: [{ key: 'payload' }, { key: 'group' }],
                  value: {
                    or_match: {
                      value_matchers: [
                        { list_match: { one_of: { string_match: { exact: 'admin' } } } },
                        { double_match: { range: { start: 1, end: 2 } } },
                      ],
                    },
                  },
                  invert: true,
                },
              ],
              runtime_fraction: { default_value: { numerator: 25, denominator: 'HUNDRED' } },
              tls_context: { presented: true },
            },
            route: {
              weighted_clusters: {
                clusters: [
                  { name: 'outbound|80||a', weight: 1 },
                  { name: 'ewma', weight: 3 },
                ],
              },
            },
            metadata: {
              filter_metadata: { istio: { config: '/apis/networking.istio.io/v1/namespaces/default/virtual-service/a' } },
            },
          },
          { name: 'my-token', match: { prefix: '/' }, direct_response: { status: 418 } },
        ],
      },
    ],
  })
  t.notMatch(JSON.stringify(dump), 'hunter2', 'credentials in conditions are not shown')
  const health = /"address":"([^"]+)","port_value":80}}},"health_status":"(\w+)"/g
  t.strictSame(
    [...JSON.stringify(dump).matchAll(health)].map(([, address, status]) => `${address} ${status}`),
    ['10.0.0.9 HEALTHY', 'fd00::1 UNHEALTHY'],
  )
  t.end()
})

t.test('certificates without keys', (t) => {
  const ca = new OpensslCa(t)
  const root = ca.root('/O=root')
  const own = ca.svid(root, ME)
  const other = ca.svid(root, 'spiffe://cluster.local/ns/default/sa/other')
  const material = (identity: string, { certPem, keyPem }: typeof own) => ({
    identity,
    certificateChainPem: certPem,
    privateKeyPem: keyPem,
    notBeforeMs: 1000,
    notAfterMs: 2000,
    generation: 3,
  })
  const secrets = dumpedSecrets({
    ...NO_SECRETS,
    own: ME,
    identities: [material(ME, own), material('spiffe://cluster.local/ns/default/sa/other', other)],
    trust: {
      trustDomain: 'cluster.local',
      aliases: [],
      bundles: [{ trustDomain: 'cluster.local', rootsPem: [root.certPem] }],
      generation: 1,
    },
    credentials: [
      { name: 'kubernetes://shop', certificateChainPem: other.certPem, privateKeyPem: other.keyPem, rootsPem: [], crlPem: '' },
    ],
  })
  const dump = ask(configOf({ secrets, missingSecrets: ['kubernetes://late'] }), 'resource=dynamic_active_secrets')
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  t.match(dump.configs, [
    {
      name: 'default',
      version_info: '3',
      last_updated: '1970-01-01T00:00:01.000Z',
      secret: { tls_certificate: { certificate_chain: { inline_bytes: base64(own.certPem) } } },
    },
    { name: 'spiffe://cluster.local/ns/default/sa/other' },
    { name: 'ROOTCA', secret: { validation_context: { trusted_ca: { inline_bytes: base64(root.certPem) } } } },
    { name: 'kubernetes://shop' },
  ])
  const all = ask(configOf({ secrets, missingSecrets: ['kubernetes://late'] }), '')
  t.match(all.configs.at(-1), { dynamic_warming_secrets: [{ name: 'kubernetes://late' }] })
  t.doesNotThrow(() =>
    envoyProtos()
      .load('envoy/admin/v3')
      .encode('envoy.admin.v3.ConfigDump', all as never),
  )
  for (const { keyPem } of [own, other]) {
    t.notOk(JSON.stringify(all).includes(base64(keyPem).slice(100, 160)))
    t.notOk(JSON.stringify(all).includes(keyPem.split('\n')[1]!))
  }

  const [first] = (certsJson(secrets, Date.now()) as { certificates: { cert_chain: object[] }[] }).certificates
  const openssl = (...args: string[]): string =>
    execFileSync('openssl', ['x509', '-in', own.certFile, '-noout', ...args], { encoding: 'utf8' })
  const serial = openssl('-serial').trim().replace('serial=', '').toLowerCase()
  const end = new Date(openssl('-enddate').trim().replace('notAfter=', '')).toISOString()
  t.match(first?.cert_chain, [{ serial_number: serial, expiration_time: end, subject_alt_names: [{ uri: ME }] }])
  t.end()
})
