// The answers for attempts that brought no response, made from the reset's reason (Envoy router replies).
import * as X from '../pool/exchange.ts'
import * as F from '../telemetry/response-flags.ts'

/** The shape of filter/http/reasons.ts, whose table is for reasons with a fixed text. */
export interface ResetReply {
  readonly code: string
  readonly status: number
  readonly flags: number
  readonly details: string
  readonly body: string
  readonly closes: boolean
}

const FLAGS: readonly number[] = [0, F.UF, F.UF, F.UC, F.UO, F.UPE, F.LR, F.UR, F.UR, F.UR, F.UPE]
const CODES: readonly string[] = [
  '',
  'connect_failure',
  'connect_timeout',
  'connection_termination',
  'overflow',
  'upstream_protocol_error',
  'local_reset',
  'refused_stream',
  'goaway',
  'remote_reset',
  'no_extended_connect',
]

/** Flag of a reset, also when the response had begun. */
export function resetFlag(reset: number): number {
  return FLAGS[reset] as number
}

/** `upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}`. */
export function resetDetails(reset: number, detail: string, started: boolean): string {
  const words = (X.RESET_WORDS[reset] as string).replaceAll(' ', '_')
  const transport = reset === X.RESET_CONNECT_FAILURE && detail !== '' ? `|${detail.replaceAll(' ', '_')}` : ''
  return `upstream_reset_${started ? 'after' : 'before'}_response_started{${words}${transport}}`
}

export function resetReply(reset: number, detail: string, retried: boolean): ResetReply {
  const lead = retried ? 'retried and the latest reset reason' : 'reset reason'
  return {
    code: CODES[reset] as string,
    status: reset === X.RESET_PROTOCOL_ERROR || reset === X.RESET_NOT_OFFERED ? 502 : 503,
    flags: resetFlag(reset),
    details: resetDetails(reset, detail, false),
    body: `upstream connect error or disconnect/reset before headers. ${lead}: ${X.RESET_WORDS[reset]}`,
    closes: false,
  }
}
