// Virtual host look-up: exact names, the port in the way, upper case, wildcards.
import { hostOf } from '../../../lib/route/authority.ts'
import { DomainIndex } from '../../../lib/route/domain-index.ts'
import { type Bench, keep } from '../contract.ts'

const services = Array.from({ length: 200 }, (_, i) => `service-${i}.default.svc.cluster.local`)
const exact = new DomainIndex([...services, '*'].map((d, i) => [d, i] as const))
const wild = new DomainIndex(
  [...services, '*.example.com', '*.deep.example.com', '*.wild.test', '*'].map((d, i) => [d, i] as const),
)

function bench(name: string, index: DomainIndex<number>, authority: string): Bench {
  return {
    name: `route/virtual-host: ${name}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) keep(index.find(hostOf(authority)))
    },
  }
}

export const benches: readonly Bench[] = [
  bench('exact', exact, 'service-150.default.svc.cluster.local'),
  bench('exact with port', exact, 'service-150.default.svc.cluster.local:9080'),
  bench('exact in upper case', exact, 'Service-150.Default.svc.cluster.local'),
  bench('suffix', wild, 'a.b.example.com'),
  bench('star', wild, 'unknown.host'),
]
