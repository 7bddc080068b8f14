// One forwarded request through the whole data path, from the bytes of the client to the bytes for the client, on sockets that take everything:
// what is left is our own work, without the kernel's.
import type { OutlierDetection } from '../../../lib/state/outlier-detection.ts'
import { anOutlierDetection } from '../../../test/support/nouns.ts'
import type { Bench } from '../contract.ts'
import { proxy } from './proxy.ts'

/** As Istio's documentation writes it, with everything that has a counter. */
const OUTLIER = anOutlierDetection({
  consecutive5xx: 5,
  consecutiveGateway: 3,
  splitLocalOrigin: true,
  consecutiveLocalOrigin: 5,
})
const OUTLIER_BY_RATE: OutlierDetection = { ...OUTLIER, successRate: { minimumHosts: 5, requestVolume: 100, stdevFactor: 1.9 } }

const REQUEST = 'GET /1k HTTP/1.1\r\nHost: be:9001\r\nUser-Agent: autocannon\r\nAccept: */*\r\n\r\n'
const RESPONSE = `HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 10:50:22 GMT\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\nLast-Modified: Sat, 21 Nov 2026 10:10:54 GMT\r\nConnection: keep-alive\r\nETag: "6b016e2e-400"\r\nAccept-Ranges: bytes\r\n\r\n${'a'.repeat(1024)}`

function forwarded(withLog: boolean, outlierDetection: OutlierDetection | null = null): Bench['fn'] {
  const { io, client, upstream, pool } = proxy({ downstream: 'http1', upstream: 'http1', withLog, outlierDetection })
  const request = Buffer.from(REQUEST, 'latin1')
  const response = Buffer.from(RESPONSE, 'latin1')
  const bytes = io.readBuffer
  return (iterations) => {
    for (let i = 0; i < iterations; i++) {
      bytes.set(request)
      io.enter()
      client.owner.onData(bytes, request.length)
      io.leave()
      bytes.set(response)
      io.enter()
      upstream.owner.onData(bytes, response.length)
      io.leave()
    }
    if (pool.requestsTotal === 0) throw new Error('no request reached the pool')
  }
}

export const benches: readonly Bench[] = [
  { name: 'filter/request: forwarded GET, 1 KB, metrics and access log', fn: forwarded(true) },
  { name: 'filter/request: forwarded GET, 1 KB, metrics only', fn: forwarded(false) },
  { name: 'filter/request: the same with outlier detection', fn: forwarded(false, OUTLIER) },
  { name: 'filter/request: the same with ejection by success rate too', fn: forwarded(false, OUTLIER_BY_RATE) },
]
