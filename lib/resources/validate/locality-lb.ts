// Locality settings and warm-up of a DestinationRule (istio pkg/config/validation).
import type { Path, Report } from '../finding.ts'
import type { LoadBalancerSpec } from '../schema/destination-rule.ts'
import { checkDuration, checkRange } from './values.ts'

type Failover = NonNullable<NonNullable<LoadBalancerSpec['localityLbSetting']>['failover']>

/** `failover` says these already. */
const PLACE_LABELS = ['topology.kubernetes.io/region', 'topology.kubernetes.io/zone', 'topology.istio.io/subzone']

export function checkLocality(lb: LoadBalancerSpec, path: Path, report: Report): void {
  const locality = lb.localityLbSetting
  const at = [...path, 'localityLbSetting']
  if (locality !== undefined) {
    if ((locality.distribute?.length ?? 0) > 0 && (locality.failover?.length ?? 0) > 0)
      report([...at, 'failover'], '`distribute` and `failover` cannot both be set', true)
    checkDistribute(locality.distribute ?? [], [...at, 'distribute'], report)
    checkFailover(locality.failover ?? [], [...at, 'failover'], report)
    if ((locality.failover?.length ?? 0) > 0)
      checkPlaceLabels(locality.failoverPriority ?? [], [...at, 'failoverPriority'], 'together with `failover`', report)
  }
  const zoneAware = lb.zoneAwareLbSetting
  if (zoneAware === undefined) return
  const zoneAwareAt = [...path, 'zoneAwareLbSetting']
  if (locality !== undefined) report(zoneAwareAt, 'not together with `localityLbSetting`', true)
  checkFailover(zoneAware.failover ?? [], [...zoneAwareAt, 'failover'], report)
  checkPlaceLabels(zoneAware.failoverPriority ?? [], [...zoneAwareAt, 'failoverPriority'], 'in `zoneAwareLbSetting`', report)
}

export function checkWarmup(lb: LoadBalancerSpec, path: Path, report: Report): void {
  checkDuration(lb.warmupDurationSecs, [...path, 'warmupDurationSecs'], report)
  const { warmup } = lb
  if (warmup === undefined) return
  const at = [...path, 'warmup']
  if (warmup.duration === undefined) report(at, 'the warm-up needs a `duration`')
  checkDuration(warmup.duration, [...at, 'duration'], report)
  checkRange(warmup.minimumPercent, 0, 100, [...at, 'minimumPercent'], report)
  if (warmup.aggression !== undefined && !(warmup.aggression > 0))
    report([...at, 'aggression'], `expected a number above 0, found ${warmup.aggression}`)
}

function checkDistribute(
  distribute: NonNullable<NonNullable<LoadBalancerSpec['localityLbSetting']>['distribute']>,
  path: Path,
  report: Report,
): void {
  const froms: (readonly [string, Path])[] = []
  for (const [i, { from = '', to = {} }] of distribute.entries()) {
    const at = [...path, i]
    froms.push([from, from === '' ? at : [...at, 'from']])
    let sum = 0
    for (const [locality, weight] of Object.entries(to)) {
      checkRange(weight, 1, 100, [...at, 'to', locality], report)
      sum += weight
    }
    if (sum !== 100)
      report([...at, ...(Object.keys(to).length > 0 ? ['to'] : [])], `the shares of \`to\` add up to ${sum}, expected 100`)
    checkLocalities(
      Object.keys(to).map((locality) => [locality, [...at, 'to', locality]]),
      report,
    )
  }
  checkLocalities(froms, report)
}

/** None may cover another one. */
function checkLocalities(localities: readonly (readonly [string, Path])[], report: Report): void {
  const before: string[] = []
  for (const [locality, path] of localities) {
    const parts = locality.split('/')
    if (parts.length > 3 || parts.some((part) => part === '')) {
      report(path, `expected region/zone/subzone, region/zone, region, or one of these that ends with \`*\`, found "${locality}"`)
      continue
    }
    if (/\*./.test(locality) || parts.some((part) => part !== '*' && part.includes('*'))) {
      report(path, `\`*\` is allowed as the last part only, found "${locality}"`)
      continue
    }
    const overlapped = before.find((other) => overlap(other, locality))
    if (overlapped !== undefined) report(path, `\`${locality}\` overlaps with \`${overlapped}\``)
    before.push(locality)
  }
}

function overlap(a: string, b: string): boolean {
  const [x, y] = [a, b].map((locality) => locality.split('/').filter((part) => part !== '*')) as [string[], string[]]
  const shorter = x.length < y.length ? x : y
  return shorter.every((part, i) => part === (shorter === x ? y : x)[i])
}

function checkFailover(failover: Failover, path: Path, report: Report): void {
  for (const [i, rule] of failover.entries()) {
    for (const field of ['from', 'to'] as const) {
      const region = rule[field] ?? ''
      if (region === '') report([...path, i], `the failover needs \`${field}\`, a region`)
      else if (/[/*]/.test(region))
        report([...path, i, field], `expected the name of a region, without \`/\` and \`*\`, found "${region}"`)
    }
    if (rule.from !== undefined && rule.from === rule.to)
      report([...path, i, 'to'], `expected another region than \`from\`, found "${rule.to}" twice`)
  }
}

function checkPlaceLabels(labels: readonly string[], path: Path, where: string, report: Report): void {
  for (const [i, label] of labels.entries())
    if (PLACE_LABELS.includes(label)) report([...path, i], `\`${label}\` cannot be used ${where}`)
}
