// Recorded worlds of an istiod, through the fake control plane and the client, and back by protobufjs: what is handed on is what was sent.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { Node } from '../../lib/xds/proto/core.ts'
import { decode } from '../../lib/xds/proto/decode.ts'
import {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResponse,
} from '../../lib/xds/proto/discovery.ts'
import { encode } from '../../lib/xds/proto/encode.ts'
import { AdsRecorder } from '../support/ads-recorder.ts'
import { envoyProtos } from '../support/envoy-protos.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { runHeddle } from '../support/proxy.ts'
import { applyCaptured, capturedResponses, serveRecordedWorld } from '../support/recorded-worlds.ts'
import { peersFolder } from '../unit/resources/kit.ts'

const peers = peersFolder()
const skip = peers === null ? 'the peers folder is not there (HEDDLE_PEERS)' : false

t.test('requests and responses, as others read and write them', async (t) => {
  const status = { code: 3, message: 'a: reason; b: reason', details: [] }
  const node = {
    ...Node.empty,
    id: 'sidecar~10.0.0.7~web-1.default~default.svc.cluster.local',
    cluster: 'web.default',
    metadata: {
      LABELS: { app: 'web' },
      INSTANCE_IPS: '10.0.0.7',
      PROXY_CONFIG: {},
      ENVOY_STATUS_PORT: 15021,
      list: [true, null],
    },
    locality: { region: 'r', zone: 'z', sub_zone: '' },
    user_agent_name: 'heddle',
  }
  const protos = envoyProtos()
  const delta = encode(DeltaDiscoveryRequest, {
    node,
    type_url: XDS.cluster,
    resource_names_subscribe: ['a', 'b'],
    resource_names_unsubscribe: ['*'],
    initial_resource_versions: new Map([
      ['x', '1'],
      ['y', ''],
    ]),
    response_nonce: 'n',
    error_detail: status,
  })
  const struct = (fields: object): object => ({ fields })
  const plainNode = {
    id: node.id,
    cluster: 'web.default',
    metadata: struct({
      LABELS: { structValue: struct({ app: { stringValue: 'web' } }) },
      INSTANCE_IPS: { stringValue: '10.0.0.7' },
      PROXY_CONFIG: { structValue: {} },
      ENVOY_STATUS_PORT: { numberValue: 15021 },
      list: { listValue: { values: [{ boolValue: true }, { nullValue: 'NULL_VALUE' }] } },
    }),
    locality: { region: 'r', zone: 'z' },
    user_agent_name: 'heddle',
  }
  t.same(protos.decode('envoy.service.discovery.v3.DeltaDiscoveryRequest', delta), {
    node: plainNode,
    type_url: XDS.cluster,
    resource_names_subscribe: ['a', 'b'],
    resource_names_unsubscribe: ['*'],
    initial_resource_versions: { x: '1', y: '' },
    response_nonce: 'n',
    error_detail: { code: 3, message: 'a: reason; b: reason' },
  })
  const whole = encode(DiscoveryRequest, {
    version_info: '7',
    node,
    resource_names: ['a'],
    type_url: XDS.cluster,
    response_nonce: 'n',
    error_detail: status,
  })
  t.same(protos.decode('envoy.service.discovery.v3.DiscoveryRequest', whole), {
    version_info: '7',
    node: plainNode,
    resource_names: ['a'],
    type_url: XDS.cluster,
    response_nonce: 'n',
    error_detail: { code: 3, message: 'a: reason; b: reason' },
  })
  const typed = { '@type': 'type.googleapis.com/google.protobuf.StringValue', value: 'v' }
  const { bytes } = protos.encodeAny(typed)
  const resource = { name: 'a', version: '1', aliases: ['/10.0.0.1'], ttl: '1.5s', resource: typed }
  const rest = { type_url: XDS.address, nonce: 'n', control_plane: { identifier: 'i' } }
  t.same(
    decode(
      DeltaDiscoveryResponse,
      protos.encode('envoy.service.discovery.v3.DeltaDiscoveryResponse', {
        ...rest,
        system_version_info: 's',
        resources: [resource],
        removed_resources: ['gone'],
      }),
    ),
    {
      ...rest,
      system_version_info: 's',
      resources: [{ ...resource, ttl: 1500, resource: { typeUrl: typed['@type'], value: bytes } }],
      removed_resources: ['gone'],
    },
  )
  t.same(
    decode(
      DiscoveryResponse,
      protos.encode('envoy.service.discovery.v3.DiscoveryResponse', { ...rest, version_info: '7', resources: [typed] }),
    ),
    { ...rest, version_info: '7', resources: [{ typeUrl: typed['@type'], value: bytes }] },
  )
})

