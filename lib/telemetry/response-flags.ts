// Response flags (Envoy response flags) as bits, in the order in which they are printed. Envoy: StreamInfo::CoreResponseFlag.

export const LH = 1 << 0
export const UH = 1 << 1
export const UT = 1 << 2
export const LR = 1 << 3
export const UR = 1 << 4
export const UF = 1 << 5
export const UC = 1 << 6
export const UO = 1 << 7
export const NR = 1 << 8
export const DI = 1 << 9
export const FI = 1 << 10
export const RL = 1 << 11
export const UAEX = 1 << 12
export const RLSE = 1 << 13
export const DC = 1 << 14
export const URX = 1 << 15
export const SI = 1 << 16
export const IH = 1 << 17
export const DPE = 1 << 18
export const UMSDR = 1 << 19
export const NFCF = 1 << 20
export const DT = 1 << 21
export const UPE = 1 << 22
export const NC = 1 << 23
export const OM = 1 << 24
export const DF = 1 << 25
export const DO = 1 << 26
export const DR = 1 << 27
/** URX of TCP, where it is set when connecting has failed for good, and so printed behind the reason: `UF,URX`. */
export const URX_TCP = 1 << 28

/** Short and long names by bit number. */
export const FLAG_NAMES: readonly (readonly [short: string, long: string])[] = [
  ['LH', 'FailedLocalHealthCheck'],
  ['UH', 'NoHealthyUpstream'],
  ['UT', 'UpstreamRequestTimeout'],
  ['LR', 'LocalReset'],
  ['UR', 'UpstreamRemoteReset'],
  ['UF', 'UpstreamConnectionFailure'],
  ['UC', 'UpstreamConnectionTermination'],
  ['UO', 'UpstreamOverflow'],
  ['NR', 'NoRouteFound'],
  ['DI', 'DelayInjected'],
  ['FI', 'FaultInjected'],
  ['RL', 'RateLimited'],
  ['UAEX', 'UnauthorizedExternalService'],
  ['RLSE', 'RateLimitServiceError'],
  ['DC', 'DownstreamConnectionTermination'],
  ['URX', 'UpstreamRetryLimitExceeded'],
  ['SI', 'StreamIdleTimeout'],
  ['IH', 'InvalidEnvoyRequestHeaders'],
  ['DPE', 'DownstreamProtocolError'],
  ['UMSDR', 'UpstreamMaxStreamDurationReached'],
  ['NFCF', 'NoFilterConfigFound'],
  ['DT', 'DurationTimeout'],
  ['UPE', 'UpstreamProtocolError'],
  ['NC', 'NoClusterFound'],
  ['OM', 'OverloadManagerTerminated'],
  ['DF', 'DnsResolutionFailed'],
  ['DO', 'DropOverload'],
  ['DR', 'DownstreamRemoteReset'],
  ['URX', 'UpstreamRetryLimitExceeded'],
]

/** Envoy prints flags in the order in which they were set: what was injected, then that no retry is left, then why (`DI,URX,UF`). */
const SET_FIRST: readonly number[] = [DI, FI, URX]

const texts = new Map<number, string>([[0, '-']])
const longTexts = new Map<number, string>([[0, '-']])

/** `-`, `UH`, `URX,UF`. */
export function flagsText(flags: number): string {
  return textOf(flags, 0, texts)
}

/** `-`, `NoHealthyUpstream`. */
export function flagsLongText(flags: number): string {
  return textOf(flags, 1, longTexts)
}

function textOf(flags: number, form: 0 | 1, known: Map<number, string>): string {
  const found = known.get(flags)
  if (found !== undefined) return found
  const names: string[] = []
  const nameOf = (bit: number) => (FLAG_NAMES[31 - Math.clz32(bit)] as readonly [string, string])[form]
  for (const bit of SET_FIRST) if (flags & bit) names.push(nameOf(bit))
  for (let i = 0; i < FLAG_NAMES.length; i++) {
    if (flags & (1 << i) && !SET_FIRST.includes(1 << i)) names.push(nameOf(1 << i))
  }
  const text = names.join(',')
  known.set(flags, text)
  return text
}
