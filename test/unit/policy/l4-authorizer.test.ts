// istio.security Authorization: what it lets in, and who is named for it.
import t from 'tap'
import { L4Authorizer, rejectionText, wouldDeny } from '../../../lib/policy/l4-authorizer.ts'
import { type L4Connection, l4Connection } from '../../../lib/policy/l4-match.ts'
import { nearestMiss } from '../../../lib/policy/near-miss.ts'
import type { Authorization, AuthorizationMatch } from '../../../lib/state/authorization.ts'
import { peerIdentityOf } from '../../../lib/state/peer-identity.ts'
import { accounts, policy, prefixes, rule, texts, workload } from '../../support/mesh-nouns.ts'

const WEB = 'spiffe://cluster.local/ns/default/sa/web'
const connection = (identity: string | null = WEB, port = 80, source = '10.1.2.3', destination = '10.9.0.1'): L4Connection =>
  l4Connection(source, destination, port, identity === null ? null : peerIdentityOf(identity))
const app = workload('app', { authorizationPolicies: ['ns/listed', 'ns/nobody'] })

function verdict(policies: Authorization[], c = connection()) {
  return new L4Authorizer(policies).check(app, c)
}
const fits = (m: Partial<AuthorizationMatch>, c: L4Connection): boolean => !verdict([policy('DENY', [rule([m])])], c).allowed

t.test('attributes', async (t) => {
  const plain = connection(null)
  const rows: [what: Partial<AuthorizationMatch>, c: L4Connection, fits: boolean][] = [
    [{}, connection(), false],
    [{ principals: texts('cluster.local/ns/default/sa/web') }, connection(), true],
    [{ principals: texts(WEB) }, connection(), false],
    [{ principals: texts('cluster.local/ns/default/sa/we') }, connection(), false],
    [{ principals: texts('cluster.local/ns/default/*') }, connection(), true],
    [{ principals: texts('spiffe://*') }, connection(), false],
    [{ principals: texts('*/sa/web') }, connection(), true],
    [{ principals: texts('*/sa/db') }, connection(), false],
    [{ principals: texts('*') }, connection(), true],
    [{ principals: texts('a', 'b', '*') }, connection(), true],
    [{ principals: texts('*') }, plain, false],
    [{ notPrincipals: texts('*') }, plain, true],
    [{ notPrincipals: texts('*') }, connection(), false],
    [{ notPrincipals: texts('*/sa/db') }, connection(), true],
    [{ principals: texts('td/other') }, connection('spiffe://td/other'), true],
    [{ principals: texts('*') }, connection('cluster.local/ns/default/sa/web'), false],
    [{ namespaces: texts('default') }, connection(), true],
    [{ namespaces: texts('def*') }, connection(), true],
    [{ namespaces: texts('prod') }, connection(), false],
    [{ namespaces: texts('*') }, connection('spiffe://td/other'), false],
    [{ namespaces: texts('*') }, plain, false],
    [{ notNamespaces: texts('default') }, connection(), false],
    [{ notNamespaces: texts('default') }, plain, true],
    [{ serviceAccounts: accounts('default/web') }, connection(), true],
    [{ serviceAccounts: accounts('default/web') }, connection('spiffe://other.td/ns/default/sa/web'), true],
    [{ serviceAccounts: accounts('prod/web') }, connection(), false],
    [{ serviceAccounts: accounts('default/we') }, connection(), false],
    [{ serviceAccounts: accounts('default/web') }, plain, false],
    [{ notServiceAccounts: accounts('default/web') }, connection(), false],
    [{ notServiceAccounts: accounts('default/web') }, plain, true],
    [{ sourceIps: prefixes('10.0.0.0/8') }, connection(), true],
    [{ sourceIps: prefixes('10.1.2.4/32', 'fd00::/8') }, connection(), false],
    [{ sourceIps: prefixes('fd00::/8') }, connection(WEB, 80, 'fd01::1'), true],
    [{ sourceIps: prefixes('10.0.0.0/8') }, connection(WEB, 80, '::ffff:10.1.2.3'), true],
    [{ notSourceIps: prefixes('10.0.0.0/8') }, connection(), false],
    [{ notSourceIps: prefixes('11.0.0.0/8') }, connection(), true],
    [{ destinationIps: prefixes('10.9.0.1/32') }, connection(), true],
    [{ destinationIps: prefixes('10.1.2.3/32') }, connection(), false],
    [{ notDestinationIps: prefixes('10.9.0.0/16') }, connection(), false],
    [{ destinationPorts: [79, 80] }, connection(), true],
    [{ destinationPorts: [15008] }, connection(), false],
    [{ notDestinationPorts: [80] }, connection(), false],
    [{ notDestinationPorts: [81] }, connection(), true],
    [{ principals: texts('*'), destinationPorts: [80] }, connection(), true],
    [{ principals: texts('*'), destinationPorts: [81] }, connection(), false],
    [{ principals: texts('*'), destinationPorts: [80] }, plain, false],
    [{ namespaces: texts('default'), notPrincipals: texts('*/sa/web') }, connection(), false],
  ]
  for (const [what, c, expected] of rows) t.equal(fits(what, c), expected, `${JSON.stringify(what)} ${c.principal}`)
})

