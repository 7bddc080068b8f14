import t from 'tap'
import { type NamedService, NameTable } from '../../../lib/dns/name-table.ts'
import { parseResolvConf } from '../../../lib/dns/resolv-conf.ts'

const service = (host: string, addresses: readonly string[], more: Partial<NamedService> = {}): NamedService => ({
  ...{ host, addresses, registry: 'External', shortName: '', namespace: '', alsoCalled: [] },
  ...more,
})
const ofKubernetes = (shortName: string, namespace: string, address: string, domain = 'cluster.local'): NamedService =>
  service(`${shortName}.${namespace}.svc.${domain}`, [address], { registry: 'Kubernetes', shortName, namespace })

const table = new NameTable(
  [
    ofKubernetes('reviews', 'shop', '10.0.0.1'),
    ofKubernetes('ratings', 'other', '10.0.0.2'),
    ofKubernetes('db-0.db', 'shop', '10.0.0.3'),
    ofKubernetes('far', 'shop', '10.0.0.4', 'far.local'),
    service('API.example.com', ['1.2.3.4', '2001:db8::1']),
    service('*.example.com', ['1.2.3.5']),
    service('*.deep.example.com', ['1.2.3.6']),
    service('six.example.org', ['::ffff:1.2.3.4', '2001:db8::', '::1', 'fe80::1%eth0', 'nonsense']),
    service('none.example.org', ['nonsense']),
    // Another's further name is this one's own.
    service('reviews.shop', ['10.0.0.9']),
  ],
  { namespace: 'shop', domain: 'cluster.local', searchDomain: 'shop.svc.cluster.local' },
)

t.test('names of the mesh', async (t) => {
  for (const [name, v4, alias = ''] of [
    ['reviews.shop.svc.cluster.local', '10.0.0.1'],
    ['reviews.shop.svc', '10.0.0.1'],
    ['reviews', '10.0.0.1'],
    ['reviews.shop', '10.0.0.9'],
    ['ratings.other', '10.0.0.2'],
    ['ratings', null],
    ['db-0.db', '10.0.0.3'],
    ['db-0.db.shop', '10.0.0.3'],
    ['far.shop.svc.far.local', '10.0.0.4'],
    ['far.shop', null],
    ['far', null],
    ['api.example.com', '1.2.3.4'],
    ['x.example.com', '1.2.3.5'],
    ['x.y.example.com', '1.2.3.5'],
    ['x.deep.example.com', '1.2.3.6'],
    ['deep.example.com', '1.2.3.5'],
    ['example.com', null],
    ['none.example.org', null],
    ['', null],
    // What a resolver asks for first, with the search domain behind the name.
    ['ratings.other.shop.svc.cluster.local', '10.0.0.2', 'ratings.other'],
    ['api.example.com.shop.svc.cluster.local', '1.2.3.4', 'api.example.com'],
    ['x.example.com.shop.svc.cluster.local', '1.2.3.5', 'x.example.com'],
    ['unknown.shop.svc.cluster.local', null],
    ['www.google.com', null],
  ] as const) {
    const found = table.find(name)
    t.equal(found === null ? null : found.v4.map((a) => a.join('.')).join(), v4, name)
    if (found !== null) t.equal(found.alias, alias, `${name}: alias`)
  }
})

t.test('addresses', async (t) => {
  const six = table.find('six.example.org')
  t.same(
    six?.v6.map((a) => Buffer.from(a).toString('hex')),
    ['00000000000000000000ffff01020304', '20010db8000000000000000000000000', '00000000000000000000000000000001'],
  )
  t.same(six?.v4, [])
  const both = table.find('api.example.com')
  t.same([both?.v4.length, both?.v6.length], [1, 1])
})

t.test('resolv.conf', async (t) => {
  const text =
    '# mine\nnameserver 10.96.0.10\nnameserver 2001:db8::53 ; six\nnameserver nobody\ndomain a.b\nsearch shop.svc.cluster.local. svc.cluster.local\noptions ndots:5\n'
  t.same(parseResolvConf(text), {
    servers: ['10.96.0.10:53', '[2001:db8::53]:53'],
    search: ['shop.svc.cluster.local', 'svc.cluster.local'],
  })
  t.same(parseResolvConf(''), { servers: [], search: [] })
})
