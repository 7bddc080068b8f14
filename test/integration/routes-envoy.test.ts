// What routes may say besides what istiod makes of VirtualServices (EnvoyFilters, other control planes): the same resources and requests to Envoy and to heddle.
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { findEnvoy } from '../support/envoy.ts'
import { Beside, type Said, staticCluster } from '../support/envoy-beside.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { RawClient } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'

const skip = findEnvoy() === null ? 'no Envoy: set ENVOY to one (bench/README.md says whence)' : ''

const direct = (status: number): object => ({ direct_response: { status } })
const share = (numerator: number, denominator = 'HUNDRED'): object => ({
  runtime_fraction: { default_value: { numerator, denominator } },
})

t.test('routes for a share of requests', { skip }, async (t) => {
  const beside = await Beside.start(t, {
    routes: [
      { match: { prefix: '/none', ...share(0) }, ...direct(201) },
      { match: { prefix: '/all', ...share(1_000_000, 'MILLION') }, ...direct(202) },
      { match: { prefix: '/some', ...share(5000, 'TEN_THOUSAND') }, ...direct(203) },
      // The same draw: what the first did not take this one never takes.
      { match: { prefix: '/some', ...share(4000, 'TEN_THOUSAND') }, ...direct(205) },
      { match: { prefix: '/shown', tls_context: { presented: true } }, ...direct(206) },
      { match: { prefix: '/hidden', tls_context: { presented: false } }, ...direct(207) },
      { match: { prefix: '/' }, ...direct(299) },
    ],
    clusters: [],
  })
  const statuses = async (target: string, times: number): Promise<readonly (readonly number[])[]> => {
    const seen = [new Set<number>(), new Set<number>()]
    for (let i = 0; i < times; i++) {
      const { envoy, heddle } = await beside.ask(t, { target })
      seen[0]!.add(envoy.answer.status)
      seen[1]!.add(heddle.answer.status)
    }
    return seen.map((s) => [...s].toSorted((a, b) => a - b))
  }
  t.same(await statuses('/none', 5), [[299], [299]])
  t.same(await statuses('/all', 5), [[202], [202]])
  // One of two of a hundred draws goes wrong once in 10³⁰ runs.
  t.same(
    await statuses('/some', 100),
    [
      [203, 299],
      [203, 299],
    ].map((s) => s),
  )
  t.same(await statuses('/shown', 1), [[299], [299]])
  t.same(await statuses('/hidden', 1), [[207], [207]])
})