t.test('rules, clauses and matches', async (t) => {
  const yes = { destinationPorts: [80] }
  const no = { destinationPorts: [81] }
  const rows: [what: string, rules: Parameters<typeof policy>[1], fits: boolean][] = [
    ['no rules', [], false],
    ['a rule without clauses', [rule()], true],
    ['any rule', [rule([no]), rule([yes])], true],
    ['no rule', [rule([no]), rule([no])], false],
    ['all clauses', [rule([yes], [yes])], true],
    ['not all clauses', [rule([yes], [no])], false],
    ['any match', [rule([no, yes])], true],
    ['no match', [rule([no, no])], false],
    ['a clause without matches', [rule([], [yes])], true],
    ['a match without attributes fits nothing', [rule([{}])], false],
    ['and is skipped beside others', [rule([{}, yes])], true],
    ['and spoils a rule', [rule([yes], [{}])], false],
  ]
  for (const [what, rules, expected] of rows) {
    t.equal(verdict([policy('DENY', rules)]).allowed, !expected, `DENY: ${what}`)
    t.equal(verdict([policy('ALLOW', rules)]).allowed, expected, `ALLOW: ${what}`)
  }
})

t.test('DENY goes first, and without ALLOW everything else may', async (t) => {
  const all = [rule()]
  const none = [rule([{ destinationPorts: [1] }])]
  const rows: [policies: Authorization[], reason: string, name: string | undefined][] = [
    [[], 'no-allow-policy', undefined],
    [[policy('DENY', none)], 'no-allow-policy', undefined],
    [[policy('ALLOW', all)], 'allowed', 'allow'],
    [[policy('ALLOW', none)], 'not-allowed', undefined],
    [[policy('ALLOW', none), policy('ALLOW', all, { name: 'second' })], 'allowed', 'second'],
    [[policy('ALLOW', all), policy('DENY', all)], 'denied', 'deny'],
    [[policy('DENY', none), policy('ALLOW', all)], 'allowed', 'allow'],
  ]
  for (const [policies, reason, name] of rows) {
    const v = verdict(policies)
    t.same([v.reason, v.policy?.name, v.allowed], [reason, name, reason !== 'denied' && reason !== 'not-allowed'])
  }
  t.equal(
    rejectionText(verdict([policy('DENY', all)])),
    'connection closed due to policy rejection: explicitly denied by: ns/deny',
  )
  t.equal(
    rejectionText(verdict([policy('ALLOW', none)])),
    'connection closed due to policy rejection: allow policies exist, but none allowed',
  )
  t.equal(rejectionText(verdict([])), '')
})

