// The probes of WorkloadGroups, and which WorkloadEntries they are for.
import type { HealthCheck, HealthProbe } from '../../state/health-check.ts'
import type { ResourceObject } from '../resource-object.ts'
import type { ReadinessProbeSpec } from '../schema/workload-group.ts'
import type { World } from './world.ts'

type Group = ResourceObject<'WorkloadGroup'>

/** Written by istiod when it registers a workload by itself. */
const GROUP_ANNOTATION = 'istio.io/autoRegistrationGroup'
/** What a Kubernetes probe takes for success. */
const SUCCESS = [{ from: 200, to: 399 }]

export class WorkloadGroups {
  private readonly world: World
  private readonly groups: Map<string, { readonly group: Group; readonly check: HealthCheck | null }>

  constructor(world: World) {
    this.world = world
    this.groups = new Map(
      world.objects('WorkloadGroup').map((group) => [keyOf(group, group.name), { group, check: checkOf(group) }]),
    )
  }

  /** null: the entry belongs to no group, or its group has no probe that can be carried out. */
  checkFor(entry: ResourceObject<'WorkloadEntry'>): HealthCheck | null {
    const name = groupName(entry)
    return name === null ? null : (this.groups.get(keyOf(entry, name))?.check ?? null)
  }

  /** What of the groups has no effect. */
  note(): void {
    const { world } = this
    const named = new Set(world.objects('WorkloadEntry').map((entry) => keyOf(entry, groupName(entry) ?? '')))
    for (const [key, { group }] of this.groups) {
      if (!named.has(key)) {
        const by = `the annotation ${GROUP_ANNOTATION}: ${group.name}, or an ownerReference`
        world.verdicts.waiting(group, `waiting for a WorkloadEntry in \`${group.namespace}\` that belongs to it by ${by}`)
      }
      noteProbe(world, group)
    }
  }
}

function noteProbe(world: World, group: Group): void {
  const { exec, httpGet, tcpSocket } = group.spec.probe ?? {}
  if (exec !== undefined)
    world.verdicts.partly(
      group,
      ['probe', 'exec'],
      'a command cannot be run from here: the endpoints are used without a check',
      true,
    )
  if ((httpGet?.host ?? '') !== '')
    world.verdicts.partly(
      group,
      ['probe', 'httpGet', 'host'],
      "is sent as the Host header; it is each endpoint's own address that is asked",
      true,
    )
  if ((tcpSocket?.host ?? '') !== '')
    world.verdicts.partly(
      group,
      ['probe', 'tcpSocket', 'host'],
      "has no effect: it is each endpoint's own address that is asked",
      true,
    )
}

function groupName(entry: ResourceObject<'WorkloadEntry'>): string | null {
  const annotated = entry.annotations[GROUP_ANNOTATION] ?? ''
  if (annotated !== '') return annotated
  return entry.owners.find((owner) => owner.kind === 'WorkloadGroup')?.name ?? null
}

function keyOf(object: ResourceObject, name: string): string {
  return `${object.namespace}/${name}`
}

/** 0 and absence mean the default (Kubernetes Probe). */
function checkOf(group: Group): HealthCheck | null {
  const spec = group.spec.probe
  const probe = spec === undefined ? null : probeOf(spec)
  if (spec === undefined || probe === null) return null
  return {
    probe,
    intervalMs: (spec.periodSeconds || 10) * 1000,
    timeoutMs: (spec.timeoutSeconds || 1) * 1000,
    unhealthyThreshold: spec.failureThreshold || 3,
    healthyThreshold: spec.successThreshold || 1,
    initialDelayMs: (spec.initialDelaySeconds ?? 0) * 1000,
    origin: group.origin(['probe']),
  }
}

function probeOf(spec: ReadinessProbeSpec): HealthProbe | null {
  const { httpGet, tcpSocket, grpc } = spec
  if (httpGet !== undefined) return httpProbe(httpGet)
  if (tcpSocket !== undefined) return { kind: 'tcp', port: tcpSocket.port ?? 0 }
  if (grpc !== undefined) return { kind: 'grpc', port: grpc.port ?? 0, service: grpc.service ?? '' }
  return null
}

function httpProbe(get: NonNullable<ReadinessProbeSpec['httpGet']>): HealthProbe {
  const path = get.path ?? ''
  const headers = (get.httpHeaders ?? []).map(({ name = '', value = '' }) => [name, value] as const)
  const host = headers.findLast(([name]) => name.toLowerCase() === 'host')?.[1] ?? get.host ?? ''
  return {
    kind: 'http',
    tls: get.scheme === 'HTTPS',
    port: get.port ?? 0,
    path: path.startsWith('/') ? path : `/${path}`,
    host,
    headers: headers.filter(([name]) => name.toLowerCase() !== 'host'),
    statuses: SUCCESS,
  }
}
