// RBAC filters of a control plane: every kind of condition, and that whatever is not understood makes them refused.
import t from 'tap'
import { Authorizer } from '../../../../lib/policy/rbac.ts'
import type { RbacMatch } from '../../../../lib/state/rbac.ts'
import { fromJson, type JsonObject } from '../../../../lib/xds/proto/json.ts'
import { HttpRbac, NetworkRbac } from '../../../../lib/xds/proto/rbac.ts'
import { REGISTRY } from '../../../../lib/xds/proto/registry.ts'
import { Findings, findingsText } from '../../../../lib/xds/translate/findings.ts'
import { translateHttpRbac, translateNetworkRbac } from '../../../../lib/xds/translate/rbac.ts'
import { facts } from '../../../support/rbac.ts'

const ANY = [{ any: true }]

function http(json: JsonObject) {
  const findings = new Findings()
  return { filter: translateHttpRbac(fromJson(HttpRbac, json, REGISTRY), findings), findings }
}

const onePolicy = (permission: JsonObject, principal: JsonObject = { any: true }): JsonObject => ({
  rules: { policies: { p: { permissions: [permission], principals: [principal] } } },
})
const exact = (value: string): JsonObject => ({ exact: value })
const template = (path_template: string): JsonObject => ({
  uri_template: {
    name: 'x',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
      path_template,
    },
  },
})

t.test('permissions', async (t) => {
  const rows: readonly (readonly [json: JsonObject, noun: RbacMatch])[] = [
    [{ any: true }, { kind: 'any' }],
    [{ and_rules: { rules: ANY } }, { kind: 'and', of: [{ kind: 'any' }] }],
    [{ or_rules: { rules: ANY } }, { kind: 'or', of: [{ kind: 'any' }] }],
    [{ not_rule: { any: true } }, { kind: 'not', of: { kind: 'any' } }],
    [
      { url_path: { path: { prefix: '/a', ignore_case: true } } },
      { kind: 'path', match: { kind: 'prefix', value: '/a', ignoreCase: true } },
    ],
    [template('/a/*/**'), { kind: 'pathTemplate', template: '/a/*/**' }],
    [
      { destination_ip: { address_prefix: 'FD00::', prefix_len: 8 } },
      { kind: 'destinationIp', prefix: { address: 'fd00::', length: 8 } },
    ],
    [{ destination_port: 80 }, { kind: 'destinationPort', first: 80, last: 80 }],
    [{ destination_port_range: { start: 80, end: 90 } }, { kind: 'destinationPort', first: 80, last: 89 }],
    [
      { requested_server_name: exact('a') },
      { kind: 'requestedServerName', match: { kind: 'exact', value: 'a', ignoreCase: false } },
    ],
    [
      { header: { name: 'X-A', present_match: false, treat_missing_header_as_empty: true } },
      {
        kind: 'header',
        header: {
          name: 'x-a',
          field: 'request.headers[x-a]',
          match: { kind: 'present', value: '', ignoreCase: false },
          invert: true,
          missingIsEmpty: true,
        },
      },
    ],
    [
      // Envoy: an exact_match that is empty says only that the header is there; a string_match means what it says.
      { header: { name: 'x-a', exact_match: '' } },
      {
        kind: 'header',
        header: {
          name: 'x-a',
          field: 'request.headers[x-a]',
          match: { kind: 'prefix', value: '', ignoreCase: false },
          invert: false,
          missingIsEmpty: false,
        },
      },
    ],
    [
      { header: { name: 'host', string_match: { contains: 'a' }, invert_match: true } },
      {
        kind: 'header',
        header: {
          name: ':authority',
          field: 'host',
          match: { kind: 'contains', value: 'a', ignoreCase: false },
          invert: true,
          missingIsEmpty: false,
        },
      },
    ],
    [
      {
        metadata: {
          filter: 'f',
          path: [{ key: 'a' }, { key: 'b' }],
          value: { list_match: { one_of: { bool_match: true } } },
          invert: true,
        },
      },
      {
        kind: 'metadata',
        filter: 'f',
        path: ['a', 'b'],
        value: { kind: 'element', of: { kind: 'bool', value: true } },
        invert: true,
      },
    ],
    [
      { metadata: { filter: 'f', path: [{ key: 'a' }], value: { double_match: { range: { start: 1, end: 2 } } } } },
      { kind: 'metadata', filter: 'f', path: ['a'], value: { kind: 'number', first: 1, end: 2 }, invert: false },
    ],
  ]
  for (const [json, noun] of rows) {
    const { filter, findings } = http(onePolicy(json))
    t.equal(findingsText(findings.faults), '', JSON.stringify(json))
    t.same(filter.rules?.policies[0]?.permissions, [noun])
  }
})

