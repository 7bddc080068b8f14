// The client of a control plane against one by grpc-js that the test leads.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import grpc, { status } from '@grpc/grpc-js'
import t from 'tap'
import { Rng } from '../../lib/base/rng.ts'
import { parseBootstrap } from '../../lib/bootstrap/load.ts'
import { ControlPlaneMetrics } from '../../lib/telemetry/control-plane-metrics.ts'
import { MetricsRegistry } from '../../lib/telemetry/metrics-registry.ts'
import { openAdsClient } from '../../lib/xds/client/open-ads-client.ts'
import { ResourceCache } from '../../lib/xds/client/resource-cache.ts'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { AdsRecorder } from '../support/ads-recorder.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane, namedBytes } from '../support/fake-control-plane.ts'
import { ManualTime } from '../support/manual-time.ts'
import { Metrics } from '../support/metrics.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'

function folder(t: Teardown): string {
  const dir = mkdtempSync(path.join(tmpdir(), 'heddle-ads-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

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

t.test('the state of the world', async (t) => {
  const plane = await FakeControlPlane.start(t)
  for (const name of ['a', 'b']) {
    plane.set(XDS.cluster, name, namedBytes(name))
    plane.set(XDS.endpoints, name, namedBytes(name, 'one'))
  }
  const ads = new AdsRecorder(t, plane, {
    protocol: 'sotw',
    onUpdate: ({ typeUrl }) => {
      if (typeUrl === XDS.cluster) ads.client.setNames(XDS.endpoints, plane.world.get(XDS.cluster)!.keys())
      return []
    },
  })
  ads.client.subscribe(XDS.cluster, 'wildcard')
  ads.client.start()
  await plane.synced()
  await plane.answered(XDS.endpoints)
  t.same(ads.held(XDS.endpoints), ['a', 'b'])

  plane.put(XDS.endpoints, 'a', namedBytes('a', 'two'))
  await plane.answered(XDS.endpoints)
  t.same(ads.seenOf(XDS.endpoints).at(-1)?.changed, ['a'])

  plane.alter = (response) =>
    response.type_url === XDS.endpoints ? { resources: response.resources.filter((r) => r.name === 'b') } : response
  plane.put(XDS.endpoints, 'b', namedBytes('b', 'two'))
  await plane.answered(XDS.endpoints)
  t.same(ads.held(XDS.endpoints), ['a', 'b'], 'endpoints that a response does not name stay')
  plane.alter = (response) => response

  plane.set(XDS.cluster, 'c', namedBytes('c'))
  plane.remove(XDS.cluster, 'b')
  await plane.answered(XDS.cluster)
  t.same(ads.held(XDS.cluster), ['a', 'c'], 'a cluster that a response does not name is gone')
  t.same(ads.seenOf(XDS.cluster).at(-1)?.removed, ['b'])
  await eventually('endpoints follow', () => ads.held(XDS.endpoints).join() === 'a,c')
  t.same(plane.saidOf(XDS.endpoints).at(-1)?.names, ['a', 'c'], 'all names')

  const before = ads.client.status.types[0]!.version
  ads.faults = ({ typeUrl, changed }) => (typeUrl === XDS.cluster ? changed.map(({ name }) => ({ name, reason: 'no' })) : [])
  plane.put(XDS.cluster, 'd', namedBytes('d'))
  const nack = await plane.answered(XDS.cluster, 'NACK')
  t.same([nack.version, nack.error], [before, 'd: no'], 'the version that is in force')
  ads.faults = () => []
  await plane.closeCleanly()
  await plane.resume()
  await plane.nextStream(1)
  await plane.answered(XDS.cluster)
  t.same(ads.held(XDS.cluster), ['a', 'c', 'd'])
  const again = plane.said.filter((s) => s.stream > 0 && s.kind === 'request')
  t.same(
    again.map((s) => [s.typeUrl, s.names, s.version === '', s.nonce, s.node !== null]),
    [
      [XDS.cluster, [], false, '', true],
      [XDS.endpoints, ['a', 'c', 'd'], false, '', false],
    ],
    'versions are told, and no nonce of another stream',
  )
})

t.test('TLS: the server is verified, the token read for each connection, and tenants told', async (t) => {
  const ca = await SigningCa.root(t)
  const { chain, key } = await ca.issue({ dnsNames: ['istiod.istio-system.svc'] })
  const pair = { cert_chain: Buffer.from(chain), private_key: Buffer.from(key) }
  const plane = await FakeControlPlane.start(t, {
    credentials: grpc.ServerCredentials.createSsl(null, [pair], false),
  })
  const tokens: unknown[] = []
  plane.refuse = (metadata) => {
    tokens.push(metadata.get('authorization')[0])
    return metadata.get('authorization')[0] === 'Bearer second'
      ? null
      : { code: status.UNAUTHENTICATED, details: 'authentication failure' }
  }
  plane.set(XDS.cluster, 'a', namedBytes('a'))
  const dir = folder(t)
  writeFileSync(path.join(dir, 'roots.pem'), ca.rootPem)
  writeFileSync(path.join(dir, 'token'), 'first\n')
  const open = (more: string, env: Readonly<Record<string, string>> = {}) => {
    const yaml = `xds: { address: "${plane.hostAndPort}", roots: roots.pem, token: token, headers: { x-tenant: t1 }, ${more} }`
    const loaded = parseBootstrap(yaml, path.join(dir, 'heddle.yaml'))
    if (!loaded.ok) throw new Error(loaded.errors.map((e) => e.message).join())
    const client = openAdsClient({
      bootstrap: loaded.config,
      env,
      version: '1',
      rng: new Rng(1),
      log: { debug() {}, info() {}, warning() {} },
      onUpdate: () => [],
    })
    t.teardown(() => client.stop())
    client.subscribe(XDS.cluster, 'wildcard')
    client.start()
    return client
  }
  const client = open('serverName: istiod.istio-system.svc', { XDS_HEADER_X_ENV: 'e', ISTIO_META_CLUSTER_ID: 'c1' })
  await eventually('the first token is refused', () => /UNAUTHENTICATED/.test(client.status.lastError))
  writeFileSync(path.join(dir, 'token'), 'second\n')
  await plane.synced()
  t.equal(tokens[0], 'Bearer first')
  const { metadata } = plane.current!
  t.same(
    ['clusterid', 'x-tenant', 'x_env'].map((name) => metadata.get(name)[0]),
    ['c1', 't1', 'e'],
  )
  t.match(plane.current!.node?.id, /^sidecar~/)
  await client.stop()

  const other = open('serverName: other.svc')
  await eventually('a certificate for another name is refused', () => /not in the cert's altnames/.test(other.status.lastError))
  await other.stop()
  const stranger = await SigningCa.root(t)
  writeFileSync(path.join(dir, 'other.pem'), stranger.rootPem)
  const untrusted = open('serverName: istiod.istio-system.svc', { XDS_ROOT_CA: path.join(dir, 'other.pem') })
  await eventually('an unknown authority is refused', () =>
    /not signed by one of the given roots/.test(untrusted.status.lastError),
  )
})

t.test('the end of streams', async (t) => {
  t.test('a close that was announced is no fault', async (t) => {
    const plane = await FakeControlPlane.start(t)
    plane.set(XDS.cluster, 'a', namedBytes('a'))
    const ads = new AdsRecorder(t, plane)
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    await plane.synced()
    await plane.closeCleanly()
    await plane.resume()
    await plane.nextStream(1)
    await plane.synced()
    t.same(ads.connections, ['connected', 'disconnected', 'connected'])
    t.same(
      ads.lines.filter((line) => line.startsWith('warning') && !line.includes('no connection')),
      [],
    )
  })

  t.test('a server that starts is waited for without an alarm', async (t) => {
    const plane = await FakeControlPlane.start(t)
    let refusals = 3
    const details = 'server is not ready to serve discovery information'
    plane.refuse = () => (refusals-- > 0 ? { code: status.UNAVAILABLE, details } : null)
    const ads = new AdsRecorder(t, plane)
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    await plane.synced()
    t.same(
      ads.lines.filter((line) => line.startsWith('warning')),
      [],
    )
    t.equal(ads.lines.filter((line) => line.includes('is starting and not ready yet')).length, 3)
  })

  t.test('a connection through which nothing comes is given up', async (t) => {
    const plane = await FakeControlPlane.start(t)
    const ads = new AdsRecorder(t, plane, { keepaliveMs: 50, keepaliveTimeoutMs: 50 })
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    await plane.synced()
    plane.freeze()
    await plane.nextStream(1)
    t.ok(ads.lines.some((line) => /^warning: .*no answer to a PING/.test(line)))
  })

  t.test('bytes that are no response end the stream', async (t) => {
    const plane = await FakeControlPlane.start(t)
    const ads = new AdsRecorder(t, plane)
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    await plane.synced()
    plane.current!.sendRaw(Buffer.from([0x0a, 0x7f]))
    await plane.nextStream(1)
    t.ok(ads.lines.some((line) => line.includes('a message is no response of the protocol: it ends within a field')))
  })
})

t.test('odd control planes', async (t) => {
  t.test('one that insists on what is refused is answered later and later', async (t) => {
    const plane = await FakeControlPlane.start(t)
    plane.insists = true
    plane.set(XDS.cluster, 'a', namedBytes('a'))
    const time = new ManualTime(0)
    const registry = new MetricsRegistry()
    const ads = new AdsRecorder(t, plane, { schedule: time.schedule })
    ads.client.measure(new ControlPlaneMetrics(registry.main))
    ads.faults = ({ changed }) => changed.map(({ name }) => ({ name, reason: 'no' }))
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    await eventually('the fourth waits', () => time.pending === 1)
    t.equal(plane.saidOf(XDS.cluster, 'NACK').length, 3)
    time.advance(1200)
    await eventually('the fifth waits', () => time.pending === 1)
    t.equal(plane.saidOf(XDS.cluster, 'NACK').length, 4)
    t.match(ads.client.status.types[0], { answer: 'NACK', nacks: 5, lastNack: { text: 'a: no' } })
    t.equal(ads.lines.filter((line) => line.startsWith('warning: CDS')).length, 1, 'the same is told once')
    plane.insists = false
    ads.faults = () => []
    plane.put(XDS.cluster, 'a', namedBytes('a', 'good'))
    await plane.answered(XDS.cluster)
    t.equal(time.pending, 0, 'the answer to what has been overtaken is dropped')
    const metrics = new Metrics(registry.expose())
    const value = (name: string, labels: Readonly<Record<string, string>> = {}) => metrics.value(name, labels)
    t.equal(value('envoy_control_plane_connected_state'), 1)
    t.equal(value('envoy_cluster_manager_cds_update_rejected'), 5)
    t.equal(value('envoy_cluster_manager_cds_update_success'), 1)
    t.equal(value('heddle_xds_nacks_total', { type: 'CDS' }), 5)
    t.equal(value('heddle_xds_resources', { type: 'CDS' }), 1)
    t.equal(value('heddle_xds_refused_resources', { type: 'CDS' }), 0)
  })

  t.test('a resource twice, one of another type, one without content, a stray type, no nonce', async (t) => {
    const plane = await FakeControlPlane.start(t)
    plane.alter = (response) => {
      const [a] = response.resources
      if (a === undefined) return response
      return {
        resources: [
          a,
          { ...a, name: 'b', resource: { typeUrl: XDS.listener, value: a.resource!.value } },
          { ...a, name: 'c', resource: null },
          a,
        ],
      }
    }
    plane.set(XDS.cluster, 'a', namedBytes('a'))
    const ads = new AdsRecorder(t, plane)
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    const nack = await plane.answered(XDS.cluster, 'NACK')
    t.equal(nack.error, `b: it is a ${XDS.listener}; c: it has no content; a: it is there twice`)
    t.same(ads.held(XDS.cluster), [])
    t.match(ads.seenOf(XDS.cluster), [{ changed: [] }], 'which of two is meant nobody knows, so neither is used')
    plane.alter = () => ({ nonce: '' })
    plane.put(XDS.cluster, 'a', namedBytes('a', 'more'))
    await eventually('what has no nonce is taken, and not answered', () => ads.held(XDS.cluster).length === 1)
    plane.alter = () => ({ type_url: `${XDS.cluster}2`, nonce: 'stray' })
    plane.put(XDS.cluster, 'a', namedBytes('a', 'stray'))
    plane.alter = (response) => ({ nonce: 'again', removed_resources: response.resources.map((r) => r.name) })
    for (const text of ['1', '2']) plane.put(XDS.cluster, 'a', namedBytes('a', text))
    await eventually('a nonce that is used again', () => plane.said.filter(({ nonce }) => nonce === 'again').length === 2)
    t.match(ads.seen.slice(-2), [{ changed: ['a'] }, { changed: ['a'] }], 'what comes in the response that removes it is there')
    t.same([ads.held(XDS.cluster), plane.said.filter(({ nonce }) => nonce === 'stray')], [['a'], []])
  })

  t.test('names that are wanted while a NACK waits', async (t) => {
    const plane = await FakeControlPlane.start(t)
    plane.insists = true
    plane.set(XDS.endpoints, 'a', namedBytes('a'))
    const time = new ManualTime(0)
    const ads = new AdsRecorder(t, plane, { protocol: 'sotw', schedule: time.schedule })
    ads.faults = ({ changed }) => changed.map(({ name }) => ({ name, reason: 'no' }))
    ads.client.subscribe(XDS.endpoints, new Set(['a']))
    ads.client.start()
    await eventually('the fourth waits', () => time.pending === 1)
    plane.insists = false
    plane.answers = () => false
    ads.client.setNames(XDS.endpoints, ['a', 'b'])
    await eventually('they are asked for', () => plane.saidOf(XDS.endpoints).at(-1)?.names.length === 2)
    time.advance(1200)
    const nack = await plane.answered(XDS.endpoints, 'NACK')
    t.same(nack.names, ['a', 'b'], 'it does not take them back')
  })

  t.test('one that says something and is gone, again and again', async (t) => {
    const plane = await FakeControlPlane.start(t)
    plane.set(XDS.cluster, 'a', namedBytes('a'))
    const pauses: number[] = []
    const pause = async (ms: number) => {
      pauses.push(ms)
    }
    const ads = new AdsRecorder(t, plane, { pause, backoff: { initialMs: 10, maxMs: 15_000, factor: 2, jitter: 0 } })
    plane.alter = (response, stream) => {
      setImmediate(() => {
        if (stream.index >= 12) return
        if (stream.index % 2 === 0) stream.end()
        else stream.fail(status.INTERNAL, 'oh')
      })
      return response
    }
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    await plane.nextStream(12)
    await plane.synced()
    t.same(
      pauses.slice(0, 12),
      Array.from({ length: 12 }, (_, i) => Math.min(15_000, 10 * 2 ** i)),
    )
    t.equal(ads.client.status.failures, 0, 'it has answered')
  })

  t.test('a flood of updates, and one of many megabytes', async (t) => {
    const plane = await FakeControlPlane.start(t)
    const ads = new AdsRecorder(t, plane)
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.start()
    await plane.synced()
    for (let i = 0; i < 2000; i++) plane.put(XDS.cluster, 'a', namedBytes('a', String(i)))
    await plane.answered(XDS.cluster)
    t.equal(plane.saidOf(XDS.cluster, 'ACK').length, 2001, 'each has its answer')
    const large = Buffer.concat([
      namedBytes('large'),
      Buffer.from([0x7a, 0x80, 0x80, 0x80, 0x08]),
      Buffer.alloc(16 * 1024 * 1024),
    ])
    plane.put(XDS.cluster, 'large', large)
    await plane.answered(XDS.cluster)
    t.equal(ads.client.resources(XDS.cluster).get('large')?.bytes.length, large.length)
  })

  t.test('times to live', async (t) => {
    for (const protocol of ['delta', 'sotw'] as const) {
      const plane = await FakeControlPlane.start(t)
      const time = new ManualTime(0)
      const ads = new AdsRecorder(t, plane, { protocol, schedule: time.schedule })
      plane.set(XDS.cluster, 'a', namedBytes('a'), { ttlMs: 5000 })
      plane.set(XDS.cluster, 'b', namedBytes('b'))
      ads.client.subscribe(XDS.cluster, 'wildcard')
      ads.client.start()
      await plane.answered(XDS.cluster)
      t.equal(time.pending, 1)
      time.advance(4000)
      plane.alter = (response) => ({ resources: response.resources.map((r) => (r.name === 'a' ? { ...r, resource: null } : r)) })
      plane.force(plane.current!, XDS.cluster)
      await plane.answered(XDS.cluster)
      time.advance(4000)
      t.same(ads.held(XDS.cluster), ['a', 'b'], `${protocol}: a response without content begins the time anew`)
      time.advance(1000)
      t.same(ads.held(XDS.cluster), ['b'])
      t.match(ads.seen.at(-1), { origin: 'expired', removed: ['a'] })
    }
  })
})

t.test('on demand', async (t) => {
  const plane = await FakeControlPlane.start(t)
  plane.set(XDS.address, 'uid/1', namedBytes('uid/1'), { aliases: ['net/10.0.0.1'] })
  plane.set(XDS.address, 'uid/2', namedBytes('uid/2'), { aliases: ['net/10.0.0.2'] })
  const ads = new AdsRecorder(t, plane)
  ads.client.subscribe(XDS.address, 'on-demand')
  ads.client.start()
  await eventually('it is asked for nothing', () => plane.said.length === 1)
  t.same([plane.said[0]?.names, plane.said[0]?.unsubscribed], [['*'], ['*']])
  ads.client.setNames(XDS.address, ['net/10.0.0.1', 'net/10.0.0.9'])
  await plane.answered(XDS.address)
  t.match(ads.seen.at(-1), { changed: ['uid/1'], removed: ['net/10.0.0.9'], complete: false })
  plane.put(XDS.address, 'uid/1', namedBytes('uid/1', 'more'), { aliases: ['net/10.0.0.1'] })
  await plane.answered(XDS.address)
  t.same(ads.held(XDS.address), ['uid/1'])
  ads.client.setNames(XDS.address, [])
  t.same(ads.held(XDS.address), [])
})

t.test('the last good resources on disk', async (t) => {
  const plane = await FakeControlPlane.start(t)
  for (const name of ['a', 'b']) {
    plane.set(XDS.cluster, name, namedBytes(name))
    plane.set(XDS.endpoints, name, namedBytes(name, 'one'))
  }
  plane.set(XDS.endpoints, 'b', namedBytes('b', 'one'), { ttlMs: 60_000 })
  plane.set(XDS.secret, 's', namedBytes('s'))
  const dir = path.join(folder(t), 'state')
  const lines: string[] = []
  const cache = (nodeId = 'me') => {
    const log = { debug() {}, info() {}, warning: (line: string) => lines.push(line) }
    return new ResourceCache({ folder: dir, nodeId, server: 'istiod', log })
  }
  const start = (options: { readonly nodeId?: string } = {}) => {
    const ads = new AdsRecorder(t, plane, {
      cache: cache(options.nodeId),
      onUpdate: ({ typeUrl }) => {
        if (typeUrl === XDS.cluster) ads.client.setNames(XDS.endpoints, ['a', 'b'])
        return []
      },
    })
    ads.client.subscribe(XDS.cluster, 'wildcard')
    ads.client.subscribe(XDS.secret, new Set(['s']))
    ads.client.start()
    return ads
  }
  const first = start()
  await plane.synced()
  await plane.answered(XDS.endpoints)
  await first.client.stop()
  const files = readdirSync(dir).sort()
  t.same(files, ['envoy.config.cluster.v3.Cluster.xds', 'envoy.config.endpoint.v3.ClusterLoadAssignment.xds'], 'no secret')
  t.equal(statSync(path.join(dir, files[0]!)).mode & 0o777, 0o600)

  plane.stop()
  const second = start()
  t.same(
    second.seen.map((s) => [s.typeUrl, s.origin, s.changed]),
    [
      [XDS.cluster, 'disk', ['a', 'b']],
      [XDS.endpoints, 'disk', ['a']],
    ],
    'told before start returns, and what it leads to; what was there for a time only is not',
  )
  t.equal(second.client.status.types[0]?.source, 'disk')
  plane.world.get(XDS.cluster)!.delete('a')
  await plane.resume()
  await eventually('the stream has answered', () => second.client.status.types[0]?.source === 'stream')
  t.match(second.seenOf(XDS.cluster).at(-1), { origin: 'stream', changed: [], removed: ['a'], complete: true })
  await second.client.stop()

  const stranger = start({ nodeId: 'other' })
  t.same(stranger.seen, [])
  t.match(lines, [/is of the node me, which is not this one; it is not used$/, /is of the node me/])
  await stranger.client.stop()

  lines.length = 0
  const file = path.join(dir, files[0]!)
  const good = readFileSync(file)
  const later = Buffer.concat([Buffer.from(good.toString('latin1').replace('"format":1', '"format":2'), 'latin1')])
  for (const bad of [good.subarray(0, -1), Buffer.from('x'), Buffer.alloc(0), later]) {
    writeFileSync(file, bad)
    t.same(
      cache()
        .load()
        .map((c) => c.typeUrl),
      [XDS.endpoints].filter(() => readdirSync(dir).length > 0),
    )
  }
  t.match(
    lines.filter((line) => line.includes(files[0]!)),
    [
      /Cluster\.xds is damaged: its checksum is another; it is not used$/,
      ...Array<RegExp>(3).fill(/is not of this program, or is of another version of it; it is not used$/),
    ],
  )

  lines.length = 0
  rmSync(file)
  mkdirSync(file)
  t.same(
    cache()
      .load()
      .map((c) => c.typeUrl),
    [XDS.endpoints],
    'what cannot be read keeps nothing else from being',
  )
  const full = cache()
  rmSync(file, { recursive: true })
  symlinkSync('/dev/full', `${file}.${process.pid}.tmp`)
  const resources = [{ typeUrl: XDS.cluster, name: 'a', aliases: [], version: '', bytes: namedBytes('a') }]
  for (let i = 0; i < 2; i++) {
    full.save(XDS.cluster, () => ({ typeUrl: XDS.cluster, version: '1', resources }))
    full.save(XDS.endpoints, () => ({ typeUrl: XDS.endpoints, version: '1', resources: [] }))
    await full.flush()
    symlinkSync('/dev/full', `${file}.${process.pid}.tmp`)
  }
  t.same(
    lines.slice(1).map((line) => line.replace(/:[^:]*$/, '')),
    ['xds.state: CDS could not be written: ENOSPC'],
    'a disk that is full, told once',
  )
  t.same(
    readdirSync(dir).filter((name) => name.endsWith('.xds')),
    [files[1]],
    'the others are written',
  )
  const none = new ResourceCache({
    folder: path.join(dir, files[1]!, 'below'),
    nodeId: 'me',
    server: 'istiod',
    log: { debug() {}, info() {}, warning: (line: string) => lines.push(line) },
  })
  t.same(none.load(), [])
  t.match(lines.at(-1), /^xds.state: ENOTDIR.*; a restart will have to wait for the control plane$/)
})
