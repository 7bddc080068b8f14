// What a request pays for being counted, and what a scrape costs the main thread.
import type { AccessRecord } from '../../../lib/telemetry/access-record.ts'
import { ISTIO_REQUEST } from '../../../lib/telemetry/families.ts'
import { MetricsRegistry } from '../../../lib/telemetry/metrics-registry.ts'
import { NOT_GRPC, RequestMetrics } from '../../../lib/telemetry/request-metrics.ts'
import { createSlabBuffer, MetricsSlab } from '../../../lib/telemetry/slab.ts'
import { type Bench, keep } from '../contract.ts'

function newSlab(registry: MetricsRegistry, index: number): MetricsSlab {
  const buffer = createSlabBuffer()
  registry.addWorker(index, buffer)
  return new MetricsSlab(buffer, (family, labels, slot) => registry.series(index, family, labels, slot), 0)
}

function record(responseCode: number, durationMs: number): AccessRecord {
  return {
    startTimeMs: 0,
    durationMs,
    method: 'GET',
    originalPath: '/',
    authority: 'reviews:9080',
    protocol: 'HTTP/1.1',
    responseCode,
    responseFlags: 0,
    responseCodeDetails: '',
    connectionTerminationDetails: '',
    upstreamTransportFailureReason: '',
    bytesReceived: 0,
    bytesSent: 0,
    upstreamServiceTimeMs: 0,
    upstreamHost: '',
    upstreamCluster: '',
    upstreamLocalAddress: '',
    downstreamLocalAddress: '',
    downstreamPeerAddress: '',
    requestedServerName: '',
    routeName: '',
    peerPrincipal: '',
    ownPrincipal: '',
    peer: null,
    attempts: 1,
    requestHeader: () => null,
  }
}

const own = {
  namespace: 'default',
  serviceAccount: 'web',
  name: 'web',
  labels: { app: 'web' },
  address: '127.0.0.1',
  locality: '',
}
const metrics = new RequestMetrics(newSlab(new MetricsRegistry(), 0), own)
const cache = metrics.seriesFor('source', null, null)
const outcomes = [200, 200, 404, 200, 503, 200, 301, 200].map((code, i) => record(code, i * 3))

const scraped = new MetricsRegistry()
for (let w = 0; w < 2; w++) {
  const slab = newSlab(scraped, w)
  for (let i = 0; i < 100; i++) {
    const slot = slab.allot(ISTIO_REQUEST, `reporter="source",${'x'.repeat(600)}="${i}"`)
    for (let s = 0; s < ISTIO_REQUEST.width; s++) slab.values[slot + s]! += i
  }
}

export const benches: readonly Bench[] = [
  {
    name: 'telemetry/request-metrics: the same outcome again',
    fn: (iterations) => {
      const rec = outcomes[0] as AccessRecord
      for (let i = 0; i < iterations; i++) metrics.record(cache, rec, 300, 1300, NOT_GRPC)
      keep(metrics.slab.values[200])
    },
  },
  {
    name: 'telemetry/request-metrics: outcomes that change',
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) metrics.record(cache, outcomes[i & 7] as AccessRecord, 300, 1300, NOT_GRPC)
      keep(metrics.slab.values[200])
    },
  },
  {
    name: 'telemetry/metrics-registry: a scrape of 100 outcomes in two workers',
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) keep(scraped.expose().length)
    },
  },
]
