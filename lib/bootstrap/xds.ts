// The section `xds` as the rest of heddle has it, and what its schema cannot see.
import type { XdsConfig } from '../state/bootstrap-config.ts'
import { at, isMapping, type Mapping, type Report } from './check.ts'
import { splitHostPort } from './leaf.ts'
import type { XdsDocument } from './schema.ts'

export function checkXds(root: Mapping, report: Report): void {
  const address = at(root, ['xds', 'address'])
  const given = typeof address === 'string' && address !== ''
  if (given && /:\d+$/.test(address) && splitHostPort(address) === null)
    report(['xds', 'address'], 'value', `expected a port of 1 to 65535; found ${JSON.stringify(address)}`)
  if (given) checkOnlySource(root, report)
  const certificate = at(root, ['xds', 'clientCertificate']) ?? ''
  const key = at(root, ['xds', 'clientKey']) ?? ''
  if ((certificate === '') !== (key === ''))
    report(['xds'], 'value', '`clientCertificate` and `clientKey` are given together, or neither')
  if ((address ?? '') === '' && isMapping(at(root, ['agent', 'readinessProbe'])))
    report(['agent', 'readinessProbe'], 'key', 'what comes of it is told to a control plane, and there is none: `xds.address`')
  if (at(root, ['xds', 'onDemand']) === true && root['role'] !== 'node')
    report(['xds', 'onDemand'], 'value', '`onDemand` belongs to `role: node`')
}

/** Two sources would have to be merged, and nobody could say which object wins. */
function checkOnlySource(root: Mapping, report: Report): void {
  const node = isMapping(root['node']) ? root['node'] : {}
  for (const [path, list] of [
    [['resources'], root['resources']],
    [['node', 'workloads'], node['workloads']],
  ] as const) {
    if (!Array.isArray(list) || list.length === 0) continue
    const name = path.join('.')
    report(path, 'key', `\`${name}\` and \`xds.address\` are both given; configuration comes from files or from a control plane`)
  }
}

/** `d` has passed the schema and `checkXds`. */
export function xdsConfig(d: XdsDocument): XdsConfig {
  return { ...d, headers: Object.fromEntries(d.headers) }
}
