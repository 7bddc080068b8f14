// What the schema cannot see: misspelt fields (all of them), and listeners that do not fit together. Works on the document
// before validation, so that these are reported together with wrong types.
import { didYouMean } from '../base/nearest.ts'
import type { DocumentPath } from './document.ts'
import { BOOTSTRAP_FIELDS, HEALTH_CHECK_FIELDS, LISTENER_FIELDS, LISTS, POD_FIELDS, SECTIONS } from './fields.ts'
import { found } from './leaf.ts'

export type Mapping = Readonly<Record<string, unknown>>
export type Report = (path: DocumentPath, part: 'key' | 'value', message: string) => void

const SECTION_EXAMPLES: Readonly<Record<string, string>> = {
  admin: '{ port: 15000 }',
  agent: '{ statusPort: 15020 }',
  health: '{ port: 15021 }',
  accessLog: '{ format: json }',
  capture: '{ mode: redirect }',
  dns: '{ port: 15053 }',
  drain: '{ deadline: 5s }',
  faults: '{ headers: allow }',
  gateway: '{ ports: { 443: 8443 } }',
  http1: '{ halfClose: serve }',
  identity: '{ source: dev-ca }',
  'identity.devCa': '{ folder: ./ca }',
  'identity.files': '{ certificateChain: cert-chain.pem }',
  'identity.istioCa': '{ address: "istiod.istio-system.svc:15012" }',
  'identity.rotation': '{ graceRatio: 0.5 }',
  'identity.workloadApi': '{ socket: "unix:///run/spire/agent.sock" }',
  limits: '{ maxHeaders: 100 }',
  mesh: '{ domain: cluster.local }',
  mirror: '{ hostSuffix: "-shadow" }',
  node: '{ workloads: [ ./mesh.yaml ] }',
  waypoint: '{ services: namespace }',
  workload: '{ namespace: default }',
  xds: '{ address: "istiod.istio-system.svc:15012" }',
}

/** The probes of a health check, of which it has one. */
const PROBE_EXAMPLES = { http: '{ path: /healthz }', tcp: '{ }', grpc: '{ service: shop.Cart }' } as const

export function checkShapes(root: Mapping, report: Report): void {
  const wrong = (path: DocumentPath, what: string, example: string, value: unknown) =>
    report(path, 'value', `expected ${what} such as \`${example}\`; found ${found(value)}`)
  for (const section of SECTIONS) {
    const holder = at(root, section.slice(0, -1))
    const value = isMapping(holder) ? holder[section.at(-1)!] : {}
    if (!isMapping(value)) wrong(section, 'a mapping', SECTION_EXAMPLES[section.join('.')] ?? '{ }', value)
  }
  for (const [name, { example }] of Object.entries(LISTS)) {
    const path = name.split('.')
    const list = at(root, path) ?? []
    if (!Array.isArray(list)) {
      wrong(path, 'a list', example, list)
      continue
    }
    for (const [index, element] of list.entries()) {
      if (!isMapping(element)) wrong([...path, index], 'a mapping', example.slice(2, -2), element)
    }
  }
  for (const [index, check] of elementsOf(root, 'healthChecks')) {
    for (const [kind, example] of Object.entries(PROBE_EXAMPLES)) {
      const probe = check[kind]
      if (probe !== undefined && !isMapping(probe)) wrong(['healthChecks', index, kind], 'a mapping', example, probe)
    }
  }
}

