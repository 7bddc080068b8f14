// heddle.yaml, the environment and flags become one validated BootstrapConfig, or all that is wrong with them.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import * as v from 'valibot'
import type { BootstrapConfig, ListenerConfig } from '../state/bootstrap-config.ts'
import { BUILT_IN } from '../state/origin.ts'
import {
  at,
  checkCapture,
  checkFieldNames,
  checkHealthChecks,
  checkListeners,
  checkShapes,
  isMapping,
  type Report,
} from './check.ts'
import { type DocumentPath, readYamlDocument, type YamlDocument } from './document.ts'
import { BOOTSTRAP_FIELDS, LISTENER_FIELDS, SECTIONS } from './fields.ts'
import type { FlagValues } from './flags.ts'
import { fillEmptyProbes, healthCheckRule } from './health-checks.ts'
import { checkIdentity, identityConfig } from './identity.ts'
import { checkNode } from './node.ts'
import { applyOverrides, type Overridden } from './overrides.ts'
import type { ConfigProblem } from './problem.ts'
import { type BootstrapDocument, bootstrapSchema } from './schema.ts'
import { checkXds, xdsConfig } from './xds.ts'

export type LoadedBootstrap =
  | { readonly ok: true; readonly config: BootstrapConfig; readonly warnings: readonly ConfigProblem[] }
  | { readonly ok: false; readonly errors: readonly ConfigProblem[]; readonly warnings: readonly ConfigProblem[] }

/** `file` null: no file, only defaults, environment and flags. Paths in the file are relative to it, others to the working directory. */
export function loadBootstrap(
  file: string | null,
  env: Readonly<Record<string, string | undefined>> = {},
  flags: FlagValues = {},
): LoadedBootstrap {
  if (file === null) return parseBootstrap('', '', env, flags)
  try {
    return parseBootstrap(readFileSync(file, 'utf8'), file, env, flags)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'is a folder; expected a YAML file' : message
    return { ok: false, errors: [{ file, line: 0, column: 0, message: reason }], warnings: [] }
  }
}

/** As `loadBootstrap`, with the text given. */
export function parseBootstrap(
  source: string,
  file: string,
  env: Readonly<Record<string, string | undefined>> = {},
  flags: FlagValues = {},
): LoadedBootstrap {
  const document = readYamlDocument(source, file)
  if (document.problems.length > 0) return { ok: false, errors: document.problems, warnings: [] }
  const root = document.value
  fillEmptySections(root)
  absolutePaths(root, dirname(file))
  const overridden = applyOverrides(root, env, flags)
  fillEmptyProbes(root)

  const errors: ConfigProblem[] = []
  const where = locator(document, overridden, file)
  const report: Report = (path, part, message) => {
    const shown = pathText(path, part)
    errors.push({ ...where(path, part), message: shown === '' ? message : `\`${shown}\`: ${message}` })
  }
  checkShapes(root, report)
  checkFieldNames(root, report)
  checkListeners(root, report)
  checkCapture(root, report)
  checkHealthChecks(root, report)
  checkResources(root, report)
  checkIdentity(root, env, report)
  checkNode(root, report)
  checkXds(root, report)
  const result = v.safeParse(bootstrapSchema, root)
  for (const issue of result.issues ?? []) reportIssue(issue, report)
  if (!result.success || errors.length > 0) return { ok: false, errors: inOrder(errors), warnings: overridden.warnings }

  const config = toConfig(result.output, file, isNamed(root, ['accessLog', 'path']), (path) => where(path, 'value'))
  return { ok: true, config, warnings: [...overridden.warnings, ...warningsOf(config, where)] }
}

function isNamed(root: Record<string, unknown>, path: DocumentPath): boolean {
  const holder = at(root, path.slice(0, -1) as string[])
  return isMapping(holder) && holder[path.at(-1) as string] !== undefined
}