t.test('principals', async (t) => {
  const of = { address_prefix: '10.0.0.0', prefix_len: 8 }
  const prefix = { address: '10.0.0.0', length: 8 }
  const a = { kind: 'exact', value: 'a', ignoreCase: false } as const
  const rows: readonly (readonly [json: JsonObject, noun: RbacMatch])[] = [
    [{ and_ids: { ids: ANY } }, { kind: 'and', of: [{ kind: 'any' }] }],
    [{ or_ids: { ids: ANY } }, { kind: 'or', of: [{ kind: 'any' }] }],
    [{ not_id: { any: true } }, { kind: 'not', of: { kind: 'any' } }],
    [{ authenticated: {} }, { kind: 'authenticated', match: null }],
    [{ authenticated: { principal_name: exact('a') } }, { kind: 'authenticated', match: a }],
    [{ filter_state: { key: 'k', string_match: exact('a') } }, { kind: 'filterState', key: 'k', match: a }],
    [{ source_ip: of }, { kind: 'directRemoteIp', prefix }],
    [{ direct_remote_ip: of }, { kind: 'directRemoteIp', prefix }],
    [{ remote_ip: of }, { kind: 'remoteIp', prefix }],
    // Without a length all addresses of the family.
    [{ remote_ip: { address_prefix: '10.0.0.0' } }, { kind: 'remoteIp', prefix: { address: '10.0.0.0', length: 0 } }],
    [{ url_path: { path: exact('a') } }, { kind: 'path', match: a }],
  ]
  for (const [json, noun] of rows) {
    const { filter, findings } = http(onePolicy({ any: true }, json))
    t.equal(findingsText(findings.faults), '', JSON.stringify(json))
    t.same(filter.rules?.policies[0]?.principals, [noun])
  }
})

t.test('what is not understood', async (t) => {
  const rows: readonly (readonly [json: JsonObject, text: RegExp])[] = [
    [onePolicy({}), /^rules\.policies\[p\]\.permissions\[0\]: a permission of this kind is not understood$/],
    [onePolicy({ any: true }, {}), /principals\[0\]: a principal of this kind is not understood/],
    [onePolicy({ any: false }), /permissions\[0\]\.any: it is false/],
    [onePolicy({ not_rule: {} }), /permissions\[0\]\.not_rule: a permission of this kind/],
    [onePolicy({ and_rules: { rules: [{ any: true }, {}] } }), /and_rules\.rules\[1\]: a permission of this kind/],
    [onePolicy({ matcher: { name: 'm' } }), /the matcher m is not understood/],
    [
      onePolicy({ url_path: { path: { safe_regex: { regex: '(?=a)' } } } }),
      /url_path\.path: the pattern `\(\?=a\)` is not understood/,
    ],
    [onePolicy({ url_path: {} }), /a matcher is missing/],
    [onePolicy(template('/a/{b}')), /the path template `\/a\/\{b\}` is not understood/],
    [onePolicy(template('/**/*')), /is not understood/],
    [onePolicy({ destination_ip: { address_prefix: 'x', prefix_len: 8 } }), /x\/8 is no range of addresses/],
    [onePolicy({ destination_ip: { address_prefix: '10.0.0.0', prefix_len: 33 } }), /no range of addresses/],
    [onePolicy({ header: { name: 'a', range_match: { start: '1', end: '2' } } }), /ranges of numbers are not understood/],
    [onePolicy({ destination_port_range: { start: 80, end: 80 } }), /destination_port_range: no port is in 80 to 80/],
    [onePolicy({ metadata: { filter: 'f', path: [{ key: 'a' }] } }), /it says nothing of the value/],
    [onePolicy({ metadata: { filter: 'f', path: [], value: { null_match: {} } } }), /metadata\.path: keys are expected/],
    [onePolicy({ any: true }, { filter_state: { key: 'k' } }), /filter_state: a matcher is missing/],
    [{ rules: { action: 7, policies: {} } }, /rules\.action: #7 is not understood/],
    [
      { rules: { policies: { p: { permissions: ANY, principals: ANY, condition: 'AA==' } } } },
      /condition: expressions of CEL are not understood/,
    ],
    [{ shadow_rules: { policies: { p: { permissions: [{}], principals: ANY } } } }, /^shadow_rules\.policies\[p\]/],
    [{ matcher: {} }, /matcher: rules are expected, not a matcher/],
  ]
  for (const [json, text] of rows) t.match(findingsText(http(json).findings.faults), text, JSON.stringify(json))
})

t.test('rules, and their absence', async (t) => {
  t.same(http({}).filter, { rules: null, shadow: null }, 'nothing is enforced')
  const { filter } = http({ rules: {} })
  t.same(filter.rules, { action: 'ALLOW', policies: [] })
  t.equal(new Authorizer([filter]).admits(facts(), { asked: () => {} }), false, 'of which none allows anything')
  const policies = (...names: string[]) => Object.fromEntries(names.map((name) => [name, { permissions: ANY, principals: ANY }]))
  const sorted = http({
    rules: { action: 'DENY', policies: policies('b', 'a', 'ns[x]-policy[y]-rule[10]', 'ns[x]-policy[y]-rule[2]') },
  })
  t.same(
    sorted.filter.rules?.policies.map((p) => p.name),
    ['a', 'b', 'ns[x]-policy[y]-rule[10]', 'ns[x]-policy[y]-rule[2]'],
  )
  t.match(sorted.filter.rules?.policies[2]?.origin, { kind: 'AuthorizationPolicy', namespace: 'x', name: 'y' })
})

t.test('of connections', async (t) => {
  const findings = new Findings()
  const json = { rules: { action: 'LOG', policies: {} }, stat_prefix: 'tcp.', enforcement_type: 'CONTINUOUS' }
  t.same(translateNetworkRbac(fromJson(NetworkRbac, json, REGISTRY), findings).rules, { action: 'LOG', policies: [] })
  t.same([findings.faults.length, findings.notes.length], [0, 1])
})
