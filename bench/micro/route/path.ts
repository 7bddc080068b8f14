// Path normalisation: nothing to do is the everyday case.
import { normalizePath } from '../../../lib/route/path.ts'
import { type Bench, keep } from '../contract.ts'

function bench(name: string, path: string): Bench {
  return {
    name: `route/path: ${name}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) keep(normalizePath(path))
    },
  }
}

export const benches: readonly Bench[] = [
  bench('short, normal', '/productpage'),
  bench('60 characters, normal', '/api/v1/namespaces/default/services/reviews/endpoints/summary'),
  bench('with %20', '/files/annual%20report.pdf'),
  bench('dot segments', '/static/../a/./b/%2e%2e/c'),
]
