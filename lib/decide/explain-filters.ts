// Sentences about what filters did to a request: faults, CORS, mirrors.
import * as S from './steps.ts'

/** `value`: milliseconds of a delay, status of an abort. */
export function faultText(kind: number, value: number): string {
  switch (kind) {
    case S.FAULT_DELAY:
      return `fault injection held it for ${value} ms`
    case S.FAULT_GRPC_ABORT:
      return `fault injection answered with grpc-status ${value}`
    default:
      return `fault injection answered ${value}`
  }
}

export function corsText(allowed: boolean, preflight: number): string {
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
