// What a real istiod put on the wire for a sidecar, read by our tables, is what its own JSON form says.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Cluster } from '../../../../lib/xds/proto/cluster.ts'
import { decode } from '../../../../lib/xds/proto/decode.ts'
import { DeltaDiscoveryResponse } from '../../../../lib/xds/proto/discovery.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import { ClusterLoadAssignment } from '../../../../lib/xds/proto/endpoint.ts'
import { fromJson, type JsonObject, toJson } from '../../../../lib/xds/proto/json.ts'
import { Listener } from '../../../../lib/xds/proto/listener.ts'
import { REGISTRY } from '../../../../lib/xds/proto/registry.ts'
import { RouteConfiguration } from '../../../../lib/xds/proto/route.ts'
import { type Message, typeUrlOf } from '../../../../lib/xds/proto/schema.ts'
import { peersFolder } from '../../resources/kit.ts'

const peers = peersFolder()
const TYPES: readonly (readonly [of: Message<object>, list: string, key: string])[] = [
  [Cluster, 'clusters', 'name'],
  [ClusterLoadAssignment, 'endpoints', 'cluster_name'],
  [Listener, 'listeners', 'name'],
  [RouteConfiguration, 'routes', 'name'],
]

t.test('a recorded stream', { skip: peers === null ? 'the peers folder is not there (HEDDLE_PEERS)' : false }, async (t) => {
  const recorded = JSON.parse(readFileSync(join(peers!, 'examples/routing/xds.json'), 'utf8')) as Record<string, JsonObject[]>
  const lines = readFileSync(join(peers!, 'captures/sidecar/routing.jsonl'), 'utf8').trim().split('\n')
  const responses = lines.map((line) =>
    decode(DeltaDiscoveryResponse, Buffer.from((JSON.parse(line) as { response: string }).response, 'base64')),
  )
  for (const [of, list, key] of TYPES) {
    t.test(of.typeName, async (t) => {
      const sent = new Map<string, Uint8Array>()
      for (const { type_url, resources } of responses) {
        if (type_url !== typeUrlOf(of)) continue
        for (const { name, resource } of resources) sent.set(name, resource!.value)
      }
      t.ok(sent.size > 0)
      for (const json of recorded[list]!) {
        const name = String(json[key])
        const bytes = sent.get(name)
        if (bytes === undefined) {
          t.fail(`${name} was not sent`)
          continue
        }
        const unknown: string[] = []
        const read = decode(of, bytes, (typeName, number) => unknown.push(`${typeName} ${number}`))
        t.same(unknown, [], `${name}: every field is known`)
        t.same(toJson(of, read, REGISTRY), toJson(of, fromJson(of, json, REGISTRY), REGISTRY), name)
        t.same(decode(of, encode(of, read)), read, `${name}: written and read again`)
      }
    })
  }
})
