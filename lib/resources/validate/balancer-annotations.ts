// Annotations that choose a balancer that Istio has no name for.
import { parseDuration } from '../../base/duration.ts'
import { didYouMean } from '../../base/nearest.ts'

/** DestinationRule: a policy that Istio's `simple` has no name for. */
export const LOAD_BALANCER = 'heddle.io/load-balancer'
/** With it: how fast PEAK_EWMA forgets, a duration; 10s. */
export const LOAD_BALANCER_DECAY = 'heddle.io/load-balancer-decay'

/** `report`: of an annotation. */
export function checkBalancerAnnotations(
  annotations: Readonly<Record<string, string>>,
  report: (name: string, message: string) => void,
): void {
  const policy = annotations[LOAD_BALANCER]
  if (policy !== undefined && policy !== 'PEAK_EWMA') {
    report(
      LOAD_BALANCER,
      `expected PEAK_EWMA, found "${policy}"${didYouMean(policy, ['PEAK_EWMA'])}; other policies are set by trafficPolicy.loadBalancer`,
    )
  }
  const decay = annotations[LOAD_BALANCER_DECAY]
  if (decay === undefined) return
  if (policy === undefined) report(LOAD_BALANCER_DECAY, `only together with \`${LOAD_BALANCER}: PEAK_EWMA\``)
  const ms = parseDuration(decay)
  if (ms === null || ms < 1) report(LOAD_BALANCER_DECAY, `expected a duration of at least 1ms such as 10s, found "${decay}"`)
}
