// Ejection by success rate and by failure percentage: Envoy has both, Istio has no field for them. Annotations of a DestinationRule ask for
// them, for every `outlierDetection` that it writes: `on`, or any of the numbers, `"requestVolume=50, stdevFactor=2.5"`.
import { didYouMean } from '../base/nearest.ts'
import type { FailurePercentageEjection, SuccessRateEjection } from '../state/outlier-detection.ts'

export const SUCCESS_RATE_ANNOTATION = 'heddle.io/success-rate-ejection'
export const FAILURE_PERCENTAGE_ANNOTATION = 'heddle.io/failure-percentage-ejection'

/** Envoy's defaults. */
const SUCCESS_RATE: SuccessRateEjection = { minimumHosts: 5, requestVolume: 100, stdevFactor: 1.9 }
const FAILURE_PERCENTAGE: FailurePercentageEjection = { threshold: 85, minimumHosts: 5, requestVolume: 50 }

/** null: not asked for. A text: what is wrong with it. */
export function successRateOf(annotations: Readonly<Record<string, string>>): SuccessRateEjection | string | null {
  return read(annotations[SUCCESS_RATE_ANNOTATION], SUCCESS_RATE)
}

export function failurePercentageOf(annotations: Readonly<Record<string, string>>): FailurePercentageEjection | string | null {
  return read(annotations[FAILURE_PERCENTAGE_ANNOTATION], FAILURE_PERCENTAGE)
}

function read<T extends { readonly [K in keyof T]: number }>(text: string | undefined, defaults: T): T | string | null {
  if (text === undefined) return null
  const value: Record<string, number> = { ...defaults }
  const names = Object.keys(defaults)
  if (text.trim() === 'on') return defaults
  for (const part of text.split(',')) {
    const [, name = '', number = ''] = /^\s*([^=\s]+)\s*=\s*(\S+)\s*$/.exec(part) ?? []
    if (name === '') return `expected \`on\`, or numbers such as "${textOf(defaults)}", found "${text}"`
    if (!names.includes(name)) return `unknown name \`${name}\`: expected ${names.join(', ')}${didYouMean(name, names)}`
    const problem = numberProblem(name, number)
    if (problem !== '') return `${name}: ${problem}, found "${number}"`
    value[name] = Number(number)
  }
  return value as T
}

function textOf(defaults: object): string {
  return Object.entries(defaults)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ')
}

function numberProblem(name: string, text: string): string {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (name === 'stdevFactor') return Number.isNaN(value) ? 'expected a number of 0 or more' : ''
  if (!Number.isSafeInteger(value)) return 'expected a whole number of 0 or more'
  return name === 'threshold' && value > 100 ? 'expected a percentage from 0 to 100' : ''
}
