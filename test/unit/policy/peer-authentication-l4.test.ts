// PeerAuthentication in front of a tunnel: who is refused without an identity, on which port, and who is named for it.
import t from 'tap'
import { L4Authorizer } from '../../../lib/policy/l4-authorizer.ts'
import { l4Connection } from '../../../lib/policy/l4-match.ts'
import { strictAuthorization, withPeerAuthentications } from '../../../lib/policy/peer-authentication-l4.ts'
import { policyKey } from '../../../lib/state/authorization.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import type { MtlsSetting, PeerAuthentication } from '../../../lib/state/peer-authentication.ts'
import { peerIdentityOf } from '../../../lib/state/peer-identity.ts'
import { workload } from '../../support/mesh-nouns.ts'

const ROOT = 'istio-system'
const APP = { app: 'a' }

function peer(
  namespace: string,
  name: string,
  mode: MtlsSetting,
  ports: Record<number, MtlsSetting> | null = null,
): PeerAuthentication {
  const origin = { ...BUILT_IN, kind: 'PeerAuthentication', namespace, name }
  const portList = Object.entries(ports ?? {}).map(([port, m]) => ({ port: Number(port), mode: m, origin }))
  return { namespace, name, selector: ports === null ? {} : APP, mode, ports: portList, createdMs: 0, origin }
}
const mesh = (mode: MtlsSetting) => peer(ROOT, 'mesh', mode)
const wide = (mode: MtlsSetting) => peer('ns', 'wide', mode)
const work = (mode: MtlsSetting, ports: Record<number, MtlsSetting> = {}) => peer('ns', 'work', mode, ports)

t.test('plain text', async (t) => {
  /** Whether plain text is refused on port 80, 81 and another one. */
  const rows: [what: string, policies: PeerAuthentication[], refused: [boolean, boolean, boolean], named: string][] = [
    ['nothing', [], [false, false, false], ''],
    ['mesh STRICT', [mesh('STRICT')], [true, true, true], 'istio-system/istio_converted_static_strict'],
    ['mesh PERMISSIVE', [mesh('PERMISSIVE')], [false, false, false], ''],
    ['DISABLE is PERMISSIVE', [mesh('STRICT'), wide('DISABLE')], [false, false, false], ''],
    ['namespace STRICT', [mesh('PERMISSIVE'), wide('STRICT')], [true, true, true], 'ns/converted_peer_authentication_wide'],
    ['workload STRICT', [work('STRICT')], [true, true, true], 'ns/converted_peer_authentication_work'],
    [
      'workload UNSET under STRICT',
      [mesh('STRICT'), work('UNSET')],
      [true, true, true],
      'istio-system/istio_converted_static_strict',
    ],
    ['workload PERMISSIVE under STRICT', [mesh('STRICT'), work('PERMISSIVE')], [false, false, false], ''],
    ['STRICT, a port open', [work('STRICT', { 80: 'PERMISSIVE' })], [false, true, true], 'ns/converted_peer_authentication_work'],
    [
      'STRICT, a port disabled',
      [work('STRICT', { 80: 'DISABLE' })],
      [false, true, true],
      'ns/converted_peer_authentication_work',
    ],
    [
      'STRICT, two ports open',
      [work('STRICT', { 80: 'PERMISSIVE', 81: 'DISABLE' })],
      [false, false, true],
      'ns/converted_peer_authentication_work',
    ],
    [
      'STRICT, a port STRICT too',
      [work('STRICT', { 80: 'STRICT', 81: 'UNSET' })],
      [true, true, true],
      'ns/converted_peer_authentication_work',
    ],
    [
      'PERMISSIVE, a port STRICT',
      [work('PERMISSIVE', { 80: 'STRICT' })],
      [true, false, false],
      'ns/converted_peer_authentication_work',
    ],
    [
      'DISABLE, two ports STRICT',
      [work('DISABLE', { 80: 'STRICT', 81: 'STRICT' })],
      [true, true, false],
      'ns/converted_peer_authentication_work',
    ],
    [
      'inherited STRICT, a port open',
      [mesh('STRICT'), work('UNSET', { 80: 'PERMISSIVE' })],
      [false, true, true],
      'ns/converted_peer_authentication_work',
    ],
    [
      'inherited STRICT, a port disabled',
      [mesh('STRICT'), work('UNSET', { 80: 'DISABLE' })],
      [false, true, true],
      'ns/converted_peer_authentication_work',
    ],
    [
      'inherited PERMISSIVE, ports mixed',
      [mesh('PERMISSIVE'), wide('UNSET'), work('UNSET', { 80: 'STRICT', 81: 'PERMISSIVE' })],
      [true, false, false],
      'ns/converted_peer_authentication_work',
    ],
  ]
  const target = workload('app', { addresses: ['10.9.0.1'] })
  for (const [what, policies, refused, named] of rows) {
    const set = { rootNamespace: ROOT, policies }
    const converted = strictAuthorization(set, 'ns', APP)
    t.equal(converted === null ? '' : policyKey(converted), named, what)
    const world = withPeerAuthentications({ workloads: [target], services: [], policies: [] }, set, () => APP)
    const authorizer = new L4Authorizer(world.policies)
    const at = world.workloads[0]!
    const allowed = (port: number, id: string | null) =>
      authorizer.check(at, l4Connection('10.0.0.1', '10.9.0.1', port, id === null ? null : peerIdentityOf(id))).allowed
    t.same(
      [80, 81, 8080].map((port) => !allowed(port, null)),
      refused,
      what,
    )
    for (const port of [80, 81, 8080]) t.ok(allowed(port, 'spiffe://cluster.local/ns/x/sa/y'), `${what}: with an identity`)
  }
})

t.test('worlds', async (t) => {
  const world = { workloads: [workload('a'), workload('b', { namespace: 'other' })], services: [], policies: [] }
  const none = { rootNamespace: ROOT, policies: [] }
  t.equal(
    withPeerAuthentications(world, none, () => APP),
    world,
    'nothing to do',
  )
  const made = withPeerAuthentications(world, { rootNamespace: ROOT, policies: [mesh('STRICT'), wide('PERMISSIVE')] }, () => ({}))
  t.same(
    made.workloads.map((w) => w.authorizationPolicies),
    [[], ['istio-system/istio_converted_static_strict']],
  )
  t.same(made.policies.map(policyKey), ['istio-system/istio_converted_static_strict'])
  t.equal(made.policies[0]?.origin.kind, 'PeerAuthentication', 'a refusal names the object')
  t.same(world.workloads[0]?.authorizationPolicies, [], 'the world that was is as it was')
})
