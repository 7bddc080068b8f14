// Istio PeerAuthentication: which mode holds for a workload and a port.
import fc from 'fast-check'
import t from 'tap'
import { effectiveMtls, effectiveMtlsMode, mtlsRuleOf } from '../../../lib/policy/peer-authentication.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import type { MtlsMode, MtlsSetting, PeerAuthentication } from '../../../lib/state/peer-authentication.ts'

const ROOT = 'istio-system'
const APP = { app: 'a' }

interface Given {
  readonly namespace?: string
  readonly name?: string
  readonly selector?: Readonly<Record<string, string>>
  readonly ports?: Readonly<Record<number, MtlsSetting>>
  readonly created?: number
}

function policy(mode: MtlsSetting, given: Given = {}): PeerAuthentication {
  const { namespace = 'ns', name = 'x', selector = {}, ports = {}, created = Number.NEGATIVE_INFINITY } = given
  const origin = { ...BUILT_IN, kind: 'PeerAuthentication', namespace, name }
  const portList = Object.entries(ports).map(([port, m]) => ({ port: Number(port), mode: m, origin: { ...origin, line: 9 } }))
  return { namespace, name, selector, mode, ports: portList, createdMs: created, origin }
}
const mesh = (mode: MtlsSetting, given: Given = {}) => policy(mode, { namespace: ROOT, name: 'mesh', ...given })
const wide = (mode: MtlsSetting, given: Given = {}) => policy(mode, { name: 'wide', ...given })
const work = (mode: MtlsSetting, given: Given = {}) => policy(mode, { name: 'work', selector: APP, ...given })

function modeOf(
  policies: readonly PeerAuthentication[],
  port = 80,
  namespace = 'ns',
  labels: Record<string, string> = APP,
): MtlsMode {
  return effectiveMtlsMode({ rootNamespace: ROOT, policies }, namespace, labels, port)
}

t.test('the narrowest scope that says something holds', async (t) => {
  const rows: [what: string, policies: PeerAuthentication[], mode: MtlsMode][] = [
    ['nothing', [], 'PERMISSIVE'],
    ['mesh', [mesh('STRICT')], 'STRICT'],
    ['mesh UNSET', [mesh('UNSET')], 'PERMISSIVE'],
    ['namespace', [wide('STRICT')], 'STRICT'],
    ['namespace over mesh', [mesh('STRICT'), wide('DISABLE')], 'DISABLE'],
    ['namespace over mesh, whatever the order', [wide('DISABLE'), mesh('STRICT')], 'DISABLE'],
    ['namespace UNSET: the mesh', [mesh('STRICT'), wide('UNSET')], 'STRICT'],
    ['namespace UNSET, no mesh', [wide('UNSET')], 'PERMISSIVE'],
    ['workload over namespace over mesh', [mesh('STRICT'), wide('STRICT'), work('PERMISSIVE')], 'PERMISSIVE'],
    ['workload UNSET: the namespace', [mesh('STRICT'), wide('DISABLE'), work('UNSET')], 'DISABLE'],
    ['workload UNSET, namespace UNSET: the mesh', [mesh('STRICT'), wide('UNSET'), work('UNSET')], 'STRICT'],
    ['workload UNSET, nothing else', [work('UNSET')], 'PERMISSIVE'],
    ['another namespace', [wide('STRICT', { namespace: 'other' })], 'PERMISSIVE'],
    ['other labels', [work('STRICT', { selector: { app: 'b' } })], 'PERMISSIVE'],
    ['all labels are needed', [work('STRICT', { selector: { app: 'a', tier: 'web' } })], 'PERMISSIVE'],
    ['a label of the prototype', [work('STRICT', { selector: { constructor: 'x' } })], 'PERMISSIVE'],
    ['a selector in the root namespace holds nowhere', [mesh('STRICT', { selector: APP })], 'PERMISSIVE'],
    ['and does not hide the one of the mesh', [mesh('PERMISSIVE', { selector: APP }), mesh('STRICT', { name: 'm' })], 'STRICT'],
  ]
  for (const [what, policies, mode] of rows) t.equal(modeOf(policies), mode, what)
})

t.test('workloads of the root namespace', async (t) => {
  t.equal(modeOf([mesh('STRICT')], 80, ROOT), 'STRICT')
  t.equal(modeOf([mesh('STRICT'), mesh('DISABLE', { name: 'sel', selector: APP })], 80, ROOT), 'STRICT')
})