/** `limits:` with only comments below is an empty section, not an error. */
function fillEmptySections(root: Record<string, unknown>): void {
  for (const section of SECTIONS) {
    const holder = at(root, section.slice(0, -1))
    if (isMapping(holder)) (holder as Record<string, unknown>)[section.at(-1)!] ??= {}
  }
  for (const list of ['listeners', 'healthChecks', 'resources']) if (root[list] === null) delete root[list]
}

function absolutePaths(root: Record<string, unknown>, folder: string): void {
  const { resources, accessLog } = root
  if (Array.isArray(resources))
    root['resources'] = resources.map((r: unknown) => (typeof r === 'string' ? resolve(folder, r) : r))
  const workloads = at(root, ['node', 'workloads'])
  if (Array.isArray(workloads))
    (root['node'] as Record<string, unknown>)['workloads'] = workloads.map((w: unknown) =>
      typeof w === 'string' ? resolve(folder, w) : w,
    )
  if (isMapping(accessLog) && typeof accessLog['path'] === 'string' && accessLog['path'] !== '') {
    root['accessLog'] = { ...accessLog, path: resolve(folder, accessLog['path']) }
  }
  for (const { path, info } of BOOTSTRAP_FIELDS) {
    const holder = info.form === 'path' ? at(root, path.slice(0, -1)) : null
    const value = isMapping(holder) ? holder[path.at(-1)!] : null
    if (typeof value === 'string' && value !== '') (holder as Record<string, unknown>)[path.at(-1)!] = resolve(folder, value)
  }
  const bundles = at(root, ['identity', 'bundles'])
  if (isMapping(bundles)) {
    for (const [name, file] of Object.entries(bundles))
      if (typeof file === 'string' && file !== '') (bundles as Record<string, unknown>)[name] = resolve(folder, file)
  }
}

function checkResources(root: Record<string, unknown>, report: Report): void {
  if (!Array.isArray(root['resources'])) return
  for (const [index, path] of root['resources'].entries()) {
    if (typeof path === 'string' && !existsSync(path)) report(['resources', index], 'value', `no such file or folder: ${path}`)
  }
}

type Where = (path: DocumentPath, part: 'key' | 'value') => { file: string; line: number; column: number }

function locator(document: YamlDocument, overridden: Overridden, file: string): Where {
  return (path, part) => {
    const source = overridden.sourceOf(path)
    if (source !== null) return { file: source, line: 0, column: 0 }
    return file === '' ? { file: 'built-in defaults', line: 0, column: 0 } : { file, ...document.locate(path, part) }
  }
}

function reportIssue(issue: v.BaseIssue<unknown>, report: Report): void {
  const path = (issue.path ?? []).map((item) => item.key as string | number)
  if (issue.type !== 'strict_object' && issue.type !== 'array') {
    report(path, 'value', issue.message)
    return
  }
  // Wrong shapes and unknown keys are check.ts' business: valibot takes a list for an object and stops at the first key.
  const name = String(path.at(-1))
  const info = issue.input === undefined ? LISTENER_FIELDS.find((f) => f.path[0] === name)?.info : undefined
  if (info === undefined) return
  report(path.slice(0, -1), 'value', `missing field \`${name}\`: expected ${info.expected}, such as \`${name}: ${info.example}\``)
}

/** `listeners[0].port`; of an unknown key the thing that holds it; empty for the top level. */
function pathText(path: DocumentPath, part: 'key' | 'value'): string {
  const shown = part === 'key' ? path.slice(0, -1) : path
  return shown.map((step, i) => (typeof step === 'number' ? `[${step}]` : i === 0 ? step : `.${step}`)).join('')
}

function inOrder(errors: readonly ConfigProblem[]): ConfigProblem[] {
  return [...errors].sort((a, b) => a.line - b.line || a.column - b.column)
}

