// Which requests are there for those who ask with `heddle explain ID`.
import t from 'tap'
import type { HttpStream } from '../../../../lib/filter/http/http-stream.ts'
import { RecentRequests } from '../../../../lib/filter/http/recent-requests.ts'

/** What of a request is looked at. */
function request(id: string, endMs: number, responseCode = 200, responseFlags = 0): HttpStream {
  const stream = { endMs, responseCode, responseFlags, router: {}, requestHeader: () => id }
  return stream as unknown as HttpStream
}

t.test('a quiet worker keeps its last 1,024 requests', async (t) => {
  const recent = new RecentRequests()
  for (let i = 0; i < 2000; i++) recent.add(request(`r${i}`, 1000 + i))
  t.equal(recent.find('r1999')?.endMs, 2999)
  t.ok(recent.find('r976'))
  t.equal(recent.find('r975'), null)
})

t.test('of a busy one, those that failed are not crowded out by those that went well', async (t) => {
  const recent = new RecentRequests()
  for (let i = 0; i < 50_000; i++) recent.add(request(`good${i}`, 1000 + i / 100))
  recent.add(request('status', 1499, 503))
  recent.add(request('flag', 1499, 200, 1))
  for (let i = 0; i < 5000; i++) recent.add(request(`later${i}`, 1499))
  t.ok(recent.find('status'))
  t.ok(recent.find('flag'))
  t.ok(recent.find('good0'), 'the first of a moment')
  t.equal(recent.find('good9000'), null, 'one of too many')
  t.ok(recent.find('good10000'), 'the next moment')
})
