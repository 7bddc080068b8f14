// Envoy's .proto files, read by protobufjs, and the tables of the registry with all that they are made of.
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import protobuf from 'protobufjs'
import { REGISTRY } from '../../../../lib/xds/proto/registry.ts'
import type { Message } from '../../../../lib/xds/proto/schema.ts'
import { ROOT } from '../../../support/proxy.ts'

const DEPS = path.join(ROOT, 'node_modules/@grpc/grpc-js-xds/deps')
const ROOTS = ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'].map((d) => path.join(DEPS, d))

const protos = new protobuf.Root()
protos.resolvePath = (_origin, target) => {
  if (path.isAbsolute(target)) return target
  for (const dir of ROOTS) if (existsSync(path.join(dir, target))) return path.join(dir, target)
  // The well-known types are part of protobufjs.
  if (protobuf.common.get(target) !== null) return target
  const own = path.join(ROOT, 'node_modules/protobufjs', target)
  return existsSync(own) ? own : null
}
protos.loadSync(['any', 'duration', 'empty', 'struct', 'timestamp', 'wrappers'].map((name) => `google/protobuf/${name}.proto`))

/** What Envoy's files name and the tree has not. */
const ELSEWHERE: Readonly<Record<string, readonly string[]>> = {
  'opencensus.proto.trace.v1': ['TraceConfig'],
  'opentelemetry.proto.common.v1': ['AnyValue', 'KeyValueList'],
  'io.prometheus.client': ['MetricFamily'],
}
for (const [name, types] of Object.entries(ELSEWHERE)) {
  const space = protos.define(name)
  for (const type of types) space.add(new protobuf.Type(type))
}

const read = new Set<string>()

/** null when no file has it. A message does not tell the name of its file, so all files of its package are read. */
export function protoOf(typeName: string): protobuf.Type | null {
  const folder = typeName
    .split('.')
    .filter((part) => /^[a-z]/.test(part))
    .join('/')
  for (const dir of ROOTS.map((root) => path.join(root, folder))) {
    if (read.has(dir) || !existsSync(dir)) continue
    read.add(dir)
    const files = readdirSync(dir).filter((file) => file.endsWith('.proto'))
    protos.loadSync(
      files.map((file) => path.join(dir, file)),
      { keepCase: true },
    )
  }
  try {
    const found = protos.lookupType(typeName)
    found.root.resolveAll()
    return found
  } catch {
    return null
  }
}

/** By type name. */
export function allTables(): ReadonlyMap<string, Message<object>> {
  const tables = new Map<string, Message<object>>()
  const collect = (table: Message<object>): void => {
    if (tables.has(table.typeName)) return
    tables.set(table.typeName, table)
    for (const [, { kind }] of table.fields) if (kind.is === 'message') collect(kind.of())
  }
  for (const table of REGISTRY.values()) collect(table)
  return tables
}
