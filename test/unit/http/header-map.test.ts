// Fields in order, as they were spelt, and what edits make of them.
import t from 'tap'
import { HeaderMap } from '../../../lib/http/header-map.ts'
import * as H from '../../../lib/http/known-headers.ts'
import { fieldsOf, mapOf } from './kit.ts'

t.test('what is not touched leaves as it came', async (t) => {
  const lines = 'HoSt: a\r\nX-A: 1\r\nx-b: 2\r\nX-A: 3\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\n'
  t.equal(mapOf(lines).serialise(), lines)
  t.equal(new HeaderMap().serialise(), '')
})

t.test('lines of another form are written in the one form', async (t) => {
  const rows: readonly (readonly [string, string, string])[] = [
    ['no blank', 'a:b\r\n', 'a: b\r\n'],
    ['two blanks', 'a:  b\r\n', 'a: b\r\n'],
    ['a tab', 'a:\tb\r\n', 'a: b\r\n'],
    ['blanks behind', 'a: b \t\r\n', 'a: b\r\n'],
    ['an empty value', 'a:\r\n', 'a: \r\n'],
    ['only blanks', 'a:   \r\n', 'a: \r\n'],
  ]
  for (const [what, line, expected] of rows) {
    t.equal(mapOf(line).serialise(), expected, what)
    t.equal(mapOf(`x: 1\r\n${line}y: 2\r\n`).serialise(), `x: 1\r\n${expected}y: 2\r\n`, `${what}, between others`)
    t.equal(mapOf(line + line).serialise(), expected + expected, `${what}, twice`)
  }
})

t.test('removal', async (t) => {
  const rows: readonly (readonly [string, string, string])[] = [
    ['a', 'a: 1\r\nb: 2\r\nc: 3\r\n', 'b: 2\r\nc: 3\r\n'],
    ['b', 'a: 1\r\nb: 2\r\nc: 3\r\n', 'a: 1\r\nc: 3\r\n'],
    ['c', 'a: 1\r\nb: 2\r\nc: 3\r\n', 'a: 1\r\nb: 2\r\n'],
    ['a', 'A: 1\r\nb: 2\r\na: 3\r\n', 'b: 2\r\n'],
    ['z', 'a: 1\r\n', 'a: 1\r\n'],
    ['te', 'TE: trailers\r\ntea: 1\r\nte: gzip\r\n', 'tea: 1\r\n'],
    ['x-envoy-max-retries', 'x-envoy-max-retries: 1\r\nx-envoy-retry-on: 5xx\r\n', 'x-envoy-retry-on: 5xx\r\n'],
  ]
  for (const [name, lines, expected] of rows) {
    const map = mapOf(lines)
    map.remove(name)
    t.equal(map.serialise(), expected, `${name} of ${JSON.stringify(lines)}`)
    t.equal(map.get(name), null)
    t.equal(map.indexOf(name, 0), -1)
  }
})

t.test('set and add', async (t) => {
  const map = mapOf('Host: a\r\nx: 1\r\nX: 2\r\n')
  map.set('X', '3')
  t.equal(map.serialise(), 'Host: a\r\nX: 3\r\n', 'set replaces all of a name')
  map.set('host', 'b')
  t.equal(map.serialise(), 'X: 3\r\nhost: b\r\n')
  t.equal(map.known(H.H_HOST, 'host'), 'b', 'a known name that was set is found')
  t.equal(map.firstKnown(H.H_HOST), -1, 'though not among the parsed')
  map.add('x', '4')
  t.equal(map.get('x'), '3', 'the first one')
  t.same(fieldsOf(map), ['X: 3', 'host: b', 'x: 4'])
  map.remove('x')
  t.same(fieldsOf(map), ['host: b'])
  map.append('x', '5')
  t.equal(map.serialise(), 'host: b\r\nx: 5\r\n')
})

t.test('known fields', async (t) => {
  const map = mapOf('Via: 1\r\nCONTENT-LENGTH: 1\r\ncontent-length: 2\r\nContent-Length: 3\r\n')
  const id = H.H_CONTENT_LENGTH
  const first = map.firstKnown(id)
  t.equal(map.valueAt(first), '1')
  t.equal(map.valueAt(map.nextKnown(id, first)), '2')
  map.removeAt(first)
  t.equal(map.valueAt(map.firstKnown(id)), '2', 'the first that is left')
  map.append('content-length', '9')
  map.removeKnown(id)
  t.equal(map.firstKnown(id), -1)
  t.equal(map.serialise(), 'Via: 1\r\ncontent-length: 9\r\n', 'what was added stays')
})

t.test('a map that is used again has nothing of before', async (t) => {
  const map = mapOf('host: a\r\nx: 1\r\n')
  map.add('y', '2')
  map.clear()
  t.equal(map.serialise(), '')
  t.equal(map.size, 0)
  t.equal(map.firstKnown(H.H_HOST), -1)
  for (const name of ['host', 'x', 'y']) t.equal(map.get(name), null, name)
  map.add('z', '3')
  t.equal(map.serialise(), 'z: 3\r\n')
  t.equal(map.get('y'), null)
})
