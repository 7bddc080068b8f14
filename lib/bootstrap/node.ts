// What the schema of the section `node` cannot see.
import { at, elementsOf, isMapping, type Mapping, type Report } from './check.ts'

export function checkNode(root: Mapping, report: Report): void {
  const node = isMapping(root['node']) ? root['node'] : {}
  const isNode = root['role'] === 'node'
  for (const field of ['workloads', 'pods', 'agentSocket']) {
    const value = node[field]
    const given = (Array.isArray(value) || typeof value === 'string') && value.length > 0
    if (given && !isNode) report(['node', field], 'key', `\`${field}\` belongs to \`role: node\``)
  }
  if (!isNode) return
  const isFed = (at(root, ['xds', 'address']) ?? '') !== ''
  if (!isFed && (!Array.isArray(node['workloads']) || node['workloads'].length === 0))
    report(
      ['node'],
      'value',
      'role `node` needs `workloads`, files in ztunnel’s local format, such as `workloads: [ ./mesh.yaml ]`, or `xds.address`',
    )
  if ((at(root, ['identity', 'source']) ?? 'none') === 'none')
    report(
      ['role'],
      'value',
      'role `node` needs `identity.source`, which its pods’ certificates come from, such as `identity: { source: istio-ca }`',
    )
  checkPods(node, report)
  checkPorts(node, report)
}

/** Two pods in one namespace would take each other's connections: SO_REUSEPORT lets both listen. */
function checkPods(node: Mapping, report: Report): void {
  const seen = new Map<string, number>()
  for (const [index, pod] of elementsOf(node, 'pods')) {
    const name = `${String(pod['namespace'] ?? 'default')}/${String(pod['name'])}`
    for (const [field, key] of [
      ['name', `pod ${name}`],
      ['netns', `network namespace ${String(pod['netns'])}`],
    ] as const) {
      const first = pod[field] === undefined ? undefined : seen.get(key)
      if (first !== undefined) report(['node', 'pods', index, field], 'value', `${key} is already that of pods[${first}]`)
      else seen.set(key, index)
    }
  }
}

function checkPorts(node: Mapping, report: Report): void {
  const ports = [
    ['outboundPort', node['outboundPort'] ?? 15_001],
    ['inboundPort', node['inboundPort'] ?? 15_006],
    ['tunnelPort', node['tunnelPort'] ?? 15_008],
  ] as const
  for (const [i, [field, port]] of ports.entries()) {
    if (port === 0) report(['node', field], 'value', 'the rules of its pods need a port that is known: 0 is none')
    const rival = ports.slice(0, i).find(([, other]) => other === port)
    if (rival !== undefined) report(['node', field], 'value', `${String(port)} is already \`${rival[0]}\``)
  }
}
