// What counts as a failure of an endpoint. Each row was put to Envoy 1.40 under the configuration of istiod 1.29 too (two endpoints, one of
// which does this every time, consecutive5xxErrors 3, maxEjectionPercent 50) and is expected as it was answered there.
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

t.setTimeout(120_000)

interface Row {
  readonly name: string
  /** What `x-want` asks of the bad endpoint, see `obey`. */
  readonly want: string
  /** So many reach it before it is left out; 0: it never is. */
  readonly failures: number
  readonly rule?: object
}

const ROWS: readonly Row[] = [
  { name: '500', want: '500', failures: 3 },
  { name: '599', want: '599', failures: 3 },
  { name: '404', want: '404', failures: 0 },
  { name: 'closed before an answer', want: 'reset', failures: 3 },
  { name: 'what is no HTTP', want: 'garbage', failures: 3 },
  { name: 'a body cut short: its status was a success', want: 'cut', failures: 0 },
  { name: 'no answer within the timeout', want: 'silence', failures: 3, rule: { timeout: '100ms' } },
  {
    name: 'no answer within the time of an attempt',
    want: 'silence',
    failures: 3,
    rule: { timeout: '30s', retries: { attempts: 1, perTryTimeout: '100ms', retryOn: '5xx' } },
  },
  { name: 'each attempt for itself', want: '503', failures: 3, rule: { retries: { attempts: 2, retryOn: '5xx' } } },
  { name: 'a client that gives up', want: 'silence', failures: 0 },
]

const hostOf = (row: Row): string => `row-${ROWS.indexOf(row)}`

async function obey(exchange: Exchange): Promise<void> {
  const want = header(exchange.request, 'x-want') ?? '200'
  if (want === 'reset') exchange.reset()
  else if (want === 'garbage') await exchange.write('not http at all\r\n\r\n')
  else if (want === 'cut') {
    await exchange.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf')
    exchange.reset()
  } else if (want !== 'silence') await exchange.answer({ status: Number(want) })
}

const ejected = async (proxy: HeddleProcess, row: Row): Promise<number> =>
  (await proxy.metrics()).value('envoy_cluster_outlier_detection_ejections_active', {
    cluster_name: `outbound|80||${hostOf(row)}.default.svc.cluster.local`,
  }) ?? 0

t.test('as Envoy answered', async (t) => {
  const bad = await Upstream.start(t, (e) => void obey(e).catch(() => {}))
  const good = await Upstream.start(t, (e) => e.answer())
  const outlierDetection = { consecutive5xxErrors: 3, interval: '60s', baseEjectionTime: '60s', maxEjectionPercent: 50 }
  const trafficPolicy = { loadBalancer: { simple: 'ROUND_ROBIN' }, outlierDetection }
  const proxy = await startProxy(t, {
    resources: yaml(
      ...ROWS.flatMap((row) => [
        service({ host: hostOf(row), endpoints: [good, bad] }),
        destinationRule(hostOf(row), hostOf(row), { trafficPolicy }),
        virtualService(hostOf(row), [hostOf(row)], [{ ...row.rule, route: [{ destination: { host: hostOf(row) } }] }]),
      ]),
    ),
  })
  for (const row of ROWS) {
    const before = bad.exchanges.length
    for (let i = 0; i < 12; i++) {
      const seen = bad.exchanges.length
      const client = await connectAny(t, proxy.port())
      await client.send({ host: hostOf(row), target: `/${i}`, headers: { 'x-want': row.want } })
      const isOver = () => client.isOver || client.responses[0]?.complete === true
      const isHeld = () => row.failures === 0 && row.want === 'silence' && bad.exchanges.length > seen
      await eventually('it to be over, or at the bad one', () => isOver() || isHeld())
      client.destroy()
    }
    const count = bad.exchanges.length - before
    t.equal(count, row.failures === 0 ? 6 : row.failures, row.name)
    t.equal(await ejected(proxy, row), row.failures === 0 ? 0 : 1, row.name)
  }
})