t.test('which policies hold for a workload', async (t) => {
  const deny = (over: Partial<Authorization>) => policy('DENY', [rule()], over)
  const rows: [what: string, policy: Authorization, denied: boolean][] = [
    ['global', deny({ scope: 'GLOBAL', namespace: 'istio-system' }), true],
    ['its namespace', deny({}), true],
    ['another namespace', deny({ namespace: 'other' }), false],
    ['listed', deny({ name: 'listed', scope: 'WORKLOAD_SELECTOR' }), true],
    ['not listed', deny({ name: 'unlisted', scope: 'WORKLOAD_SELECTOR' }), false],
    ['the name listed, in another namespace', deny({ name: 'listed', namespace: 'other', scope: 'WORKLOAD_SELECTOR' }), false],
  ]
  for (const [what, p, denied] of rows) t.equal(verdict([p]).allowed, !denied, what)
  t.same(new L4Authorizer([policy('DENY', [], { name: 'listed' })]).policiesOf(app).unknown, ['ns/nobody'])
})

t.test('policies on trial decide nothing and are told', async (t) => {
  const on = { dryRun: true }
  const none = [rule([{ destinationPorts: [1] }])]
  const rows: [what: string, policies: Authorization[], allowed: boolean, wouldDeny: boolean][] = [
    ['DENY that fits', [policy('DENY', [rule()], on)], true, true],
    ['DENY that does not', [policy('DENY', none, on)], true, false],
    ['ALLOW that fits', [policy('ALLOW', [rule()], on)], true, false],
    ['ALLOW that does not', [policy('ALLOW', none, on)], true, true],
    [
      'ALLOW that does not, beside one in force',
      [policy('ALLOW', none, on), policy('ALLOW', [rule()], { name: 'a' })],
      true,
      false,
    ],
    ['ALLOW on trial opens nothing', [policy('ALLOW', [rule()], on), policy('ALLOW', none, { name: 'a' })], false, false],
  ]
  for (const [what, policies, allowed, denied] of rows) {
    const v = verdict(policies)
    t.same([v.allowed, wouldDeny(v), v.dryRun.length], [allowed, denied, 1], what)
  }
  t.equal(verdict([policy('DENY', [rule()], on)]).dryRun[0]?.policy.name, 'deny')
})

t.test('the rule that came nearest', async (t) => {
  const miss = (policies: Authorization[], c = connection()) => nearestMiss(new L4Authorizer(policies).policiesOf(app), c)
  const from = (name: string) => [{ principals: texts(`*/sa/${name}`) }]
  const to = (port: number) => [{ destinationPorts: [port] }]

  t.equal(miss([]), null, 'nothing asked for')
  t.equal(miss([policy('ALLOW', [rule()])]), null, 'allowed')
  t.equal(miss([policy('DENY', [rule(to(81))])]), null, 'a DENY is no near miss')

  const twoPolicies = [
    policy('ALLOW', [rule(from('db'), to(81))], { name: 'far' }),
    policy('ALLOW', [rule(from('x'), to(82)), rule(from('web'), to(81))], { name: 'near' }),
  ]
  const near = miss(twoPolicies)
  t.equal(near?.policy.name, 'near')
  t.equal(near?.rule, twoPolicies[1]!.rules[1])
  t.same(
    near?.missing.map((m) => [m.attributes, m.match.destinationPorts]),
    [[['destinationPorts'], [81]]],
  )

  const both = { principals: texts('*/sa/db'), destinationPorts: [81] }
  const one = { principals: texts('*/sa/web'), destinationPorts: [81], notSourceIps: prefixes('11.0.0.0/8') }
  const inOneClause = miss([policy('ALLOW', [rule([both, {}, one])])])
  t.same(
    inOneClause?.missing.map((m) => m.attributes),
    [['destinationPorts']],
    'of a clause the match that lacks least; one that says nothing is farthest',
  )

  t.same(miss([policy('ALLOW', [], { name: 'nothing' })])?.rule, null, 'a policy without rules')
  t.equal(miss([policy('ALLOW', [], { name: 'nothing' }), policy('ALLOW', [rule(to(81))], { name: 'b' })])?.policy.name, 'b')
  t.same(miss([policy('ALLOW', [rule([{}])])])?.missing[0]?.attributes, [], 'a match that says nothing')
  t.same(miss([policy('ALLOW', [rule(from('web'))])], connection(null))?.missing[0]?.attributes, ['principals'])
})
