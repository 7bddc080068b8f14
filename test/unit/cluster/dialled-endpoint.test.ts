// The endpoint that a client dialled itself: what is known of it, of all of its address, and of whatever is not listed.
import t from 'tap'
import { dialledEndpoint } from '../../../lib/cluster/dialled-endpoint.ts'
import { aCluster, anEndpoint } from '../../support/nouns.ts'

t.test('dialled addresses', async (t) => {
  const tunnel = { address: '', port: 15_008, identities: [], authority: '', fields: '', innerFields: null }
  const listed = [
    anEndpoint({ address: '10.0.0.1', port: 80, weight: 2 }),
    anEndpoint({ address: '10.0.0.2', port: 0, weight: 3 }),
  ]
  const known = aCluster({ type: 'ORIGINAL_DST', endpoints: listed })
  const all = aCluster({ type: 'ORIGINAL_DST', endpoints: [...listed, anEndpoint({ address: '', port: 0, weight: 4, tunnel })] })
  t.match(dialledEndpoint('10.0.0.1:80', known), { port: 80, weight: 2 })
  t.match(dialledEndpoint('10.0.0.1:81', known), { port: 81, weight: 1, tunnel: null })
  t.match(dialledEndpoint('10.0.0.2:81', known), { port: 81, weight: 3 })
  t.match(dialledEndpoint('10.0.0.1:80', all), { weight: 2, tunnel: null })
  t.match(dialledEndpoint('[2001:db8::1]:81', all), {
    address: '2001:db8::1',
    port: 81,
    weight: 4,
    tunnel: { ...tunnel, address: '2001:db8::1' },
  })
  t.equal(dialledEndpoint('nowhere', all), null)
  const elsewhere = aCluster({ type: 'ORIGINAL_DST', endpoints: [anEndpoint({ address: '', port: 9080 })] })
  t.match(dialledEndpoint('10.0.0.3:80', elsewhere), { address: '10.0.0.3', port: 9080 })
})