function toConfig(
  d: BootstrapDocument,
  file: string,
  namesLog: boolean,
  where: (path: DocumentPath) => { file: string; line: number; column: number },
): BootstrapConfig {
  const { headerTimeout, connectionIdleTimeout, streamIdleTimeout, streamStallTimeout, ...limits } = d.limits
  const { dnsRefresh, minTlsVersion, ...mesh } = d.mesh
  const { detectionTimeout, ...capture } = d.capture
  const { detectionTimeout: waypointTimeout, ...waypoint } = d.waypoint
  const labels: Readonly<Record<string, string>> = d.workload.labels
  const namespace = d.workload.namespace
  return {
    role: d.role,
    workload: { ...d.workload, labels, name: d.workload.name ?? labels['app'] ?? 'unknown' },
    concurrency: d.concurrency,
    admin: d.admin,
    health: d.health,
    accessLog: { ...d.accessLog, isDefault: !namesLog },
    logLevel: d.logLevel,
    resources: d.resources,
    xds: xdsConfig(d.xds),
    listeners: d.listeners.map((l, index): ListenerConfig => {
      const origin = { kind: 'bootstrap', namespace, name: l.name, ...where(['listeners', index]) }
      const { connect, protocol, ...rest } = l
      return {
        ...rest,
        protocol: protocol === 'tcp' ? 'tcp' : 'http',
        httpVersion: protocol === 'http1' || protocol === 'http2' ? protocol : 'auto',
        allowConnect: connect === 'tunnel',
        destination: l.destination ?? '',
        forwardTo: l.forwardTo ?? '',
        origin,
      }
    }),
    healthChecks: d.healthChecks.map((check, index) => {
      const at = where(['healthChecks', index])
      return healthCheckRule(check, { kind: 'bootstrap', namespace, name: `healthChecks[${index}]`, ...at })
    }),
    identity: identityConfig(d.identity),
    node: d.node,
    agent: d.agent,
    dns: d.dns,
    capture: {
      ...capture,
      detectionTimeoutMs: detectionTimeout,
      origin: d.capture.mode === 'none' ? BUILT_IN : { kind: 'bootstrap', namespace, name: 'capture', ...where(['capture']) },
    },
    gateway: {
      ...d.gateway,
      origin: d.role === 'gateway' ? { kind: 'bootstrap', namespace, name: 'gateway', ...where(['gateway']) } : BUILT_IN,
    },
    waypoint: {
      ...waypoint,
      detectionTimeoutMs: waypointTimeout,
      origin: d.role === 'waypoint' ? { kind: 'bootstrap', namespace, name: 'waypoint', ...where(['waypoint']) } : BUILT_IN,
    },
    // A node's tunnel has a successor beside it.
    drain: {
      acceptMs: d.role === 'node' ? 0 : Math.min(d.drain.accept, d.drain.deadline),
      deadlineMs: d.drain.deadline,
      changesMs: d.drain.changes,
    },
    limits: {
      ...limits,
      headerTimeoutMs: headerTimeout,
      connectionIdleTimeoutMs: connectionIdleTimeout,
      streamIdleTimeoutMs: streamIdleTimeout,
      streamStallTimeoutMs: streamStallTimeout,
    },
    mesh: { ...mesh, minTlsVersion: minTlsVersion === 'TLSV1_2' ? 'TLSv1.2' : 'TLSv1.3', dnsRefreshMs: dnsRefresh },
    http1: d.http1,
    mirror: d.mirror,
    retries: d.retries,
    faults: d.faults,
    file,
  }
}

function warningsOf(config: BootstrapConfig, where: Where): ConfigProblem[] {
  const warnings: ConfigProblem[] = []
  if (!/^(127\.|::1$)/.test(config.admin.address)) {
    const message = `the admin server on ${config.admin.address} has no authentication; 127.0.0.1 keeps it to this machine`
    warnings.push({ ...where(['admin', 'address'], 'value'), message })
  }
  return warnings
}
