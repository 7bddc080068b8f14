// Sentences about L4 policies: which one decided, what those on trial would have done, and what the nearest one lacked.
import type { IpPrefix } from '../../base/ip-prefix.ts'
import { wouldDeny } from '../../policy/l4-authorizer.ts'
import type { L4Connection } from '../../policy/l4-match.ts'
import { type MissedClause, type NearMiss, nearestMiss } from '../../policy/near-miss.ts'
import type { AttributeKind, AuthorizationMatch, StringMatch } from '../../state/authorization.ts'
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { TunnelSentence } from './explain-tunnel.ts'
import type { TunnelStep } from './tunnel-steps.ts'

export function policySentences(step: Extract<TunnelStep, { kind: 'policy' }>): TunnelSentence[] {
  const { verdict, policies, connection } = step
  const out: TunnelSentence[] = []
  for (const name of policies.unknown)
    out.push({ text: `policy ${name} is listed by the workload and not known: it does not count`, origin: step.workload.origin })
  for (const { policy, rule } of verdict.dryRun) {
    const fits = rule === null ? 'does not fit' : 'fits'
    out.push({
      text: `${policy.action} policy ${policy.namespace}/${policy.name} ${fits}; it is on trial and decides nothing`,
      origin: rule?.origin ?? policy.origin,
    })
  }
  if (wouldDeny(verdict)) out.push({ text: 'the policies on trial would refuse this connection', origin: BUILT_IN })
  switch (verdict.reason) {
    case 'denied':
    case 'allowed': {
      const { policy, rule } = verdict
      if (policy !== null)
        out.push({
          text: `${policy.action} policy ${policy.namespace}/${policy.name} fits`,
          origin: rule?.origin ?? policy.origin,
        })
      break
    }
    case 'no-allow-policy':
      out.push({ text: allowedText(policies.deny.length), origin: BUILT_IN })
      break
    case 'not-allowed':
      out.push({
        text: `none of ${policies.allow.length} ALLOW ${policies.allow.length === 1 ? 'policy' : 'policies'} fits`,
        origin: BUILT_IN,
      })
      out.push(...nearMissSentences(nearestMiss(policies, connection), connection))
  }
  return out
}

function allowedText(denies: number): string {
  const none =
    denies === 0 ? 'no policy' : `none of ${denies} DENY ${denies === 1 ? 'policy' : 'policies'} fits, and no ALLOW policy`
  return `${none} is there for the workload: allowed`
}

function nearMissSentences(miss: NearMiss | null, c: L4Connection): TunnelSentence[] {
  if (miss === null) return []
  const name = `${miss.policy.namespace}/${miss.policy.name}`
  if (miss.rule === null) return [{ text: `policy ${name} has no rule, and allows nothing`, origin: miss.policy.origin }]
  const place = miss.rule.origin.line === 0 ? miss.policy.origin : miss.rule.origin
  return [
    { text: `the nearest is policy ${name}`, origin: place },
    ...miss.missing.map((clause) => ({ text: missingText(clause, c), origin: placeOf(clause, place) })),
  ]
}

function placeOf({ match }: MissedClause, otherwise: Origin): Origin {
  return match.origin.line === 0 ? otherwise : match.origin
}

function missingText({ match, attributes }: MissedClause, c: L4Connection): string {
  if (attributes.length === 0) return 'it has a match that asks for nothing, which fits nothing'
  return attributes.map((kind) => `${kind}: seen ${seenText(kind, c)}, wanted ${wantedText(kind, match)}`).join('; ')
}

function seenText(kind: AttributeKind, c: L4Connection): string {
  switch (kind) {
    case 'namespaces':
    case 'notNamespaces':
      return c.identity === null ? 'no identity' : JSON.stringify(c.identity.namespace)
    case 'serviceAccounts':
    case 'notServiceAccounts':
      return c.identity === null ? 'no identity' : JSON.stringify(`${c.identity.namespace}/${c.identity.serviceAccount}`)
    case 'principals':
    case 'notPrincipals':
      return c.principal === null ? 'no identity' : JSON.stringify(c.principal)
    case 'sourceIps':
    case 'notSourceIps':
      return c.source
    case 'destinationIps':
    case 'notDestinationIps':
      return c.destination
    case 'destinationPorts':
    case 'notDestinationPorts':
      return String(c.destinationPort)
  }
}

function wantedText(kind: AttributeKind, match: AuthorizationMatch): string {
  const list = match[kind].map(valueText)
  const values = list.length > 5 ? `${list.slice(0, 5).join(', ')} or ${list.length - 5} others` : list.join(' or ')
  return kind.startsWith('not') ? `anything but ${values}` : values
}

type Value = AuthorizationMatch[AttributeKind][number]

function valueText(value: Value): string {
  if (typeof value === 'number') return String(value)
  if ('kind' in value) return textMatchText(value)
  if ('serviceAccount' in value) return JSON.stringify(`${value.namespace}/${value.serviceAccount}`)
  return prefixText(value)
}

function textMatchText(match: StringMatch): string {
  return match.kind === 'presence' ? 'any' : `${match.kind} ${JSON.stringify(match.value)}`
}

function prefixText({ address, length }: IpPrefix): string {
  return `${address}/${length}`
}