t.test('how long requests may take', { skip }, async (t) => {
  const silent = await Upstream.start(t)
  const to = (prefix: string, more: object = {}): object => ({
    match: { prefix },
    route: { cluster: 'c', timeout: '0s', ...more },
  })
  const lasting = (max_stream_duration: string): object => ({ max_stream_duration: { max_stream_duration }, idle_timeout: '0s' })
  const beside = await Beside.start(t, {
    manager: {
      request_timeout: '0.3s',
      stream_idle_timeout: '0.6s',
      common_http_protocol_options: { max_stream_duration: '1s' },
    },
    routes: [
      to('/idle', { idle_timeout: '0.1s' }),
      to('/busy', { idle_timeout: '0s' }),
      to('/short', lasting('0.1s')),
      // The timeout plays no part then.
      to('/both', { ...lasting('0.4s'), timeout: '0.1s' }),
      to('/call', { max_stream_duration: { grpc_timeout_header_max: '0.2s' }, idle_timeout: '0s' }),
      // As istiod has it in front of applications.
      to('/inbound', { max_stream_duration: { max_stream_duration: '0s', grpc_timeout_header_max: '0s' }, idle_timeout: '0s' }),
      to('/'),
    ],
    clusters: [staticCluster('c', [silent])],
  })
  const sweeps = setInterval(() => beside.heddle.sweep(), 50)
  t.teardown(() => clearInterval(sweeps))
  const grpc = { 'content-type': 'application/grpc' }
  const compared = ({ answer, code, flags, details }: Said): object => ({
    status: answer.status,
    body: answer.body.toString(),
    log: [code, flags, details],
    headers: ['connection', 'grpc-status', 'grpc-message', 'content-type'].map((name) => header(answer, name)),
  })
  type Row = readonly [target: string, details: string, unfinished?: boolean, headers?: Readonly<Record<string, string>>]
  const rows: readonly Row[] = [
    ['/idle', 'stream_idle_timeout'],
    ['/idle', 'stream_idle_timeout', true],
    ['/idle', 'stream_idle_timeout', false, grpc],
    ['/', 'stream_idle_timeout'],
    ['/', 'request_overall_timeout', true],
    ['/busy', 'max_duration_timeout'],
    ['/busy', 'request_overall_timeout', true],
    ['/short', 'max_duration_timeout'],
    ['/short', 'max_duration_timeout', true],
    ['/short', 'max_duration_timeout', false, grpc],
    ['/both', 'max_duration_timeout'],
    ['/call', 'max_duration_timeout', false, { ...grpc, 'grpc-timeout': '9S' }],
    ['/call', 'max_duration_timeout', false, { ...grpc, 'grpc-timeout': '100m' }],
    ['/call', 'max_duration_timeout'],
    ['/inbound', 'max_duration_timeout', false, { ...grpc, 'grpc-timeout': '100m' }],
  ]
  for (const [target, details, unfinished, more = {}] of rows) {
    const framing = unfinished ? { 'content-length': '9' } : {}
    const request = { method: 'POST', target, headers: { ...framing, ...more }, body: 'abc' }
    const { envoy, heddle } = await beside.ask(t, request)
    t.same(compared(heddle), compared(envoy), `${target} ${details}`)
    t.equal(heddle.details, details)
  }
  t.same(beside.heddle.errors, [])
})

t.test('connections that are old end with their next answer', { skip }, async (t) => {
  const beside = await Beside.start(t, {
    manager: { common_http_protocol_options: { max_connection_duration: '0.2s' }, drain_timeout: '0.1s' },
    routes: [{ match: { prefix: '/' }, ...direct(204) }],
    clusters: [],
  })
  const client = await RawClient.connect(t, beside.heddlePort)
  t.equal(header(await client.ask(), 'connection'), undefined)
  const theirs = await RawClient.connect(t, beside.envoy.port)
  await theirs.ask()
  const sweeps = setInterval(() => beside.heddle.sweep(), 50)
  t.teardown(() => clearInterval(sweeps))
  t.equal(await client.closed(), 'end', 'one without a request')
  t.equal(await theirs.closed(), 'end', 'as Envoy does')
})

t.test('what upstreams and clients are told of the proxy', { skip }, async (t) => {
  const app = await EchoUpstream.start(t)
  const retry_policy = { retry_on: '5xx', num_retries: 1 }
  for (const [suppress_envoy_headers, include_request_attempt_count] of [
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ] as const) {
    const beside = await Beside.start(t, {
      router: { suppress_envoy_headers },
      host: { include_request_attempt_count },
      routes: [
        { match: { prefix: '/' }, route: { cluster: 'c', prefix_rewrite: '/b/', host_rewrite_literal: 'h', retry_policy } },
      ],
      clusters: [staticCluster('c', [app])],
    })
    const told = (headers: readonly (readonly [string, string])[]) =>
      headers
        .filter(([name]) => /^x-envoy-/.test(name.toLowerCase()))
        // The time differs.
        .map(([name, value]) => [name.toLowerCase(), /service-time|rq-timeout/.test(name) ? '' : value])
        .toSorted()
    for (const [target, headers] of [
      ['/a/x', {}],
      ['/a/x', { 'x-status': '503' }],
    ] as const) {
      const { envoy, heddle } = await beside.ask(t, { target, headers })
      const name = `${target} ${JSON.stringify(headers)} suppress ${suppress_envoy_headers} count ${include_request_attempt_count}`
      t.same(told(heddle.answer.headers), told(envoy.answer.headers), name)
      const seen = app.seen.splice(0).map((e) => told(e.headers))
      t.same(seen.slice(seen.length / 2), seen.slice(0, seen.length / 2), `${name}: upstream`)
    }
  }
})