export function checkFieldNames(root: Mapping, report: Report): void {
  const top = new Set(BOOTSTRAP_FIELDS.map((f) => f.path[0]!))
  unknownIn(root, [], top, report)
  for (const section of SECTIONS) {
    const within = BOOTSTRAP_FIELDS.filter((f) => section.every((step, i) => f.path[i] === step))
    const known = new Set(within.map((f) => f.path[section.length]!))
    const value = at(root, section)
    if (isMapping(value)) unknownIn(value, section, known, report)
  }
  const ofListener = new Set(LISTENER_FIELDS.map((f) => f.path[0]!))
  for (const [index, listener] of elementsOf(root, 'listeners')) unknownIn(listener, ['listeners', index], ofListener, report)
  const ofPod = new Set(POD_FIELDS.map((f) => f.path[0]!))
  const node = isMapping(root['node']) ? root['node'] : {}
  for (const [index, pod] of elementsOf(node, 'pods')) unknownIn(pod, ['node', 'pods', index], ofPod, report)
  const ofCheck = new Set(HEALTH_CHECK_FIELDS.map((f) => f.path[0]!))
  for (const [index, check] of elementsOf(root, 'healthChecks')) {
    unknownIn(check, ['healthChecks', index], ofCheck, report)
    for (const kind of Object.keys(PROBE_EXAMPLES)) {
      const ofProbe = new Set(HEALTH_CHECK_FIELDS.filter((f) => f.path[0] === kind).map((f) => f.path[1]!))
      if (isMapping(check[kind])) unknownIn(check[kind], ['healthChecks', index, kind], ofProbe, report)
    }
  }
}

export function checkHealthChecks(root: Mapping, report: Report): void {
  const listeners = elementsOf(root, 'listeners').map(([, l]) => l)
  for (const [index, check] of elementsOf(root, 'healthChecks')) {
    const at = ['healthChecks', index]
    const probes = Object.keys(PROBE_EXAMPLES).filter((kind) => check[kind] !== undefined)
    if (probes.length === 0)
      report(at, 'value', 'a health check needs one of `http`, `tcp` and `grpc`, such as `http: { path: /healthz }`')
    else if (probes.length > 1)
      report(
        [...at, probes[1]!],
        'key',
        `a health check has one of \`http\`, \`tcp\` and \`grpc\`; found ${probes.map((p) => `\`${p}\``).join(' and ')}`,
      )
    const chosen = [check['hosts'], check['listeners']].filter((list) => !Array.isArray(list) || list.length > 0)
    if (chosen.every((list) => list === undefined))
      report(at, 'value', 'a health check needs `hosts`, the services whose endpoints are asked, such as `hosts: [ reviews ]`')
    checkListenerNames(check, at, listeners, report)
  }
}

/** The application behind a listener is asked only when that listener is named. */
function checkListenerNames(check: Mapping, at: DocumentPath, listeners: readonly Mapping[], report: Report): void {
  if (!Array.isArray(check['listeners'])) return
  for (const [i, name] of check['listeners'].entries()) {
    const listener = listeners.find((l) => l['name'] === name)
    const inbound = listeners.filter((l) => l['direction'] === 'inbound').map((l) => String(l['name']))
    if (listener === undefined && typeof name === 'string')
      report([...at, 'listeners', i], 'value', `there is no listener \`${name}\`${didYouMean(name, inbound)}`)
    else if (listener !== undefined && listener['direction'] !== 'inbound')
      report([...at, 'listeners', i], 'value', `listener \`${name}\` is not inbound: its endpoints are chosen with \`hosts\``)
  }
}

export function checkListeners(root: Mapping, report: Report): void {
  const names = new Map<string, number>()
  for (const [index, listener] of elementsOf(root, 'listeners')) {
    const name = listener['name']
    const first = typeof name === 'string' ? names.get(name) : undefined
    if (first !== undefined)
      report(['listeners', index, 'name'], 'value', `\`${name}\` is already the name of listeners[${first}]`)
    else if (typeof name === 'string') names.set(name, index)
    checkTarget(listener, index, report)
  }
  checkPorts(root, report)
}

function checkTarget(listener: Mapping, index: number, report: Report): void {
  const at = ['listeners', index]
  const { direction, protocol = 'http' } = listener as { direction?: unknown; protocol?: unknown }
  const misplaced = (field: string, where: string) => {
    if (listener[field] !== undefined) report([...at, field], 'key', `\`${field}\` belongs to ${where} listeners`)
  }
  if (direction === 'inbound') {
    if (listener['forwardTo'] === undefined) {
      report(
        at,
        'value',
        'an inbound listener needs `forwardTo`, the address of the application, such as `forwardTo: "127.0.0.1:9000"`',
      )
    }
    misplaced('destination', 'outbound')
    misplaced('destinationPort', 'outbound')
    misplaced('connect', 'outbound')
  } else if (direction === 'outbound') {
    if (protocol === 'tcp' && listener['destination'] === undefined) {
      report(
        at,
        'value',
        'an outbound tcp listener needs `destination`, such as `destination: "db.default.svc.cluster.local:5432"`',
      )
    }
    if (protocol === 'tcp') misplaced('destinationPort', 'outbound http')
    if (protocol === 'tcp') misplaced('connect', 'outbound http')
    misplaced('forwardTo', 'inbound')
  }
}