t.test('recorded configurations', { skip }, async (t) => {
  const folders = readdirSync(path.join(peers!, 'cases')).filter((name) =>
    existsSync(path.join(peers!, 'cases', name, 'xds.json')),
  )
  for (const protocol of ['delta', 'sotw'] as const) {
    // The state of the world carries the same bytes: some of them are enough.
    for (const folder of protocol === 'delta' ? folders : ['gateway', 'waypoint']) {
      const plane = await FakeControlPlane.start(t)
      serveRecordedWorld(plane, path.join(peers!, 'cases', folder, 'xds.json'))
      const ads = new AdsRecorder(t, plane, {
        protocol,
        onUpdate: ({ typeUrl }) => {
          if (typeUrl === XDS.cluster) ads.client.setNames(XDS.endpoints, plane.world.get(XDS.endpoints)!.keys())
          if (typeUrl === XDS.listener) ads.client.setNames(XDS.route, plane.world.get(XDS.route)!.keys())
          return []
        },
      })
      ads.client.subscribe(XDS.cluster, 'wildcard')
      ads.client.subscribe(XDS.listener, 'wildcard')
      ads.client.start()
      for (const typeUrl of [XDS.cluster, XDS.endpoints, XDS.listener]) await plane.answered(typeUrl)
      if (plane.world.get(XDS.route)!.size > 0) await plane.answered(XDS.route)
      for (const [typeUrl, resources] of plane.world) {
        const held = ads.client.resources(typeUrl)
        const same = [...resources].every(([name, r]) => Buffer.compare(held.get(name)?.bytes ?? Buffer.alloc(0), r.bytes) === 0)
        t.ok(same && held.size === resources.size, `${folder}, ${protocol}: ${resources.size} of ${typeUrl}`)
      }
      await ads.client.stop()
    }
  }
})

t.test('heddle xds dump prints what is recorded', { skip }, async (t) => {
  const plane = await FakeControlPlane.start(t)
  const file = path.join(peers!, 'cases/match/xds.json')
  serveRecordedWorld(plane, file)
  const address = ['--address', plane.hostAndPort, '--plaintext']
  const { code, stdout, stderr } = await runHeddle(['xds', 'dump', ...address])
  t.same([code, stderr], [0, ''])
  const [dumped, recorded] = [JSON.parse(stdout), JSON.parse(readFileSync(file, 'utf8'))]
  const names = (list: readonly { readonly name?: string; readonly cluster_name?: string }[]) =>
    list.map((r) => r.name ?? r.cluster_name).sort()
  // Endpoints of clusters that are not of type EDS are not asked for.
  for (const kind of ['clusters', 'listeners', 'routes'] as const) t.same(names(dumped[kind]), names(recorded[kind]), kind)
  t.ok(dumped.endpoints.length > 0)
  t.match(dumped.node, /^sidecar~/)

  plane.stop()
  const gone = await runHeddle(['xds', 'dump', ...address, '--timeout', '1s'])
  t.match(gone, { code: 4, stdout: '', stderr: /no answer from 127\.0\.0\.1:\d+: UNAVAILABLE: no connection/ })
})

t.test('recorded messages', { skip }, async (t) => {
  for (const file of ['sidecar/routing.jsonl', 'ambient/wds.jsonl']) {
    const plane = await FakeControlPlane.start(t)
    const responses = capturedResponses(path.join(peers!, 'captures', file))
    const ads = new AdsRecorder(t, plane)
    for (const { type } of responses) {
      if (type === XDS.endpoints || type === XDS.route) continue
      ads.client.subscribe(type, 'wildcard')
    }
    ads.client.start()
    await plane.synced()
    for (const captured of responses) {
      if (captured.type === XDS.endpoints || captured.type === XDS.route) ads.client.setNames(captured.type, captured.names)
      applyCaptured(plane, captured)
      plane.push([captured.type])
      const { resources, removed_resources } = captured.response
      await eventually(`${file}: ${captured.step}`, () => {
        const held = ads.client.resources(captured.type)
        const isThere = resources.every(
          (r) => Buffer.compare(held.get(r.name)?.bytes ?? Buffer.alloc(0), r.resource!.value) === 0,
        )
        return isThere && removed_resources.every((name) => !held.has(name))
      })
      await plane.synced()
    }
    t.same(
      ads.lines.filter((line) => line.startsWith('warning')),
      [],
      file,
    )
  }
})
