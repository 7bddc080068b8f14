// Rules in force in a pod's network namespace: which connection comes where, by which packet filter, and what is left afterwards.
// Listeners are plain ones; users and addresses are real.
import t from 'tap'
import {
  APP,
  answers,
  asked,
  BACKENDS,
  CLIENT,
  FAMILIES,
  heddle,
  POD,
  PROXY,
  reached,
  state,
  WORLD,
  world,
} from '../support/intercepted-pod.ts'
import type { As, Namespace } from '../support/netns.ts'

t.setTimeout(180_000)

for (const { backend, skip } of BACKENDS) {
  t.test(`REDIRECT by ${backend}`, { skip }, async (t) => {
    const { client, pod } = world(t)
    await answers(pod, 'pod', [8080, 15001, 15006, 15008, 15021, 15053])
    await answers(client, 'world', [53, 80, 81])
    pod.run('iptables', '-t', 'nat', '-N', 'FOREIGN')
    pod.run('iptables', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '9', '-j', 'FOREIGN')
    const before = state(pod)
    t.equal(await reached(pod, APP, WORLD.ipv4, 80), `world:80 ${POD.ipv4}`, 'before')

    const flags = (excluded: string) => [
      '--backend',
      backend,
      '--redirect-dns',
      '--capture-all-dns',
      '-o',
      excluded,
      '-x',
      '198.51.100.99/32',
    ]
    t.match(await heddle(pod, ['apply', ...flags('81')]), {
      code: 0,
      stdout: `the rules for IPv4 and IPv6 (${backend}) are in force\n`,
    })
    const rules = state(pod)

    for (const family of FAMILIES) {
      const [pods, worlds, clients] = [POD[family], WORLD[family], CLIENT[family]]
      const [localhost, magic] = family === 'ipv4' ? ['127.0.0.1', '127.0.0.6'] : ['::1', '::6']
      const rows: [what: string, at: Namespace, as: As, to: string, port: number, expected: string, from?: string][] = [
        ['the application to others', pod, APP, worlds, 80, `pod:15001 ${pods}`],
        ['root to others', pod, { uid: 0, gid: 0 }, worlds, 80, `pod:15001 ${pods}`],
        ['to an excluded port', pod, APP, worlds, 81, `world:81 ${pods}`],
        ['DNS over TCP', pod, APP, worlds, 53, `pod:15053 ${pods}`],
        ['the application to its own pod', pod, APP, pods, 8080, `pod:8080 ${pods}`],
        ['the application to localhost', pod, APP, localhost, 8080, `pod:8080 ${localhost}`],
        ['the proxy to others', pod, PROXY, worlds, 80, `world:80 ${pods}`],
        ['the proxy to a resolver', pod, PROXY, worlds, 53, `world:53 ${pods}`],
        ['the proxy by its group alone', pod, { uid: 1000, gid: 1337 }, worlds, 80, `world:80 ${pods}`],
        ['the proxy to its own pod', pod, PROXY, pods, 8080, `pod:15006 ${pods}`],
        ['the proxy to its own HBONE', pod, PROXY, pods, 15008, `pod:15008 ${pods}`],
        ['the proxy to localhost', pod, PROXY, localhost, 8080, `pod:8080 ${localhost}`],
        ['the proxy delivers', pod, PROXY, pods, 8080, `pod:8080 ${magic}`, magic],
        ['others to the pod', client, APP, pods, 8080, `pod:15006 ${clients}`],
        ['others to a port of the pod where nobody listens', client, APP, pods, 7, `pod:15006 ${clients}`],
        ['HBONE', client, APP, pods, 15008, `pod:15008 ${clients}`],
        ['a probe', client, APP, pods, 15021, `pod:15021 ${clients}`],
      ]
      const came = await Promise.all(rows.map(([, at, as, to, port, , from]) => reached(at, as, to, port, from)))
      for (const [i, [what, , , , , expected]] of rows.entries()) t.equal(came[i], expected, `${family}: ${what}`)
      t.equal(await asked(pod, APP, worlds), 'pod:udp', `${family}: DNS over UDP`)
      t.equal(await asked(pod, PROXY, worlds), 'world:udp', `${family}: DNS of the proxy`)
    }

    t.match(
      await heddle(pod, ['apply', ...flags('81')]),
      { code: 0, stdout: `the rules for IPv4 and IPv6 (${backend}) are in force already; nothing done\n` },
      'a second time',
    )
    const other = await heddle(pod, ['apply', ...flags('81'), '--drop-invalid'])
    t.match(other, { code: 1, stdout: '', stderr: /other rules of this kind are there; nothing done\. --reconcile takes/ })
    t.match(other.stderr, /missing: .*(?:ct state invalid|ctstate INVALID)/, 'says what differs')
    t.same(state(pod), rules, 'and changed nothing')
    t.match(await heddle(pod, ['apply', ...flags('80'), '--reconcile']), {
      code: 0,
      stdout: `taken away: other rules of ${backend}\nthe rules for IPv4 and IPv6 (${backend}) are in force\n`,
    })
    t.equal(await reached(pod, APP, WORLD.ipv4, 80), `world:80 ${POD.ipv4}`, 'the new rules')
    t.equal(await reached(pod, APP, WORLD.ipv4, 81), `pod:15001 ${POD.ipv4}`, 'instead of the old ones')

    t.match(await heddle(pod, ['clean']), { code: 0, stdout: `rules taken away (${backend})\nip -6 addr del ::6/128 dev lo\n` })
    t.same(state(pod), before, 'all is as before')
    t.equal(await reached(pod, APP, WORLD.ipv4, 81), `world:81 ${POD.ipv4}`, 'after')
    t.match(await heddle(pod, ['clean']), { code: 0, stdout: 'no rules of ours are there; nothing done\n' })
  })
}
