// Slab, registry and exposition: what a worker counts is what a scraper reads.
import t from 'tap'
import { ClusterStats, ListenerStats, TcpListenerStats, WorkerStats } from '../../../lib/telemetry/data-path-stats.ts'
import {
  CLUSTER,
  DEFAULT_BOUNDS,
  GROUPS,
  HTTP_LISTENER,
  ISTIO_REQUEST,
  ISTIO_TCP,
  TCP_LISTENER,
} from '../../../lib/telemetry/families.ts'
import { renderLabels, renderNumber } from '../../../lib/telemetry/labels.ts'
import { MainMetrics } from '../../../lib/telemetry/main-metrics.ts'
import { MetricsRegistry } from '../../../lib/telemetry/metrics-registry.ts'
import { PodMetrics } from '../../../lib/telemetry/pod-metrics.ts'
import { createSlabBuffer, MetricsSlab, observe, SINK_SLOTS } from '../../../lib/telemetry/slab.ts'
import { parseExposition } from './exposition.ts'

function worker(registry: MetricsRegistry, index: number, options?: { slots?: number; maxSeries?: number }): MetricsSlab {
  const buffer = createSlabBuffer(options?.slots ?? 8192)
  registry.addWorker(index, buffer)
  const announce = (family: string, labels: string, slot: number): void => registry.series(index, family, labels, slot)
  return new MetricsSlab(buffer, announce, options?.maxSeries ?? 0)
}

t.test('labels are escaped', async (t) => {
  const cases: [value: string, expected: string][] = [
    ['plain', 'a="plain"'],
    ['', 'a=""'],
    ['quote"', 'a="quote\\""'],
    ['back\\slash', 'a="back\\\\slash"'],
    ['two\nlines', 'a="two\\nlines"'],
    ['é', 'a="é"'],
    ['"} 1\nforged{x="', 'a="\\"} 1\\nforged{x=\\""'],
  ]
  for (const [value, expected] of cases) t.equal(renderLabels([['a', value]]), expected)
  t.equal(renderLabels([]), '')
})

t.test('numbers have no exponents', async (t) => {
  const cases: [value: number, expected: string][] = [
    [0, '0'],
    [0.5, '0.5'],
    [3600000, '3600000'],
    [1e21, '1000000000000000000000'],
    [2 ** 70, '1180591620717411303424'],
    [1e-7, '0.0000001'],
    [Infinity, '+Inf'],
    [-Infinity, '-Inf'],
    [NaN, 'NaN'],
  ]
  for (const [value, expected] of cases) t.equal(renderNumber(value), expected)
})

t.test('declarations are sound', async (t) => {
  const names = new Set<string>()
  for (const group of GROUPS) {
    t.ok(group.width <= SINK_SLOTS, `${group.name} fits into the sink`)
    let last = ''
    for (const family of group.families) {
      t.match(family.name, /^[a-z_][a-z0-9_]*$/)
      if (family.name !== last) t.notOk(names.has(family.name), `${family.name} is declared once`)
      names.add(family.name)
      last = family.name
    }
  }
})

t.test('counters of all workers are summed', async (t) => {
  const registry = new MetricsRegistry()
  const a = worker(registry, 0)
  const b = worker(registry, 1)
  for (const [slab, count] of [
    [a, 2],
    [b, 3],
  ] as const) {
    const stats = new ClusterStats(slab, 'outbound|80||a.b')
    slab.values[stats.rqTotal]! += count
    slab.values[stats.rqXx + 4]! += count
    slab.values[stats.cxActive]! += 1
  }
  const page = parseExposition(registry.expose())
  t.equal(page.value('envoy_cluster_upstream_rq_total', { cluster_name: 'outbound|80||a.b' }), 5)
  t.equal(page.value('envoy_cluster_upstream_rq_xx', { response_code_class: '5xx', cluster_name: 'outbound|80||a.b' }), 5)
  t.equal(page.value('envoy_cluster_upstream_rq_xx', { response_code_class: '2xx', cluster_name: 'outbound|80||a.b' }), 0)
  t.equal(page.value('envoy_cluster_upstream_cx_active', { cluster_name: 'outbound|80||a.b' }), 2)
  t.equal(page.type('envoy_cluster_upstream_cx_active'), 'gauge')
  t.equal(page.type('envoy_cluster_upstream_rq_total'), 'counter')
})

t.test('an unused cluster is not exposed, an unused listener is', async (t) => {
  const registry = new MetricsRegistry()
  const slab = worker(registry, 0)
  new ClusterStats(slab, 'idle')
  new ListenerStats(slab, 'out')
  const text = registry.expose()
  t.notMatch(text, 'envoy_cluster_')
  t.equal(parseExposition(text).value('envoy_http_downstream_rq_total', { http_conn_manager_prefix: 'out' }), 0)
})