interface Socket {
  readonly path: DocumentPath
  readonly who: string
  readonly address: unknown
  readonly port: unknown
}

/** Only a sidecar has an application whose connections are led to it. */
export function checkCapture(root: Mapping, report: Report): void {
  const { capture, role = 'sidecar' } = root
  const mode = isMapping(capture) ? capture['mode'] : undefined
  if ((mode === 'redirect' || mode === 'tproxy') && role !== 'sidecar')
    report(['capture', 'mode'], 'value', `connections are captured in role \`sidecar\` only; this is role \`${String(role)}\``)
}

/** Two listeners of one process on one port would share its connections: SO_REUSEPORT lets both bind and nobody complains. */
function checkPorts(root: Mapping, report: Report): void {
  const of = (key: string, port: number, address = '127.0.0.1'): Socket => {
    const section = isMapping(root[key]) ? root[key] : {}
    return { path: [key, 'port'], who: `\`${key}\``, address: section['address'] ?? address, port: section['port'] ?? port }
  }
  const sockets = [of('admin', 15_000), of('health', 15_021)]
  sockets.push(...capturingSockets(root), ...agentSockets(root))
  if (root['role'] === 'waypoint') sockets.push(of('waypoint', 15_008, '0.0.0.0'))
  for (const [index, listener] of elementsOf(root, 'listeners')) {
    sockets.push({
      path: ['listeners', index, 'port'],
      who: `listener \`${String(listener['name'])}\``,
      address: listener['address'] ?? '127.0.0.1',
      port: listener['port'],
    })
  }
  for (const [index, socket] of sockets.entries()) {
    const rival = sockets.slice(0, index).find((other) => clashes(socket, other))
    if (rival !== undefined) report(socket.path, 'value', `${socket.address}:${socket.port} is already taken by ${rival.who}`)
  }
}

function capturingSockets({ capture }: Mapping): Socket[] {
  if (!isMapping(capture) || (capture['mode'] ?? 'none') === 'none') return []
  const ports = { outboundPort: 15_001, inboundPort: 15_006, tunnelPort: 15_008 }
  return Object.entries(ports).map(([field, port]) => ({
    path: ['capture', field],
    who: `\`capture.${field}\``,
    address: capture['address'] ?? '0.0.0.0',
    port: capture[field] ?? port,
  }))
}

function agentSockets({ agent }: Mapping): Socket[] {
  if (!isMapping(agent)) return []
  return ['statusPort', 'metricsPort'].map((field) => ({
    path: ['agent', field],
    who: `\`agent.${field}\``,
    address: agent['address'] ?? '0.0.0.0',
    port: agent[field] ?? 0,
  }))
}

function clashes(a: Socket, b: Socket): boolean {
  if (typeof a.port !== 'number' || a.port === 0 || a.port !== b.port) return false
  return a.address === b.address || [a.address, b.address].some((address) => address === '0.0.0.0' || address === '::')
}

export function elementsOf(root: Mapping, name: string): [index: number, element: Mapping][] {
  const list = root[name]
  if (!Array.isArray(list)) return []
  return list.flatMap((e: unknown, index): [number, Mapping][] => (isMapping(e) ? [[index, e]] : []))
}

function unknownIn(mapping: Mapping, path: DocumentPath, known: ReadonlySet<string>, report: Report): void {
  for (const key of Object.keys(mapping)) {
    if (known.has(key)) continue
    const hint = didYouMean(key, known) || `; expected one of ${[...known].map((k) => `\`${k}\``).join(', ')}`
    report([...path, key], 'key', `unknown field \`${key}\`${hint}`)
  }
}

/** What stands at this path; undefined when something that is no mapping stands in the way. */
export function at(root: Mapping, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, step) => (isMapping(value) ? value[step] : undefined), root)
}

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
