// The schema as a flat list: what each field is called in YAML and in the environment, and what its default is.
import * as v from 'valibot'
import type { LeafInfo } from './leaf.ts'
import { bootstrapSchema, healthCheckSchema, listenerSchema, podSchema } from './schema.ts'

export interface BootstrapField {
  /** `['admin', 'port']`. */
  readonly path: readonly string[]
  /** `HEDDLE_ADMIN_PORT`; of a listener's field only the end, `PORT`. */
  readonly environment: string
  /** As YAML would say it; undefined: there is none. */
  readonly defaultValue: unknown
  readonly info: LeafInfo
}

/** Lists of mappings, by their path with points, have no leaf of their own: the environment says them as YAML. */
export const LISTS: Readonly<Record<string, LeafInfo>> = {
  listeners: {
    form: 'yaml',
    expected: 'a list of listeners',
    example: '[ { name: out, direction: outbound, port: 8080 } ]',
  },
  healthChecks: {
    form: 'yaml',
    expected: 'a list of health checks',
    example: '[ { hosts: [ reviews ], http: { path: /healthz } } ]',
  },
  'node.pods': {
    form: 'yaml',
    expected: 'a list of pods',
    example: '[ { name: web-1, namespace: shop, serviceAccount: web, netns: /run/netns/web-1 } ]',
  },
}

export const BOOTSTRAP_FIELDS: readonly BootstrapField[] = fieldsOf(bootstrapSchema.entries, [], 'HEDDLE')

/** The fields of one element of `listeners`. */
export const LISTENER_FIELDS: readonly BootstrapField[] = fieldsOf(listenerSchema.entries, [], '')

/** The fields of one element of `healthChecks`; those of a probe have a path of two. */
export const HEALTH_CHECK_FIELDS: readonly BootstrapField[] = fieldsOf(healthCheckSchema.entries, [], '')

/** The fields of one element of `node.pods`. */
export const POD_FIELDS: readonly BootstrapField[] = fieldsOf(podSchema.entries, [], '')

/** Sections that hold further fields: `['admin']`, `['identity', 'files']`… A section comes before those in it. */
export const SECTIONS: readonly (readonly string[])[] = sectionsOf(bootstrapSchema.entries, [])

function sectionsOf(entries: object, path: readonly string[]): string[][] {
  return Object.entries(entries).flatMap(([key, schema]) =>
    'entries' in schema ? [[...path, key], ...sectionsOf(schema.entries, [...path, key])] : [],
  )
}

function fieldsOf(entries: object, path: readonly string[], prefix: string): BootstrapField[] {
  return Object.entries(entries).flatMap(([key, schema]) => {
    const here = [...path, key]
    const environment = prefix === '' ? snake(key) : `${prefix}_${snake(key)}`
    const inner = 'wrapped' in schema ? schema.wrapped : schema
    if ('entries' in inner) return fieldsOf(inner.entries, here, environment)
    const info = inner.type === 'array' ? LISTS[here.join('.')]! : (v.getMetadata(inner) as unknown as LeafInfo)
    return [{ path: here, environment, defaultValue: schema.default, info }]
  })
}

/** `maxHeaderBytes` → `MAX_HEADER_BYTES`. */
function snake(name: string): string {
  return name.replace(/[A-Z]/g, '_$&').toUpperCase()
}
