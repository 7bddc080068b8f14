// The client of a control plane against one by grpc-js that the test leads.
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { AdsRecorder } from '../support/ads-recorder.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane, namedBytes } from '../support/fake-control-plane.ts'

t.test('delta', async (t) => {
  t.test('what is there comes, is acknowledged, and follows changes', async (t) => {
    const plane = await FakeControlPlane.start(t)
    plane.set(XDS.cluster, 'a', namedBytes('a'))
    plane.set(XDS.cluster, 'b', namedBytes('b'))
    plane.set(XDS.endpoints, 'a', namedBytes('a', 'one'))
    plane.set(XDS.listener, 'l', namedBytes('l'))
    const ads = new AdsRecorder(t, plane, {
      onUpdate: ({ typeUrl }) => {
        if (typeUrl === XDS.cluster) ads.client.setNames(XDS.endpoints, ['a', 'missing'])
        return []
      },
    })
    ads.client.subscribe(XDS.listener, 'wildcard')
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    await plane.synced()
    t.same(ads.held(XDS.cluster), ['a', 'b'])
    t.same(ads.held(XDS.endpoints), ['a', 'missing'], 'an endpoint list that is not there is answered by an empty one')
    t.same(ads.seenOf(XDS.cluster)[0], {
      typeUrl: XDS.cluster,
      origin: 'stream',
      changed: ['a', 'b'],
      removed: [],
      complete: true,
    })
    t.same(
      plane.said.filter((s) => s.kind === 'request').map((s) => [s.typeUrl, s.names, s.node?.id ?? null]),
      [
        [XDS.cluster, [], 'sidecar~10.0.0.7~web-1.default~default.svc.cluster.local'],
        [XDS.listener, [], null],
        [XDS.endpoints, ['a', 'missing'], null],
      ],
      'types in order, who we are once, names behind the clusters',
    )

    plane.put(XDS.cluster, 'c', namedBytes('c'))
    await plane.answered(XDS.cluster)
    plane.remove(XDS.cluster, 'a')
    await plane.answered(XDS.cluster)
    plane.put(XDS.listener, 'm', namedBytes('m'))
    await plane.answered(XDS.listener)
    t.same(ads.held(XDS.cluster), ['b', 'c'])
    t.same(ads.seenOf(XDS.cluster).at(-1)?.removed, ['a'])
    t.same(ads.seenOf(XDS.listener).at(-1)?.changed, ['m'], 'of what is sent whole the unchanged is left out')
    const { status: s } = ads.client
    t.equal(s.state, 'connected')
    t.same(
      s.types.map((x) => [x.short, x.resources, x.answer, x.nacks]),
      [
        ['CDS', 2, 'ACK', 0],
        ['EDS', 2, 'ACK', 0],
        ['LDS', 2, 'ACK', 0],
      ],
    )
  })

  t.test('a NACK names every fault, and what is good is taken', async (t) => {
    const plane = await FakeControlPlane.start(t)
    for (const name of ['good', 'bad', 'worse']) plane.set(XDS.cluster, name, namedBytes(name))
    const ads = new AdsRecorder(t, plane)
    ads.faults = ({ changed }) =>
      changed.filter((r) => r.name !== 'good').map((r) => ({ name: r.name, reason: `${r.name} is no name` }))
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    const nack = await plane.answered(XDS.cluster, 'NACK')
    t.equal(nack.error, 'bad: bad is no name; worse: worse is no name')
    t.same(ads.held(XDS.cluster), ['good'])
    t.same(ads.client.status.types[0]?.refused, [
      { name: 'bad', reason: 'bad is no name' },
      { name: 'worse', reason: 'worse is no name' },
    ])

    ads.faults = () => []
    plane.put(XDS.cluster, 'bad', namedBytes('bad', 'better'))
    await plane.answered(XDS.cluster)
    t.same(ads.held(XDS.cluster), ['bad', 'good'])
    t.same(
      ads.client.status.types[0]?.refused.map((r) => r.name),
      ['worse'],
    )
  })

  t.test('back after the control plane was gone: what was removed meanwhile goes', async (t) => {
    const plane = await FakeControlPlane.start(t)
    for (const name of ['a', 'b']) plane.set(XDS.cluster, name, namedBytes(name))
    for (const name of ['w/1', 'w/2']) plane.set(XDS.address, name, namedBytes(name))
    const ads = new AdsRecorder(t, plane)
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.subscribe(XDS.address, 'wildcard')
    ads.client.start()
    await plane.synced()
    plane.stop()
    await eventually('it is noticed', () => ads.connections.at(-1) === 'disconnected')
    t.same(ads.held(XDS.cluster), ['a', 'b'], 'what is in force stays')
    plane.world.get(XDS.cluster)!.delete('a')
    plane.world.get(XDS.address)!.delete('w/1')
    plane.set(XDS.address, 'w/3', namedBytes('w/3'))
    await plane.resume()
    const s = await plane.nextStream(1)
    await plane.synced()
    t.same(ads.held(XDS.cluster), ['b'])
    t.same(ads.held(XDS.address), ['w/2', 'w/3'])
    t.same(ads.seenOf(XDS.address).at(-1)?.changed, ['w/3'], 'what is held is known by its version')
    const [first] = plane.saidOf(XDS.address, 'request').filter((x) => x.stream === s.index)
    t.same(Object.keys(first?.versions ?? {}), ['w/1', 'w/2'])
    t.ok(Object.values(first?.versions ?? {}).every((v) => v.length === 16))
    t.ok(
      ads.lines.some((line) => line.startsWith('warning: control plane 127.0.0.1:')),
      ads.lines.join('\n'),
    )
  })

  t.test('a refusal says where to look, and is tried again', async (t) => {
    const plane = await FakeControlPlane.start(t)
    plane.refuse = () => ({ code: status.UNAUTHENTICATED, details: 'authentication failure' })
    const ads = new AdsRecorder(t, plane)
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    await eventually('it was refused', () => ads.client.status.lastError !== '')
    t.match(ads.client.status.lastError, /^UNAUTHENTICATED: authentication failure \(look at the token/)
    plane.refuse = () => null
    await plane.synced()
    t.equal(ads.client.status.lastError, '')
  })
})
