// A real istiod's workload feed, and what ztunnel made of the same.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { MeshIndex } from '../../../../lib/decide/tunnel/mesh-index.ts'
import { WorkloadStore } from '../../../../lib/xds/workload/workload-store.ts'
import { type RecordedResponse, recordedResponses } from '../../../support/istio-protos.ts'
import { peersFolder } from '../../resources/kit.ts'
import { sorted, type ZtunnelView, ztunnelView } from './ztunnel-view.ts'

const peers = peersFolder()
const skip = peers === null && 'no recordings'

type Json = Record<string, unknown>

t.test('a recorded feed', { skip }, async (t) => {
  const folder = join(peers as string, 'captures/ambient')
  const responses = recordedResponses(join(folder, 'wds.jsonl'))
  const first = responses.filter((r) => r.step.startsWith('type.googleapis.com/'))
  const store = new WorkloadStore()
  const index = new MeshIndex(store.world)
  const view = (): ZtunnelView => ztunnelView(store.world, index)
  const apply = (list: readonly RecordedResponse[]): void => {
    for (const { typeUrl, resources, removed } of list) {
      const { faults, change } = store.apply(typeUrl, resources, removed)
      t.same(faults, [])
      index.apply(change)
    }
  }
  apply(first)
  const theirs = sorted(JSON.parse(readFileSync(join(folder, 'ztunnel-view.json'), 'utf8')) as ZtunnelView)
  t.same(view(), theirs, 'is what ztunnel shows')

  const steps = [...new Set(responses.slice(first.length).map((r) => r.step))]
  t.equal(steps.length, 4)
  /** What must be there after each change: the view before it, and what the change says. */
  const edits: Readonly<Record<string, (before: ZtunnelView) => ZtunnelView>> = {
    'reviews-v2-1 becomes ready': ({ workloads, services, policies }) => ({
      workloads: edit(workloads, (w) => w['name'] === 'reviews-v2-1', { status: 'Healthy' }),
      services: services.map((s) => {
        if (s['name'] !== 'reviews') return s
        const uid = 'Kubernetes//Pod/default/reviews-v2-1'
        const endpoint = { workloadUid: uid, port: { 9080: 8080, 9090: 9090 }, status: 'Healthy' }
        return { ...s, endpoints: { ...(s['endpoints'] as Json), [uid]: endpoint } }
      }),
      policies,
    }),
    'ratings-l4 renamed to ratings-l4-new': ({ workloads, services, policies }) => ({
      workloads: workloads.map((w) => {
        const listed = w['authorizationPolicies'] as string[] | undefined
        if (!listed?.includes('default/ratings-l4')) return w
        return { ...w, authorizationPolicies: listed.map((p) => (p === 'default/ratings-l4' ? `${p}-new` : p)) }
      }),
      services,
      policies: edit(policies, (p) => p['name'] === 'ratings-l4', { name: 'ratings-l4-new' }),
    }),
    'pod ratings-1 deleted': ({ workloads, services, policies }) => ({
      workloads: workloads.filter((w) => w['name'] !== 'ratings-1'),
      services: services.map((s) => {
        const { 'Kubernetes//Pod/default/ratings-1': _, ...endpoints } = s['endpoints'] as Json
        return { ...s, endpoints }
      }),
      policies,
    }),
    'reviews no longer uses its waypoint': ({ workloads, services, policies }) => ({
      workloads,
      services: services.map((s) => {
        const { waypoint: _, ...rest } = s
        return s['name'] === 'reviews' ? rest : s
      }),
      policies,
    }),
  }
  for (const step of steps) {
    const expected = sorted((edits[step] as (before: ZtunnelView) => ZtunnelView)(view()))
    apply(responses.filter((r) => r.step === step))
    t.same(unlisted(view()), unlisted(expected), step)
    t.same(view(), ztunnelView(store.world, new MeshIndex(store.world)), `${step}: as an index made anew`)
  }
})

function edit(list: readonly Json[], which: (item: Json) => boolean, change: Json): Json[] {
  return list.map((item) => (which(item) ? { ...item, ...change } : item))
}

/** istiod lists the policies of a workload in no order that means anything. */
function unlisted({ workloads, ...rest }: ZtunnelView): ZtunnelView {
  return {
    ...rest,
    workloads: workloads.map((w) => ({
      ...w,
      authorizationPolicies: [...((w['authorizationPolicies'] as string[]) ?? [])].sort(),
    })),
  }
}
