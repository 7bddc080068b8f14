// Istio's messages for tunnels as protobufjs has them, from the definitions in proto/istio; and responses of an incremental stream, as far as these need it.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import protobuf from 'protobufjs'
import { ROOT } from './proxy.ts'

const FILES = ['workload', 'authorization', 'zds']

const DISCOVERY = `
syntax = "proto3";
package test;
import "google/protobuf/any.proto";
message Resource { string name = 3; repeated string aliases = 4; string version = 1; google.protobuf.Any resource = 2; }
message DeltaDiscoveryResponse {
  string system_version_info = 1;
  repeated Resource resources = 2;
  string type_url = 4;
  string nonce = 5;
  repeated string removed_resources = 6;
}
`

export function istioProtos(): protobuf.Root {
  const root = new protobuf.Root()
  const google = join(dirname(createRequire(import.meta.url).resolve('protobufjs/package.json')), 'google/protobuf')
  for (const name of ['any', 'wrappers', 'empty']) {
    const file = join(google, `${name}.proto`)
    try {
      protobuf.parse(readFileSync(file, 'utf8'), root, { keepCase: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      root.addJSON(protobuf.common.get(`google/protobuf/${name}.proto`)?.nested ?? {})
    }
  }
  for (const name of FILES)
    protobuf.parse(readFileSync(join(ROOT, `test/support/proto/istio/${name}.proto`), 'utf8'), root, { keepCase: true })
  protobuf.parse(DISCOVERY, root, { keepCase: true })
  root.resolveAll()
  return root
}

/** One line of a recording. */
export interface RecordedResponse {
  readonly step: string
  readonly typeUrl: string
  readonly resources: readonly { readonly name: string; readonly aliases: readonly string[]; readonly bytes: Uint8Array }[]
  readonly removed: readonly string[]
}

/** Recorded lines: JSON with the message in base64. */
export function recordedResponses(file: string): RecordedResponse[] {
  const type = istioProtos().lookupType('test.DeltaDiscoveryResponse')
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const { step, response } = JSON.parse(line) as { step: string; response: string }
      const message = type.toObject(type.decode(Buffer.from(response, 'base64')), { defaults: true }) as {
        type_url: string
        resources: { name: string; aliases: string[]; resource: { value: Uint8Array } }[]
        removed_resources: string[]
      }
      return {
        step,
        typeUrl: message.type_url,
        resources: message.resources.map((r) => ({ name: r.name, aliases: r.aliases, bytes: r.resource.value })),
        removed: message.removed_resources,
      }
    })
}