t.test('the counts of a dead worker stay, its gauges go', async (t) => {
  const registry = new MetricsRegistry()
  const labels = { http_conn_manager_prefix: 'out' }
  const count = (slab: MetricsSlab, requests: number): void => {
    const stats = new ListenerStats(slab, 'out')
    slab.values[stats.rqTotal]! += requests
    slab.values[stats.cxActive]! += 1
    const request = slab.allot(ISTIO_REQUEST, 'reporter="source"')
    for (let i = 0; i < requests; i++) observe(slab.values, request + 1, DEFAULT_BOUNDS, 7)
  }
  count(worker(registry, 0), 2)
  count(worker(registry, 1), 3)
  registry.removeWorker(0)
  count(worker(registry, 0), 5)
  count(worker(registry, 0), 7) // replaced without removeWorker
  for (const scrape of ['first', 'second']) {
    const page = parseExposition(registry.expose())
    t.equal(page.value('envoy_http_downstream_rq_total', labels), 17, `${scrape} scrape`)
    t.equal(page.value('envoy_http_downstream_cx_active', labels), 2, `${scrape} scrape`)
    t.equal(page.value('istio_request_duration_milliseconds_count', { reporter: 'source' }), 17, `${scrape} scrape`)
    t.equal(page.value('istio_request_duration_milliseconds_sum', { reporter: 'source' }), 17 * 7, `${scrape} scrape`)
  }
  registry.series(9, 'istio_tcp', 'x="late"', 200)
  registry.series(1, 'no such family', 'x="late"', 200)
  t.notMatch(registry.expose(), 'late', 'a message of a worker or family that is not known changes nothing')
})

t.test('histograms are cumulative', async (t) => {
  const registry = new MetricsRegistry()
  const slab = worker(registry, 0)
  const slot = slab.allot(ISTIO_REQUEST, '')
  // One value on a bound, one just above it, one below the least, one above the greatest.
  for (const value of [0, 0.5, 0.6, 10, 11, 3600001]) observe(slab.values, slot + 1, DEFAULT_BOUNDS, value)
  const page = parseExposition(registry.expose())
  const expected: Record<string, number> = { '0.5': 2, '1': 3, '5': 3, '10': 4, '25': 5, '3600000': 5, '+Inf': 6 }
  for (const [le, count] of Object.entries(expected)) {
    t.equal(page.value('istio_request_duration_milliseconds_bucket', { le }), count, `le=${le}`)
  }
  t.strictSame(
    page.samples.filter((s) => s.name === 'istio_request_duration_milliseconds_bucket').map((s) => s.labels['le']),
    [
      '0.5',
      '1',
      '5',
      '10',
      '25',
      '50',
      '100',
      '250',
      '500',
      '1000',
      '2500',
      '5000',
      '10000',
      '30000',
      '60000',
      '300000',
      '600000',
      '1800000',
      '3600000',
      '+Inf',
    ],
  ) // prettier-ignore
  t.equal(page.value('istio_request_duration_milliseconds_count', {}), 6)
  t.equal(page.value('istio_request_duration_milliseconds_sum', {}), 0.5 + 0.6 + 10 + 11 + 3600001)
  // The neighbours in the block are untouched, and what nobody counted is not shown.
  t.notMatch(registry.expose(), /istio_request(?:_bytes|s_total)/)
})

t.test('beyond maxSeries everything goes to one series, and the total stays right', async (t) => {
  const registry = new MetricsRegistry()
  const slab = worker(registry, 0, { maxSeries: 10 })
  const families = ISTIO_TCP.families.length // 4: two label sets fit
  for (let i = 0; i < 5; i++) slab.values[slab.allot(ISTIO_TCP, `n="${i}"`)]! += 1
  slab.values[slab.allot(ISTIO_TCP, 'n="0"')]! += 1
  const page = parseExposition(registry.expose())
  t.equal(families, 4)
  t.strictSame(
    page.samples.filter((s) => s.name === 'istio_tcp_connections_opened_total').map((s) => [s.labels, s.value]),
    [
      [{ n: '0' }, 2],
      [{ n: '1' }, 1],
      [{ overflow: 'true' }, 3],
    ],
  )
  t.equal(page.value('heddle_metric_overflow_total', {}), 3)
  slab.values[new ClusterStats(slab, 'c').rqTotal]! += 1
  t.equal(
    parseExposition(registry.expose()).value('envoy_cluster_upstream_rq_total', { cluster_name: 'c' }),
    1,
    'what the configuration bounds is not capped',
  )
})

