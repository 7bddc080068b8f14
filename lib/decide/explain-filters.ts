// Sentences about what filters did to a request: faults, CORS, mirrors.
import * as S from './steps.ts'

/** Of FAULT, CORS and SESSION. */
export function filterWord(code: number): 'fault' | 'cors' | 'session' {
  return code === S.FAULT ? 'fault' : code === S.CORS ? 'cors' : 'session'
}

export function filterText(code: number, a: number, b: number): string {
  if (code === S.FAULT) return faultText(a, b)
  return code === S.CORS ? corsText(a === 1, b) : sessionText(a)
}

/** `value`: milliseconds of a delay, status of an abort. */
function faultText(kind: number, value: number): string {
  switch (kind) {
    case S.FAULT_DELAY:
      return `fault injection held it for ${value} ms`
    case S.FAULT_GRPC_ABORT:
      return `fault injection answered with grpc-status ${value}`
    default:
      return `fault injection answered ${value}`
  }
}

function sessionText(outcome: number): string {
  switch (outcome) {
    case S.SESSION_KEPT:
      return 'its session is with that endpoint'
    case S.SESSION_LOST:
      return 'the endpoint of its session is not there any more, or not well'
    default:
      return 'it has no session yet: the response tells its client which endpoint it belongs to'
  }
}

function corsText(allowed: boolean, preflight: number): string {
  const origin = allowed ? 'the CORS policy allows its origin' : 'the CORS policy does not allow its origin'
  switch (preflight) {
    case S.CORS_ANSWERED:
      return `${origin}: the preflight was answered here`
    case S.CORS_FORWARDED:
      return `${origin}: the preflight went on to the destination`
    default:
      return allowed ? `${origin}: the response gets its headers` : `${origin}: the response stays as it is`
  }
}

export function mirrorText(cluster: string, outcome: number): string {
  switch (outcome) {
    case S.MIRROR_SENT:
      return `a copy went to ${cluster}`
    case S.MIRROR_NOT_DRAWN:
      return `no copy to ${cluster}: its percentage left this request out`
    case S.MIRROR_NO_CLUSTER:
      return `no copy to ${cluster}: there is no such cluster`
    case S.MIRROR_NO_ENDPOINT:
      return `no copy to ${cluster}: none of its endpoints is available`
    default:
      return `no copy to ${cluster}: mirror.maxRequests copies are under way`
  }
}
