// Annotations of heddle's own that no object of a kind has: most likely misspelt, and what they ask for does not happen.
import { didYouMean } from '../../base/nearest.ts'
import { FAILURE_PERCENTAGE_ANNOTATION, SUCCESS_RATE_ANNOTATION } from '../ejection-annotations.ts'
import type { ResourceObject } from '../resource-object.ts'
import { LOAD_BALANCER, LOAD_BALANCER_DECAY } from '../validate/balancer-annotations.ts'
import { UNSAFE_RETRIES } from '../validate/unsafe-retries.ts'
import type { Verdicts } from './verdicts.ts'

const PREFIX = 'heddle.io/'

const KNOWN: Readonly<Record<string, readonly string[]>> = {
  VirtualService: [UNSAFE_RETRIES],
  DestinationRule: [LOAD_BALANCER, LOAD_BALANCER_DECAY, SUCCESS_RATE_ANNOTATION, FAILURE_PERCENTAGE_ANNOTATION],
}

export function noteUnknownAnnotations(verdicts: Verdicts, objects: readonly ResourceObject[]): void {
  for (const object of objects) {
    const own = KNOWN[object.kind] ?? []
    for (const name of Object.keys(object.annotations)) {
      if (!name.startsWith(PREFIX) || own.includes(name)) continue
      const kind = Object.keys(KNOWN).find((k) => KNOWN[k]?.includes(name))
      const why = kind === undefined ? didYouMean(name, own) : `; it is one of ${kind}s`
      verdicts.annotation(object, name, `means nothing on a ${object.kind}${why}`)
    }
  }
}