t.test('a full slab swallows, and counts what it swallows', async (t) => {
  const registry = new MetricsRegistry()
  const slab = worker(registry, 0, { slots: SINK_SLOTS + 1 + ISTIO_TCP.width })
  slab.values[slab.allot(ISTIO_TCP, 'n="0"')]! += 1
  const slot = slab.allot(ISTIO_REQUEST, 'n="1"')
  t.equal(slot, 0)
  for (let i = 0; i < ISTIO_REQUEST.width; i++) slab.values[slot + i]! += 1
  const page = parseExposition(registry.expose())
  t.equal(page.value('istio_tcp_connections_opened_total', { n: '0' }), 1)
  t.equal(page.value('heddle_metric_overflow_total', {}), 1)
  t.notOk(page.samples.some((s) => s.name === 'istio_requests_total'))
})

t.test('each field of the stats classes is the slot of its own metric', async (t) => {
  const registry = new MetricsRegistry()
  const slab = worker(registry, 0)
  const all = [
    [new ClusterStats(slab, 'x'), CLUSTER],
    [new ListenerStats(slab, 'x'), HTTP_LISTENER],
    [new TcpListenerStats(slab, 'x'), TCP_LISTENER],
  ] as const
  for (const [stats, group] of all) {
    const slots = Object.values(stats) as number[]
    const base = Math.min(...slots)
    t.equal(new Set(slots).size, slots.length, `${group.name}: no slot twice`)
    // The four other classes have no field of their own.
    const classes = group.families.filter((f) => f.labels !== '').length
    t.equal(slots.length + Math.max(0, classes - 1), group.families.length, `${group.name}: no metric without a field`)
    t.ok(slots.every((s) => s >= base && s < base + group.width))
  }
})

t.test('reasons and bugs are counted', async (t) => {
  const registry = new MetricsRegistry()
  const stats = new WorkerStats(worker(registry, 0))
  stats.boundaryError()
  stats.requestRefused('header-too-large')
  stats.requestRefused('header-too-large')
  stats.connectionCut('drain-deadline')
  const page = parseExposition(registry.expose())
  t.equal(page.value('heddle_boundary_errors_total', {}), 1)
  t.equal(page.value('heddle_requests_refused_total', { reason: 'header-too-large' }), 2)
  t.equal(page.value('heddle_connections_cut_total', { reason: 'drain-deadline' }), 1)
})

t.test('the main thread tells of configuration, workers and process', async (t) => {
  const registry = new MetricsRegistry()
  const main = new MainMetrics(registry, '1.2.3', 2)
  const read = (): ReturnType<typeof parseExposition> => {
    main.collect()
    return parseExposition(registry.expose())
  }
  t.equal(read().value('istio_build', { component: 'proxy', tag: '1.2.3' }), 1)
  t.equal(read().value('envoy_server_state', {}), 2)
  main.configApplied(7, 1, 1_700_000_000_500)
  main.configRefused()
  main.setWorkers(2, true)
  main.workerRestarted()
  main.setState('LIVE')
  const page = read()
  const expected: Record<string, number> = {
    heddle_config_version: 7,
    heddle_config_reload_success_total: 1,
    heddle_config_reload_failure_total: 1,
    heddle_config_last_reload_successful: 0,
    heddle_config_last_reload_success_timestamp_seconds: 1_700_000_000.5,
    heddle_config_resources_refused: 1,
    heddle_workers: 2,
    heddle_worker_restarts_total: 1,
    envoy_server_state: 0,
    envoy_server_live: 1,
    envoy_server_concurrency: 2,
    envoy_listener_manager_workers_started: 1,
  }
  for (const [name, value] of Object.entries(expected)) t.equal(page.value(name, {}), value, name)
  const resident = page.value('process_resident_memory_bytes', {})
  t.ok(resident > 1e6)
  for (const name of ['allocated', 'heap_size', 'physical_size']) t.equal(page.value(`envoy_server_memory_${name}`, {}), resident)
  t.ok(page.value('process_cpu_seconds_total', {}) > 0)
})

// The names and labels are ztunnel's.
t.test('a node tells of its pods', async (t) => {
  const registry = new MetricsRegistry()
  new MainMetrics(registry, '1.2.3', 1, 'node')
  const pods = new PodMetrics(registry.main)
  const read = (): number[] =>
    ['active_proxy_count', 'pending_proxy_count', 'proxies_started_total', 'proxies_stopped_total'].map((name) =>
      parseExposition(registry.expose()).value(`workload_manager_${name}`, {}),
    )
  t.equal(parseExposition(registry.expose()).value('istio_build', { component: 'ztunnel', tag: '1.2.3' }), 1)
  pods.started(2)
  pods.pending()
  pods.pending()
  t.strictSame(read(), [2, 2, 2, 0])
  pods.settled(true)
  pods.settled(false)
  t.strictSame(read(), [3, 0, 3, 0])
  pods.stopped()
  t.strictSame(read(), [2, 0, 3, 1])
})
