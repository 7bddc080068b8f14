// The objects of a document: lists expanded, kinds recognised, schemas and semantic rules applied. Nothing here depends on
// where the document stands, so that the outcome is kept as long as its text stays the same.
import * as v from 'valibot'
import type { Document } from './document.ts'
import {
  FAILURE_PERCENTAGE_ANNOTATION,
  failurePercentageOf,
  SUCCESS_RATE_ANNOTATION,
  successRateOf,
} from './ejection-annotations.ts'
import type { Finding, Path } from './finding.ts'
import { type Kind, type KindDefinition, type KindSpecs, kindOf, lookUpKind } from './kinds.ts'
import type { ObjectFacts, ObjectIdentity } from './resource-object.ts'
import type { Metadata } from './schema/metadata.ts'
import { checkBalancerAnnotations } from './validate/balancer-annotations.ts'
import { isDnsLabel } from './validate/names.ts'
import { UNSAFE_RETRIES, unsafeRetriesProblem } from './validate/unsafe-retries.ts'
import { validateSpec } from './validate/validate-spec.ts'

/** What became of one object. `path` leads to it from the root of its document. */
export type ObjectOutcome = { readonly path: Path } & (
  | { readonly state: 'valid'; readonly facts: ObjectFacts }
  | { readonly state: 'refused'; readonly identity: ObjectIdentity; readonly findings: readonly Finding[] }
  | { readonly state: 'waiting'; readonly identity: ObjectIdentity; readonly reason: string }
)

const LIST_KINDS = /^(List|[A-Z]\w+List)$/
/** Objects of one list. */
const MAX_ITEMS = 100_000

/** All objects of a document without a syntax problem. */
export function readObjects(document: Document): ObjectOutcome[] {
  const outcomes: ObjectOutcome[] = []
  collect(document.value, [], outcomes)
  return outcomes
}

/** Whom an object that cannot be read was meant to be, as far as it says. */
export function identityOf(value: unknown): ObjectIdentity {
  const object = isMap(value) ? value : {}
  const meta = isMap(object['metadata']) ? object['metadata'] : {}
  const name = typeof meta['name'] === 'string' ? meta['name'] : ''
  // What has no name is no object of any namespace.
  const namespace = typeof meta['namespace'] === 'string' ? meta['namespace'] : name === '' ? '' : 'default'
  const written = typeof object['kind'] === 'string' ? object['kind'] : ''
  const apiVersion = object['apiVersion']
  return { kind: typeof apiVersion === 'string' ? kindOf(apiVersion, written) : written, namespace, name }
}

function collect(value: unknown, path: Path, outcomes: ObjectOutcome[]): void {
  if (value === null || value === undefined || outcomes.length > MAX_ITEMS) return
  if (isMap(value) && Array.isArray(value['items']) && LIST_KINDS.test(String(value['kind'] ?? ''))) {
    for (const [i, item] of value['items'].entries()) collect(item, [...path, 'items', i], outcomes)
    return
  }
  outcomes.push(readObject(value, path))
}

function readObject(value: unknown, path: Path): ObjectOutcome {
  const identity = identityOf(value)
  const refuse = (findings: readonly Finding[]): ObjectOutcome => ({ path, state: 'refused', identity, findings })
  if (!isMap(value))
    return refuse([
      { path: [], onKey: false, message: 'expected a Kubernetes object: a map with apiVersion, kind, metadata and spec' },
    ])
  const { apiVersion, kind } = value
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return withoutKind(value, path, identity)
  const looked = lookUpKind(apiVersion, kind)
  if (looked.found === 'wrong')
    return refuse([{ path: [looked.onKind ? 'kind' : 'apiVersion'], onKey: false, message: looked.reason }])
  if (looked.found !== 'carried-out') return { path, state: 'waiting', identity, reason: looked.reason }
  return readKnown(value, path, identity, looked.definition)
}

function withoutKind(value: Record<string, unknown>, path: Path, identity: ObjectIdentity): ObjectOutcome {
  const missing = typeof value['kind'] === 'string' ? 'apiVersion' : 'kind'
  if (['apiVersion', 'kind', 'metadata', 'spec'].some((field) => field in value)) {
    const message = `the field \`${missing}\` is required and missing (as text)`
    return { path, state: 'refused', identity, findings: [{ path: [], onKey: false, message }] }
  }
  return {
    path,
    state: 'waiting',
    identity,
    reason: 'not used by this role: not a Kubernetes object, it has no apiVersion and kind',
  }
}

