import t from 'tap'
import { hostOf, lowerCase, portOf } from '../../../lib/route/authority.ts'
import { BY_EXACT, BY_PREFIX, BY_STAR, BY_SUFFIX } from '../../../lib/route/domain-index.ts'
import { table, virtualHost, world } from './world.ts'

t.test('host and port of an authority', async (t) => {
  const rows: [authority: string, host: string, port: number][] = [
    ['a', 'a', -1],
    ['A.Default.SVC', 'a.default.svc', -1],
    ['a:9080', 'a', 9080],
    ['A:80', 'a', 80],
    ['a:', 'a', -1],
    ['a:x', 'a', -2],
    ['a:65535', 'a', 65535],
    ['a:65536', 'a', -2],
    ['[::1]', '[::1]', -1],
    ['[::1]:80', '[::1]', 80],
    ['[2001:DB8::1]:80', '[2001:db8::1]', 80],
    ['', '', -1],
    ['a,b', 'a,b', -1],
    ['user@a', 'user@a', -1],
  ]
  for (const [authority, host, port] of rows) {
    t.equal(lowerCase(hostOf(authority)), host, authority)
    t.equal(portOf(authority), port, authority)
  }
})

t.test('exact, then the longest suffix, then the longest prefix, then the star', async (t) => {
  const hosts = [
    virtualHost('star', ['*']),
    virtualHost('exact', ['a', 'a.default', '10.96.0.2', '2001:db8::1', 'x.deep.example.com', 'c.foo.com']),
    virtualHost('example', ['*.example.com']),
    virtualHost('deep', ['*.deep.example.com']),
    virtualHost('foo', ['*.foo.com']),
    virtualHost('pre', ['foo.*']),
    virtualHost('prelong', ['foo.bar.*']),
    virtualHost('late', ['a']),
  ]
  const compiled = world([table(80, hosts)]).byPort.get(80)
  const rows: [authority: string, name: string, how: number][] = [
    ['a', 'exact', BY_EXACT],
    ['A', 'exact', BY_EXACT],
    ['a:1234', 'exact', BY_EXACT],
    ['a:', 'exact', BY_EXACT],
    ['a.', 'star', BY_STAR],
    ['10.96.0.2:1', 'exact', BY_EXACT],
    ['[2001:db8::1]:80', 'exact', BY_EXACT],
    ['x.deep.example.com', 'exact', BY_EXACT],
    ['y.deep.example.com', 'deep', BY_SUFFIX],
    ['deep.example.com', 'example', BY_SUFFIX],
    ['Y.EXAMPLE.com:9', 'example', BY_SUFFIX],
    ['example.com', 'star', BY_STAR],
    ['.example.com', 'star', BY_STAR],
    ['a.foo.com', 'foo', BY_SUFFIX],
    ['a.b.foo.com', 'foo', BY_SUFFIX],
    ['foo.com', 'pre', BY_PREFIX],
    ['foo.bar.net', 'prelong', BY_PREFIX],
    ['foo.bar.', 'pre', BY_PREFIX],
    ['foo.', 'star', BY_STAR],
    ['foo.foo.com', 'foo', BY_SUFFIX],
    ['', 'star', BY_STAR],
  ]
  for (const [authority, name, how] of rows) {
    const found = compiled?.find(hostOf(authority))
    t.equal(compiled?.virtualHosts[found?.value ?? -1]?.name, name, authority)
    t.equal(found?.how, how, authority)
  }
})

t.test('without a star an unknown host has no virtual host', async (t) => {
  t.equal(
    world([table(80, [virtualHost('a', ['a'])])])
      .byPort.get(80)
      ?.find('b'),
    null,
  )
})

t.test('tables by name and by port', async (t) => {
  const tables = world([table(8081, [], 'inbound|8081'), table(8081, []), table(80, [])])
  t.equal(tables.byPort.get(8081)?.name, '8081')
  t.equal(tables.tables.get('inbound|8081')?.index, 0)
  t.equal(tables.byPort.get(9), undefined)
  t.equal(tables.version, 1)
})

t.test('default ports', async (t) => {
  const tables = world(
    [],
    [],
    [
      ['a', 9080],
      ['*.example.com', 8080],
    ],
  )
  t.equal(tables.defaultPort('a'), 9080)
  t.equal(tables.defaultPort('x.example.com'), 8080)
  t.equal(tables.defaultPort('example.com'), 80)
})