t.test('of several in one scope the oldest holds, names decide between those of one moment', async (t) => {
  const rows: [what: string, policies: PeerAuthentication[], mode: MtlsMode][] = [
    ['mesh', [mesh('DISABLE', { created: 2, name: 'a' }), mesh('STRICT', { created: 1, name: 'b' })], 'STRICT'],
    ['namespace', [wide('STRICT', { created: 1, name: 'b' }), wide('DISABLE', { created: 2, name: 'a' })], 'STRICT'],
    ['workload', [work('DISABLE', { created: 2, name: 'a' }), work('STRICT', { created: 1, name: 'b' })], 'STRICT'],
    [
      'a younger one is not asked even where the oldest is UNSET',
      [wide('UNSET', { created: 1 }), wide('STRICT', { created: 2 })],
      'PERMISSIVE',
    ],
    [
      'the same moment: by name',
      [wide('STRICT', { created: 1, name: 'b' }), wide('DISABLE', { created: 1, name: 'a' })],
      'DISABLE',
    ],
    ['no timestamp is older than any', [wide('STRICT', { created: 1, name: 'a' }), wide('DISABLE', { name: 'b' })], 'DISABLE'],
    ['no timestamps: by name', [wide('STRICT', { name: 'b' }), wide('DISABLE', { name: 'a' })], 'DISABLE'],
  ]
  for (const [what, policies, mode] of rows) t.equal(modeOf(policies), mode, what)
})

t.test('ports', async (t) => {
  const ports = { 80: 'DISABLE', 81: 'UNSET' } as const
  const rows: [what: string, policies: PeerAuthentication[], port: number, mode: MtlsMode][] = [
    ['a port over its workload', [work('STRICT', { ports })], 80, 'DISABLE'],
    ['UNSET: the workload', [work('STRICT', { ports })], 81, 'STRICT'],
    ['other ports: the workload', [work('STRICT', { ports })], 82, 'STRICT'],
    ['UNSET of port and workload: the namespace', [wide('STRICT'), work('UNSET', { ports })], 81, 'STRICT'],
    ['UNSET of port, workload and namespace: the mesh', [mesh('STRICT'), wide('UNSET'), work('UNSET', { ports })], 81, 'STRICT'],
    ['a port over STRICT of the mesh', [mesh('STRICT'), work('UNSET', { ports })], 80, 'DISABLE'],
    [
      'ports of a younger one do not count',
      [work('STRICT', { created: 1 }), work('STRICT', { created: 2, ports })],
      80,
      'STRICT',
    ],
  ]
  for (const [what, policies, port, mode] of rows) t.equal(modeOf(policies, port), mode, what)
})

t.test('who set it', async (t) => {
  const policies = [mesh('STRICT'), wide('UNSET'), work('UNSET', { ports: { 80: 'PERMISSIVE', 81: 'UNSET' } })]
  const mtls = effectiveMtls({ rootNamespace: ROOT, policies }, 'ns', APP)
  t.same(
    mtls.applied.map((p) => p.name),
    ['mesh', 'wide', 'work'],
  )
  t.equal(mtlsRuleOf(mtls, 443).setBy.name, 'mesh')
  t.equal(mtlsRuleOf(mtls, 81).setBy.name, 'mesh')
  t.same([mtlsRuleOf(mtls, 80).setBy.name, mtlsRuleOf(mtls, 80).setBy.line], ['work', 9])
  t.equal(effectiveMtls({ rootNamespace: ROOT, policies: [] }, 'ns', APP).rule.setBy, BUILT_IN)
})

t.test('the order of the objects does not matter', async () => {
  const setting = fc.constantFrom<MtlsSetting>('STRICT', 'PERMISSIVE', 'DISABLE', 'UNSET')
  const one = fc
    .record({ mode: setting, scope: fc.nat(2), created: fc.nat(2), name: fc.constantFrom('a', 'b', 'c') })
    .map(({ mode, scope, created, name }) => [mesh, wide, work][scope]!(mode, { created, name: `${name}${scope}` }))
  const some = fc.uniqueArray(one, { selector: (p) => `${p.namespace}/${p.name}`, maxLength: 8 })
  fc.assert(fc.property(some, (policies) => modeOf(policies) === modeOf(policies.toReversed())))
})
