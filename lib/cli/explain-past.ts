// Asks a running proxy what it did.
import type { ExplainedConnection, Explanation } from '../decide/explanation.ts'
import type { SocketAddress } from '../state/bootstrap-config.ts'
import { askAdmin, unreachableText } from './ask-admin.ts'

export type PastAnswer =
  | { readonly kind: 'explained'; readonly explanation: Explanation | ExplainedConnection }
  | { readonly kind: 'unknown'; readonly message: string }
  | { readonly kind: 'unreachable'; readonly message: string }

/** Never rejects. */
export async function askProxy(admin: SocketAddress, id: string): Promise<PastAnswer> {
  const answer = await askAdmin(admin, `/explain?id=${encodeURIComponent(id)}`)
  if (answer.kind === 'unreachable') return answer
  const { status, body } = answer
  const unreachable = (reason: string): PastAnswer => ({
    kind: 'unreachable',
    message: unreachableText(admin.address, admin.port, reason),
  })
  if (status === 404) return { kind: 'unknown', message: unknownText(id) }
  if (status !== 200) return unreachable(`it answered ${status}: ${body.trim().slice(0, 200)}`)
  const explanation = parsed(body)
  if (explanation === null) return unreachable('it answered with something that is not an explanation')
  return { kind: 'explained', explanation }
}

function unknownText(id: string): string {
  return `the proxy remembers no request with x-request-id ${id}: it never came by, newer ones have taken its place, or it was one of more than are kept of a moment`
}

function parsed(body: string): Explanation | ExplainedConnection | null {
  try {
    const value = JSON.parse(body) as unknown
    return typeof value === 'object' && value !== null && 'verdict' in value ? (value as Explanation) : null
  } catch {
    return null
  }
}
