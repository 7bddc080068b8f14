// What the schema cannot see: misspelt fields (all of them), and listeners that do not fit together. Works on the document
// before validation, so that these are reported together with wrong types.
import { didYouMean } from '../base/nearest.ts'
import type { DocumentPath } from './document.ts'
import { BOOTSTRAP_FIELDS, LISTENER_FIELDS, SECTIONS } from './fields.ts'
import { found } from './leaf.ts'

type Mapping = Readonly<Record<string, unknown>>
export type Report = (path: DocumentPath, part: 'key' | 'value', message: string) => void

const LISTENER_EXAMPLE = '{ name: out, direction: outbound, port: 8080 }'
const SECTION_EXAMPLES: Readonly<Record<string, string>> = {
  admin: '{ port: 15000 }',
  health: '{ port: 15021 }',
  accessLog: '{ format: json }',
  drain: '{ deadline: 5s }',
  faults: '{ headers: allow }',
  http1: '{ halfClose: serve }',
  limits: '{ maxHeaders: 100 }',
  mesh: '{ domain: cluster.local }',
  mirror: '{ hostSuffix: "-shadow" }',
  workload: '{ namespace: default }',
}

export function checkShapes(root: Mapping, report: Report): void {
  const wrong = (path: DocumentPath, what: string, example: string, value: unknown) =>
    report(path, 'value', `expected ${what} such as \`${example}\`; found ${found(value)}`)
  for (const section of SECTIONS) {
    if (!isMapping(root[section])) wrong([section], 'a mapping', SECTION_EXAMPLES[section] ?? '{ }', root[section])
  }
  const listeners = root['listeners'] ?? []
  if (!Array.isArray(listeners)) {
    wrong(['listeners'], 'a list', `[ ${LISTENER_EXAMPLE} ]`, listeners)
    return
  }
  for (const [index, listener] of listeners.entries()) {
    if (!isMapping(listener)) wrong(['listeners', index], 'a mapping', LISTENER_EXAMPLE, listener)
  }
}

export function checkFieldNames(root: Mapping, report: Report): void {
  const top = new Set(BOOTSTRAP_FIELDS.map((f) => f.path[0]!))
  unknownIn(root, [], top, report)
  for (const section of SECTIONS) {
    const known = new Set(BOOTSTRAP_FIELDS.filter((f) => f.path[0] === section).map((f) => f.path[1]!))
    if (isMapping(root[section])) unknownIn(root[section], [section], known, report)
  }
  const ofListener = new Set(LISTENER_FIELDS.map((f) => f.path[0]!))
  for (const [index, listener] of listenersOf(root)) unknownIn(listener, ['listeners', index], ofListener, report)
}

export function checkListeners(root: Mapping, report: Report): void {
  const names = new Map<string, number>()
  for (const [index, listener] of listenersOf(root)) {
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

/** Two listeners of one process on one port would share its connections: SO_REUSEPORT lets both bind and nobody complains. */
function checkPorts(root: Mapping, report: Report): void {
  const of = (key: string, port: number): Socket => {
    const section = isMapping(root[key]) ? root[key] : {}
    return { path: [key, 'port'], who: `\`${key}\``, address: section['address'] ?? '127.0.0.1', port: section['port'] ?? port }
  }
  const sockets = [of('admin', 15_000), of('health', 15_021)]
  for (const [index, listener] of listenersOf(root)) {
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

function clashes(a: Socket, b: Socket): boolean {
  if (typeof a.port !== 'number' || a.port === 0 || a.port !== b.port) return false
  return a.address === b.address || [a.address, b.address].some((address) => address === '0.0.0.0' || address === '::')
}

function listenersOf(root: Mapping): [index: number, listener: Mapping][] {
  const listeners = root['listeners']
  if (!Array.isArray(listeners)) return []
  return listeners.flatMap((l: unknown, index): [number, Mapping][] => (isMapping(l) ? [[index, l]] : []))
}

function unknownIn(mapping: Mapping, path: DocumentPath, known: ReadonlySet<string>, report: Report): void {
  for (const key of Object.keys(mapping)) {
    if (known.has(key)) continue
    const hint = didYouMean(key, known) || `; expected one of ${[...known].map((k) => `\`${k}\``).join(', ')}`
    report([...path, key], 'key', `unknown field \`${key}\`${hint}`)
  }
}

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
