// The kit of namespaces against itself: who reaches whom, who runs as whom, and that nothing stays.
import { readdirSync, readlinkSync } from 'node:fs'
import t from 'tap'
import { eventually } from './eventually.ts'
import { canMakeNamespaces, Namespaces } from './netns.ts'
import { startProxy } from './proxy.ts'
import type { Teardown } from './teardown.ts'

const skip = canMakeNamespaces()

const mine = () => readdirSync('/run/netns').filter((name) => name.startsWith(`heddle-${process.pid}-`))

/** What ends things, called by the test itself. */
function collected(): Teardown & { end(): Promise<void> } {
  const all: (() => unknown)[] = []
  return {
    teardown: (fn) => all.unshift(fn),
    end: async () => {
      for (const fn of all) await fn()
    },
  }
}

t.test('pods on a node reach each other and it, by IPv4 and IPv6', { skip }, async (t) => {
  const life = collected()
  const namespaces = Namespaces.make(life)
  const [node, a, b] = [namespaces.add('node'), namespaces.add('a'), namespaces.add('b')]
  namespaces.bridge({ namespace: node, addresses: ['10.8.0.1/24', 'fd08::1/64'] }, [
    { namespace: a, addresses: ['10.8.0.2/24', 'fd08::2/64'] },
    { namespace: b, addresses: ['10.8.0.3/24', 'fd08::3/64'] },
  ])
  const server = "require('http').createServer((q, s) => s.end(q.socket.remoteAddress)).listen(80, '::', () => console.log('on'))"
  for (const at of [node, b]) {
    const child = at.spawn(process.execPath, ['-e', server])
    let said = ''
    child.stdout.on('data', (d) => {
      said += d
    })
    await eventually('the server to listen', () => said === 'on\n')
    t.equal(readlinkSync(`/proc/${child.pid}/exe`), process.execPath, 'its id is the id of the program')
  }
  const rows = [
    ['10.8.0.3', '::ffff:10.8.0.2'],
    ['[fd08::3]', 'fd08::2'],
    ['10.8.0.1', '::ffff:10.8.0.2'],
    ['[fd08::1]', 'fd08::2'],
  ]
  for (const [address, seen] of rows) {
    const answer = await a.exec('curl', ['-sS', '--max-time', '5', `http://${address}/`])
    t.same(answer, { code: 0, stdout: seen, stderr: '' })
  }
  t.equal((await b.request(80, '/x')).body, '::ffff:127.0.0.1')
  await t.rejects(a.request(80, '/'), /curl .* in a: /)
  t.throws(() => a.run('ip', 'link', 'show', 'dev', 'nobody'), /nobody/)
  t.equal(mine().length, 3)
  await life.end()
  t.same(mine(), [])
})

t.test('a program runs as who it is to be', { skip }, async (t) => {
  const pod = Namespaces.make(t).add('pod')
  const status = (
    await pod.exec('cat', ['/proc/self/status'], { as: { uid: 1337, gid: 1338, capabilities: ['net_admin', 'net_raw'] } })
  ).stdout
  t.match(status, /^Uid:\t1337\t1337/m)
  t.match(status, /^Gid:\t1338\t1338/m)
  t.match(status, /^CapEff:\t0000000000003000$/m)
  t.match((await pod.exec('cat', ['/proc/self/status'], { as: { uid: 1337, gid: 1337 } })).stdout, /^CapEff:\t0+$/m)
})

t.test('rules are counted', { skip }, async (t) => {
  const pod = Namespaces.make(t).add('pod')
  for (const [iptables, family, address] of [
    ['iptables', 4, '127.0.0.1'],
    ['ip6tables', 6, '[::1]'],
  ] as const) {
    pod.run(iptables, '-A', 'OUTPUT', '-p', 'tcp', '--dport', '9', '-m', 'comment', '--comment', 'tried', '-j', 'REJECT')
    t.equal(pod.packets('filter', 'tried', family), 0)
    await pod.exec('curl', ['-s', '--max-time', '1', `http://${address}:9/`])
    t.ok(pod.packets('filter', 'tried', family) > 0)
  }
  t.throws(() => pod.packets('filter', 'nobody'), /no rule with the comment nobody/)
})

t.test('heddle in a pod, as the user whose traffic is not intercepted', { skip }, async (t) => {
  const pod = Namespaces.make(t).add('pod')
  const proxy = await startProxy(t, { namespace: pod, as: { uid: 1337, gid: 1337 } })
  t.equal((await proxy.admin('/ready')).status, 200)
  t.ok((await proxy.version()) >= 1)
  t.equal(
    readlinkSync(`/proc/${proxy.pid}/ns/net`).replace('net:', ''),
    `[${pod.run('stat', '-Lc', '%i', '/proc/self/ns/net').trim()}]`,
  )
  t.equal((await pod.request(proxy.port(), '/')).status, 404)
  t.same(await proxy.stop(), { code: 0, signal: null })
})