function readKnown(
  value: Record<string, unknown>,
  path: Path,
  identity: ObjectIdentity,
  definition: KindDefinition,
): ObjectOutcome {
  const findings: Finding[] = []
  const cleaned = withoutNulls(value, '', [], findings)
  const parsed = v.safeParse(definition.schema, cleaned)
  if (!parsed.success) {
    // A misspelt field is told before the one that is missing because of it.
    const [missing, others] = [parsed.issues.filter(isMissing), parsed.issues.filter((issue) => !isMissing(issue))]
    for (const issue of [...others, ...missing]) findings.push(toFinding(issue))
  }
  if (findings.length > 0) return { path, state: 'refused', identity, findings }
  const object = parsed.output as Record<string, unknown>
  const meta = object['metadata'] as Metadata
  const spec = definition.specPath.length === 0 ? object : object['spec']
  const report = (at: Path, message: string, onKey = false): void => {
    findings.push({ path: [...definition.specPath, ...at], onKey, message })
  }
  checkMetadata(meta, definition.kind, (at, message) => findings.push({ path: ['metadata', ...at], onKey: false, message }))
  if (definition.kind === 'VirtualService') checkUnsafeRetries(meta, spec as KindSpecs['VirtualService'], findings)
  validateSpec(definition.kind, spec, report)
  if (findings.length > 0) return { path, state: 'refused', identity, findings }
  const facts: ObjectFacts = {
    kind: definition.kind,
    namespace: definition.namespaced ? identity.namespace : '',
    name: identity.name,
    labels: meta.labels ?? {},
    annotations: meta.annotations ?? {},
    createdMs: meta.creationTimestamp === undefined ? Number.NEGATIVE_INFINITY : Date.parse(meta.creationTimestamp),
    owners: (meta.ownerReferences ?? []).map(({ kind = '', name = '' }) => ({ kind, name })),
    spec: spec as KindSpecs[Kind],
    specPath: definition.specPath,
  }
  return { path, state: 'valid', facts }
}

function checkMetadata(meta: Metadata, kind: Kind, report: (path: Path, message: string) => void): void {
  if (meta.name === '') report(['name'], 'the name is empty')
  // The name of a Service becomes a label of its host name (RFC 1123), and so does every namespace.
  else if (kind === 'Service' && !isDnsLabel(meta.name))
    report(['name'], `expected letters, digits and \`-\`, found \`${meta.name}\``)
  const namespace = meta.namespace
  if (namespace === '') report(['namespace'], 'the namespace is empty; leave the field out for `default`')
  else if (namespace !== undefined && !isDnsLabel(namespace))
    report(['namespace'], `expected letters, digits and \`-\`, found \`${namespace}\``)
  if (kind === 'DestinationRule') checkAnnotations(meta.annotations ?? {}, report)
  const created = meta.creationTimestamp
  if (created !== undefined && Number.isNaN(Date.parse(created))) {
    report(['creationTimestamp'], `expected a time such as 2024-01-31T12:00:00Z, found "${created}"`)
  }
}

function checkUnsafeRetries(meta: Metadata, spec: KindSpecs['VirtualService'], findings: Finding[]): void {
  const value = meta.annotations?.[UNSAFE_RETRIES]
  const message = value === undefined ? null : unsafeRetriesProblem(value, spec)
  if (message !== null) findings.push({ path: ['metadata', 'annotations', UNSAFE_RETRIES], onKey: false, message })
}

function checkAnnotations(annotations: Readonly<Record<string, string>>, report: (path: Path, message: string) => void): void {
  for (const [name, value] of [
    [SUCCESS_RATE_ANNOTATION, successRateOf(annotations)],
    [FAILURE_PERCENTAGE_ANNOTATION, failurePercentageOf(annotations)],
  ] as const)
    if (typeof value === 'string') report(['annotations', name], value)
  checkBalancerAnnotations(annotations, (name, message) => report(['annotations', name], message))
}

function toFinding(issue: v.BaseIssue<unknown>): Finding {
  const items = issue.path ?? []
  const path = items.map((item) => (typeof item.key === 'number' ? item.key : String(item.key)))
  // A missing field has no place of its own: the map that lacks it is shown.
  return { path: isMissing(issue) ? path.slice(0, -1) : path, onKey: isUnknownField(issue), message: issue.message }
}

function isUnknownField(issue: v.BaseIssue<unknown>): boolean {
  const last = issue.path?.at(-1)
  return last !== undefined && 'origin' in last && last.origin === 'key' && issue.expected === 'never'
}

function isMissing(issue: v.BaseIssue<unknown>): boolean {
  return issue.received === 'undefined' && !isUnknownField(issue)
}

/** Maps whose null values ask for presence: `headers: {x-debug: }` (Istio HTTPMatchRequest). */
const PRESENCE = new Set(['headers', 'withoutHeaders', 'queryParams'])

/** Lists of which an empty item means everything, which nobody says by saying nothing (AuthorizationPolicy rules). */
const NEVER_NULL = new Set(['rules'])

/** To the Kubernetes API a null field is a missing one, and a null item of a list an empty one. */
function withoutNulls(value: unknown, key: string, path: Path, findings: Finding[]): unknown {
  if (Array.isArray(value))
    return value.map((item, i) =>
      item === null ? (NEVER_NULL.has(key) ? null : {}) : withoutNulls(item, key, [...path, i], findings),
    )
  if (!isMap(value)) return value
  const copy: Record<string, unknown> = {}
  for (const [name, item] of Object.entries(value)) {
    if (name === '__proto__' || name === 'prototype' || name === 'constructor') {
      findings.push({ path: [...path, name], onKey: true, message: `\`${name}\` cannot be the name of a field` })
    } else if (item !== null) copy[name] = withoutNulls(item, name, [...path, name], findings)
    else if (PRESENCE.has(key)) copy[name] = {}
  }
  return copy
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
