// The hash of a request: what it is made of as clients send it.
import { XxHash64 } from '../../../lib/base/xx-hash64.ts'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import { parseRequestHead, StartLine } from '../../../lib/http/h1/parse-head.ts'
import { HeaderMap } from '../../../lib/http/header-map.ts'
import type { CompiledRoute, CompiledWeighted } from '../../../lib/route/compiled-route.ts'
import { RouteHash } from '../../../lib/route/hash-policy.ts'
import type { EditContext } from '../../../lib/route/header-operators.ts'
import type { HashPolicy } from '../../../lib/state/route.ts'
import { type Bench, keep } from '../contract.ts'

const HEAD =
  'GET /api/v1/items/42?page=2&user=u-48151623 HTTP/1.1\r\nHost: reviews.prod\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n' +
  'Cookie: theme=dark; lang=en; sess=0f1e2d3c4b5a6978; consent=1\r\nX-User: 550e8400-e29b-41d4-a716-446655440000\r\n\r\n'

function headersOf(head: string): HeaderMap {
  const headers = new HeaderMap()
  const bytes = Buffer.from(head, 'latin1')
  parseRequestHead(bytes, 0, bytes.length, new StartLine(), headers, 100, 60_000)
  headers.block = head
  return headers
}

const context = { downstreamRemoteAddress: '10.1.2.3:43210', downstreamLocalAddress: '10.0.0.9:9080' } as EditContext
const facts = {
  request: {
    method: 'GET',
    path: '/api/v1/items/42',
    query: 'page=2&user=u-48151623',
    scheme: 'http',
    authority: 'reviews.prod',
    headers: headersOf(HEAD),
    metadata: null,
  },
  context,
}
const route = { action: { kind: 'direct', status: 200, body: '' }, requestEdits: null } as unknown as CompiledRoute
const weighted = { requestEdits: null, hostRewrite: '' } as CompiledWeighted

function policy(name: string, ...policies: HashPolicy[]): Bench {
  const hash = new RouteHash(policies, [])
  const pick = new PickContext()
  return {
    name: `route/hash-policy: ${name}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) {
        hash.compute(facts, route, weighted, pick)
        keep(pick.hashLow)
      }
    },
  }
}

function bytes(length: number): Bench {
  const text = 'abcdefgh'.repeat(Math.ceil(length / 8)).slice(0, length)
  const hash = new XxHash64()
  return {
    name: `base/xx-hash64: ${length} bytes`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) {
        hash.hash(text)
        keep(hash.low)
      }
    },
  }
}

const cookie = (name: string): HashPolicy => ({ kind: 'cookie', name, path: '', ttlSeconds: 0, attributes: [] })

export const benches: readonly Bench[] = [
  policy('header', { kind: 'header', name: 'x-user' }),
  policy('cookie', cookie('sess')),
  policy('cookie that is made', cookie('other')),
  policy('source address', { kind: 'sourceIp' }),
  policy('query parameter', { kind: 'query', name: 'user' }),
  bytes(8),
  bytes(36),
  bytes(256),
]
