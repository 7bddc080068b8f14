// Maps go from stream to stream, across connections: never to two that are open, and without what was in them.
import t from 'tap'
import { takeMap } from '../../../../lib/http/h2/spare-maps.ts'
import { get, server } from './kit.ts'

t.test('a map that is given back is free once, however often that is said', async (t) => {
  const side = server()
  side.feed(get(1, ['x-secret', 'of the first']))
  const first = side.stream(1)
  const { headers } = first
  first.sendHeaders(204, '', true)
  side.h2.recycle(first)
  side.h2.recycle(first)
  const taken = takeMap()
  t.equal(taken, headers)
  t.equal(taken.block, '', 'nothing of the stream is kept')
  t.not(takeMap(), headers)
})

t.test('the map of a stream that is open stays with it until it is closed', async (t) => {
  const one = server()
  one.feed(get(1, ['x-of', 'one']))
  const stream = one.stream(1)
  one.h2.recycle(stream)
  const other = server()
  other.feed(get(1, ['x-of', 'another']))
  t.not(other.stream(1).headers, stream.headers)
  t.equal(stream.headers.get('x-of'), 'one')
  stream.sendHeaders(204, '', true)
  t.ok(stream.closed)
  other.feed(get(3, ['x-of', 'a third']))
  t.equal(other.stream(3).headers, stream.headers)
  t.equal(other.stream(3).headers.get('x-of'), 'a third')
  t.equal(other.stream(1).headers.get('x-of'), 'another')
})
