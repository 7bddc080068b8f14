// What routes may say besides what istiod makes of VirtualServices (EnvoyFilters, other control planes): the same resources and requests to Envoy and to heddle.
import t from 'tap'
import { findEnvoy } from '../support/envoy.ts'
import { Beside } from '../support/envoy-beside.ts'

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
