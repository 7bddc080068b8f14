// DENY rules that ask of requests only: where there are bytes and no requests nothing of them can be asked, and they deny every connection, as Istio has it.
import type { RbacMatch, RbacPolicy } from '../../../state/rbac.ts'
import type { ResourceNote } from '../../../state/snapshot.ts'
import type { ResourceObject } from '../../resource-object.ts'
import { compileRule, type RuleSite } from './rule.ts'

const MESSAGE =
  'this rule asks of HTTP requests only: on ports that carry other bytes it denies every connection; name the `ports` that it is for'

export function tcpNotes(object: ResourceObject<'AuthorizationPolicy'>, site: Omit<RuleSite, 'tcp' | 'allows'>): ResourceNote[] {
  if (object.spec.action !== 'DENY') return []
  return (object.spec.rules ?? []).flatMap((rule, i): ResourceNote[] => {
    const on = (tcp: boolean): RbacPolicy | null => compileRule(object, rule, i, { ...site, tcp, allows: false })
    if (!deniesAll(on(true)) || deniesAll(on(false))) return []
    const { kind, namespace, name, file, line, column } = object.origin(['rules', i])
    return [{ kind, namespace, name, route: '', message: MESSAGE, file, line, column }]
  })
}

function deniesAll(policy: RbacPolicy | null): boolean {
  if (policy === null) return false
  return policy.permissions.some(isAny) && policy.principals.some(isAny)
}

function isAny(m: RbacMatch): boolean {
  return m.kind === 'any' || (m.kind === 'and' && m.of.every(isAny))
}
