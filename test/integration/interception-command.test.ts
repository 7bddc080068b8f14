// heddle iptables, where it is not alone, may not, or fails.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { APP, answers, BACKENDS, heddle, POD, PROXY, reached, state, WORLD, world } from '../support/intercepted-pod.ts'
import { canMakeNamespaces, Namespaces } from '../support/netns.ts'

const skip = canMakeNamespaces() || (BACKENDS.find((b) => b.skip !== '')?.skip ?? '')
t.setTimeout(180_000)

t.test('one packet filter at a time', { skip }, async (t) => {
  const { client, pod } = world(t)
  await answers(pod, 'pod', [15001])
  await answers(client, 'world', [80])
  t.match(await heddle(pod, ['apply', '--backend', 'iptables-legacy', '--ipv6', 'off']), { code: 0 })
  t.match(
    await heddle(pod, ['apply', '--ipv6', 'off']),
    { code: 0, stdout: /IPv4 \(iptables-legacy\) are in force already/ },
    'auto',
  )
  t.match(await heddle(pod, ['apply', '--backend', 'nft', '--ipv6', 'off']), {
    code: 1,
    stderr: /\n {2}iptables-legacy\n {4}found: ipv4 nat/,
  })
  t.match(await heddle(pod, ['apply', '--backend', 'nft', '--ipv6', 'off', '--reconcile']), {
    code: 0,
    stdout: 'taken away: other rules of iptables-legacy\nthe rules for IPv4 (nft) are in force\n',
  })
  t.notMatch(pod.run('iptables-legacy-save'), 'ISTIO')
  t.equal(await reached(pod, APP, WORLD.ipv4, 80), `pod:15001 ${POD.ipv4}`)
  t.equal(await reached(pod, APP, WORLD.ipv6, 80), `world:80 ${POD.ipv6}`, 'without IPv6')
})

t.test('an exchange that fails leaves the pod closed, and clean opens it', { skip }, async (t) => {
  const { client, pod } = world(t)
  await answers(pod, 'pod', [15001])
  await answers(client, 'world', [80])
  t.match(await heddle(pod, ['apply', '--backend', 'iptables']), { code: 0 })
  const path = mkdtempSync(join(tmpdir(), 'heddle-iptables-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  // Refuses the new rules only.
  const script =
    '#!/bin/sh\nin=$(cat)\ncase "$in" in *REDIRECT*) echo "line 3: No chain/target/match by that name" >&2; exit 2;; esac\n'
  writeFileSync(join(path, 'iptables-restore'), `${script}printf '%s\\n' "$in" | /usr/sbin/iptables-restore "$@"\n`)
  chmodSync(join(path, 'iptables-restore'), 0o755)
  const failed = await heddle(pod, ['apply', '--backend', 'iptables', '-o', '99', '--reconcile'], { path })
  t.match(failed, { code: 4, stdout: '', stderr: /No chain\/target\/match by that name; line 3 is `/ })
  t.equal(await reached(pod, APP, WORLD.ipv4, 80), 'silence', 'nothing gets out as it is')
  t.equal(await reached(pod, APP, WORLD.ipv6, 80), 'silence')
  t.match(await heddle(pod, ['apply', '--backend', 'iptables', '-o', '99']), { code: 1, stderr: /HEDDLE_GUARD/ })
  t.match(await heddle(pod, ['apply', '--backend', 'iptables', '-o', '99', '--reconcile']), { code: 0 })
  t.equal(await reached(pod, APP, WORLD.ipv4, 80), `pod:15001 ${POD.ipv4}`)
  await heddle(pod, ['apply', '--backend', 'iptables', '--reconcile'], { path })
  t.match(await heddle(pod, ['clean']), { code: 0 })
  t.equal(await reached(pod, APP, WORLD.ipv4, 80), `world:80 ${POD.ipv4}`)
  t.notMatch(pod.run('iptables-save'), 'HEDDLE')
})

t.test('who may, and from where', { skip }, async (t) => {
  const { pod } = world(t)
  const before = state(pod)
  t.match(await heddle(pod, ['apply'], { as: APP }), {
    code: 4,
    stdout: '',
    stderr: /changing rules needs CAP_NET_ADMIN: run as root, or/,
  })
  t.match(await heddle(pod, ['print'], { as: APP }), { code: 0, stderr: '' })
  t.same(state(pod), before)
  const init = { uid: 1337, gid: 1337, capabilities: ['net_admin', 'net_raw'] }
  t.match(await heddle(pod, ['apply', '--backend', 'nft'], { as: init }), { code: 0 }, 'two capabilities are enough')
  t.match(await heddle(pod, ['clean'], { as: init }), { code: 0, stdout: /rules taken away \(nft\)/ })
  const outside = Namespaces.make(t).add('outside')
  t.match(
    await heddle(outside, ['apply', '--network-namespace', pod.path]),
    { code: 0, stdout: /IPv4 and IPv6/ },
    'auto looks at the pod',
  )
  t.notSame(state(pod), before)
  t.match(await heddle(outside, ['clean', '--network-namespace', pod.path]), { code: 0 })
  t.same(state(pod), before)
})

t.test('validation', { skip }, async (t) => {
  const { pod } = world(t)
  const apply = await heddle(pod, ['apply', '--run-validation'])
  t.match(apply, { code: 0, stdout: /captured: the application to others, ipv4\ncaptured: the application to others, ipv6\n$/ })
  const only = ['apply', '--skip-rule-apply', '--run-validation', '--probe-timeout', '100ms']
  t.match(await heddle(pod, only, { as: PROXY }), {
    code: 0,
    stdout: 'captured: the proxy to its own pod, ipv4\ncaptured: the proxy to its own pod, ipv6\n',
  })
  t.match(await heddle(pod, ['clean']), { code: 0 })
  t.match(await heddle(pod, only, { as: PROXY }), {
    code: 126,
    stderr: /connections are not captured: the proxy to its own pod, ipv4: /,
  })
  t.match(await heddle(pod, only), { code: 126, stderr: /the application to others, ipv4: / })
})