t.test('clusters and hosts that requests name, and redirects by a pattern', { skip }, async (t) => {
  const app = await EchoUpstream.start(t)
  const named = { cluster_header: 'X-Cluster' }
  const pattern = (regex: string, substitution: string): object => ({ pattern: { regex }, substitution })
  const to = (prefix: string, route: object): object => ({ match: { prefix }, route })
  const beside = await Beside.start(t, {
    configuration: { validate_clusters: false },
    routes: [
      to('/named', named),
      to('/missing', { ...named, cluster_not_found_response_code: 'NOT_FOUND' }),
      to('/drawn', { weighted_clusters: { clusters: [{ ...named, weight: 1 }] } }),
      to('/host', { cluster: 'c', host_rewrite_header: 'X-Host' }),
      to('/path', { cluster: 'c', host_rewrite_path_regex: pattern('^/path/([^/]+)/.*$', '\\1.test') }),
      { match: { prefix: '/r' }, redirect: { regex_rewrite: pattern('/r/([^/]+)/', '/\\1-') } },
      { match: { prefix: '/q' }, redirect: { regex_rewrite: pattern('/q', 'nolead'), strip_query: true } },
    ],
    clusters: [staticCluster('c', [app])],
  })
  const compared = ({ answer, code, flags, details }: Said): object => [
    answer.status,
    header(answer, 'location'),
    code,
    flags,
    details,
  ]
  for (const [target, headers] of [
    ['/named', { 'x-cluster': 'c' }],
    ['/named', {}],
    ['/named', { 'x-cluster': 'nope' }],
    ['/named', { 'x-cluster': '' }],
    ['/missing', {}],
    ['/drawn', { 'x-cluster': 'c' }],
    ['/drawn', {}],
    ['/host', { 'x-host': 'other' }],
    ['/host', { 'x-host': '' }],
    ['/host', {}],
    ['/path/first/rest?q', {}],
    ['/path', {}],
    ['/r/a/b/r/c/d?x=1', {}],
    ['/r', {}],
    ['/q?y', {}],
  ] as const) {
    const { envoy, heddle } = await beside.ask(t, { target, headers, host: 'asked.test' })
    t.same(compared(heddle), compared(envoy), `${target} ${JSON.stringify(headers)}`)
    const told = app.seen.splice(0).map((e) => [
      e.target,
      e.headers
        .map(([n, v]) => [n.toLowerCase(), v] as const)
        .filter(([n]) => n.endsWith('host'))
        .toSorted(),
    ])
    t.same(told[1], told[0], 'upstream')
  }
})

t.test('the id of a request, in its answer and kept', { skip }, async (t) => {
  const app = await EchoUpstream.start(t)
  const id = '11111111-2222-4333-8444-555555555555'
  for (const preserve_external_request_id of [false, true]) {
    const beside = await Beside.start(t, {
      manager: {
        always_set_request_id_in_response: true,
        preserve_external_request_id,
        use_remote_address: true,
        xff_num_trusted_hops: 1,
      },
      routes: [
        { match: { prefix: '/direct' }, ...direct(418) },
        { match: { prefix: '/' }, route: { cluster: 'c' } },
      ],
      clusters: [staticCluster('c', [app])],
    })
    for (const target of ['/direct', '/a']) {
      const { envoy, heddle } = await beside.ask(t, { target, headers: { 'x-forwarded-for': '8.8.8.8', 'x-request-id': id } })
      const seen = app.seen.splice(0).map((e) => headerValues(e as never, 'x-request-id')[0])
      for (const [i, { answer }] of [envoy, heddle].entries()) {
        const said = headerValues(answer, 'x-request-id')
        t.equal(said.length, 1)
        t.equal(said[0] === id, preserve_external_request_id, `${target} ${preserve_external_request_id} ${i}`)
        if (seen.length > 0) t.equal(seen[i], said[0], 'as the upstream has it')
      }
    }
  }
})
