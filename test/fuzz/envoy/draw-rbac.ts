// The RBAC filter: policies over all that a request says of itself.
import type { Dice } from '../../chaos/dice.ts'
import { httpFilter } from '../../support/xds-json.ts'
import { requestOf } from './draw-requests.ts'
import { headerMatcher, PATHS, stringMatcher } from './draw-texts.ts'
import { LISTENER_PORT, type Subject, several } from './subject.ts'

const RANGES = [['127.0.0.1', 32], ['127.0.0.0', 8], ['127.0.0.2', 31], ['127.0.1.9', 24], ['10.0.0.0', 8], ['10.1.2.3', 32], ['10.1.2.3', null], ['0.0.0.0', 0], ['::', 0], ['::1', 128], ['2001:db8::', 32], ['192.168.0.0', 16], ['::ffff:127.0.0.1', 128], ['::ffff:0:0', 96]] as const // biome-ignore format: a list
const TEMPLATES = ['/*', '/**', '/a/*', '/a/**', '/*/b', '/*/b/**', '/**/b', '/a/**/c', '/a/b', '/a', '/a/*/c', '/a/*/**', '/**/x.txt', '/*/**/b', '/a/', '/a/**/',] // biome-ignore format: a list

const OTHER_TEMPLATES = ['/**.txt', '/a*', '/{x}', '/a/{x=*}']

function range(dice: Dice): object {
  const [address_prefix, prefix_len] = dice.one(RANGES)
  return { address_prefix, ...(prefix_len === null ? {} : { prefix_len }) }
}

function metadata(dice: Dice): object {
  return {
    filter: 'envoy.filters.http.jwt_authn',
    path: [{ key: 'payload' }, { key: 'sub' }],
    value: dice.chance(0.5) ? { present_match: dice.chance(0.7) } : { string_match: stringMatcher(dice) },
    ...(dice.chance(0.3) ? { invert: true } : {}),
  }
}

export function permission(dice: Dice, depth: number, more: () => object = () => metadata(dice), weight = 1): object {
  const again = (): object => permission(dice, depth - 1, more, weight)
  const port = LISTENER_PORT + dice.whole(-1, 2)
  return dice.weighted<() => object>([
    [1, () => ({ any: true })],
    [depth > 0 ? 3 : 0, () => ({ and_rules: { rules: several(dice, 1, 3, again) } })],
    [depth > 0 ? 3 : 0, () => ({ or_rules: { rules: several(dice, 1, 3, again) } })],
    [depth > 0 ? 3 : 0, () => ({ not_rule: again() })],
    [6, () => ({ header: headerMatcher(dice) })],
    [6, () => ({ url_path: { path: stringMatcher(dice, PATHS) } })],
    [
      3,
      () => ({
        uri_template: {
          name: 't',
          typed_config: {
            '@type': `${TEMPLATE}.UriTemplateMatchConfig`,
            path_template: dice.chance(0.95) ? dice.one(TEMPLATES) : dice.one(OTHER_TEMPLATES),
          },
        },
      }),
    ],
    [1, () => ({ destination_ip: range(dice) })],
    [1, () => ({ destination_port: port })],
    [1, () => ({ destination_port_range: { start: port - dice.whole(0, 2), end: port + dice.whole(1, 3) } })],
    [0.5, () => ({ requested_server_name: stringMatcher(dice) })],
    [weight, () => ({ metadata: more() })],
  ])()
}

const TEMPLATE = 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3'

export function principal(dice: Dice, depth: number, more: () => object = () => metadata(dice), weight = 1): object {
  const again = (): object => principal(dice, depth - 1, more, weight)
  return dice.weighted<() => object>([
    [3, () => ({ any: true })],
    [depth > 0 ? 2 : 0, () => ({ and_ids: { ids: several(dice, 1, 3, again) } })],
    [depth > 0 ? 2 : 0, () => ({ or_ids: { ids: several(dice, 1, 3, again) } })],
    [depth > 0 ? 2 : 0, () => ({ not_id: again() })],
    [4, () => ({ header: headerMatcher(dice) })],
    [2, () => ({ url_path: { path: stringMatcher(dice, PATHS) } })],
    [1, () => ({ source_ip: range(dice) })],
    [2, () => ({ direct_remote_ip: range(dice) })],
    [3, () => ({ remote_ip: range(dice) })],
    [0.5, () => ({ authenticated: dice.chance(0.5) ? {} : { principal_name: stringMatcher(dice) } })],
    [0.5, () => ({ filter_state: { key: 'io.istio.peer_principal', string_match: stringMatcher(dice) } })],
    [weight, () => ({ metadata: more() })],
  ])()
}

/** RBAC of envoy.config.rbac.v3. */
export function rules(dice: Dice, more?: () => object, weight = 1): object {
  const policies = Object.fromEntries(
    several(dice, dice.chance(0.1) ? 0 : 1, 3, () => [
      `${dice.one(['p', 'q', 'ns[a]-policy[b]-rule[0]', 'with blank'])}${dice.whole(0, 9)}`,
      {
        permissions: several(dice, 1, 2, () => permission(dice, 2, more, weight)),
        principals: several(dice, 1, 2, () => principal(dice, 2, more, weight)),
      },
    ]),
  )
  return {
    action: dice.weighted([
      [5, 'ALLOW'],
      [5, 'DENY'],
      [1, 'LOG'],
    ]),
    policies,
  }
}

export function rbacFilter(dice: Dice, more?: () => object, weight = 1): object {
  return httpFilter('http.rbac.v3.RBAC', {
    ...(dice.chance(0.95) ? { rules: rules(dice, more, weight) } : {}),
    ...(dice.chance(0.2) ? { shadow_rules: rules(dice, more, weight) } : {}),
  })
}

export const EVERYWHERE = {
  virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'a' } }] }],
}

export function managerOf(dice: Dice): object {
  return {
    ...(dice.chance(0.7) ? { normalize_path: true } : {}),
    ...(dice.chance(0.3)
      ? { use_remote_address: true, ...(dice.chance(0.6) ? { xff_num_trusted_hops: dice.whole(1, 3) } : {}) }
      : {}),
    ...(dice.chance(0.2)
      ? {
          normalize_path: true,
          merge_slashes: true,
          ...(dice.chance(0.5) ? { path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD' } : {}),
        }
      : {}),
  }
}

export function drawRbac(dice: Dice): Subject {
  return {
    filters: several(dice, 1, 2, () => rbacFilter(dice)),
    manager: managerOf(dice),
    routes: EVERYWHERE,
    requests: several(dice, 40, 40, () => requestOf(dice)),
  }
}
