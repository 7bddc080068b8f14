// What an istiod sent, as it was recorded, put into a fake control plane: the configurations as JSON (by protobufjs to bytes), and messages as they were on the wire.
import { readFileSync } from 'node:fs'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { decode } from '../../lib/xds/proto/decode.ts'
import { DeltaDiscoveryResponse } from '../../lib/xds/proto/discovery.ts'
import { envoyProtos } from './envoy-protos.ts'
import type { FakeControlPlane } from './fake-control-plane.ts'

/** The resources of a `xds.json`, by kind. */
const KINDS = [
  ['clusters', XDS.cluster, 'name'],
  ['endpoints', XDS.endpoints, 'cluster_name'],
  ['listeners', XDS.listener, 'name'],
  ['routes', XDS.route, 'name'],
] as const

type Recorded = Readonly<Record<(typeof KINDS)[number][0], readonly Readonly<Record<string, unknown>>[]>>

/** In place of the world that the plane has of these types. @param file `cases/…/xds.json` */
export function serveRecordedWorld(plane: FakeControlPlane, file: string): void {
  const recorded = JSON.parse(readFileSync(file, 'utf8')) as Recorded
  for (const [kind, typeUrl, nameField] of KINDS) {
    plane.world.set(typeUrl, new Map())
    for (const resource of recorded[kind]) {
      const name = String(resource[nameField])
      plane.set(typeUrl, name, envoyProtos().encode(typeUrl.slice(typeUrl.indexOf('/') + 1), resource as never))
    }
  }
}

/** One line of a `.jsonl` of wire bytes. */
export interface CapturedResponse {
  readonly ms: number
  readonly step: string
  readonly type: string
  readonly names: readonly string[]
  readonly removed: readonly string[]
  readonly response: DeltaDiscoveryResponse
  readonly bytes: Buffer
}

/** @param file `captures/…/….jsonl` */
export function capturedResponses(file: string): CapturedResponse[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { ms, step, type, names, removed, response } = JSON.parse(line)
      const bytes = Buffer.from(response, 'base64')
      return { ms, step, type, names, removed, response: decode(DeltaDiscoveryResponse, bytes), bytes }
    })
}

/** What a captured response says, in the world: streams are told by `plane.push`. */
export function applyCaptured(plane: FakeControlPlane, { response }: CapturedResponse): void {
  for (const { name, resource, version, aliases } of response.resources) {
    plane.set(response.type_url, name, resource?.value ?? new Uint8Array(0), { version, aliases })
  }
  for (const name of response.removed_resources) plane.world.get(response.type_url)?.delete(name)
}
