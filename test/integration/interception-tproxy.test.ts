// Where the client's address is kept: TPROXY, and the pods of the node's tunnel. The proxy's side is played with its own sockets.
import { once } from 'node:events'
import net from 'node:net'
import t from 'tap'
import { listen, PLAIN_LISTEN } from '../../lib/listener/bind.ts'
import { type Netns, openNetns } from '../../lib/sys/netns.ts'
import { connectFrom, type OutboundOptions } from '../../lib/sys/outbound-socket.ts'
import { within } from '../support/eventually.ts'
import {
  APP,
  answers,
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
import type { Teardown } from '../support/teardown.ts'

t.setTimeout(180_000)

for (const { backend, skip } of BACKENDS) {
  t.test(`TPROXY by ${backend}`, { skip }, async (t) => {
    const { client, pod } = world(t)
    await answers(pod, 'pod', [8080, 15001, 15008])
    await answers(client, 'world', [80])
    const inPod = openNetns(pod.path)
    t.teardown(() => inPod.close())
    const before = state(pod)
    t.match(await heddle(pod, ['apply', '--backend', backend, '-m', 'TPROXY']), { code: 0 })
    const rules = state(pod)
    const proxy = await transparent(t, inPod)
    for (const family of FAMILIES) {
      const clients = CLIENT[family]
      t.equal(
        await reached(client, APP, POD[family], 8080),
        `proxy ${POD[family]}:8080 ${clients}`,
        `${family}: others to the pod`,
      )
      t.equal(await reached(client, APP, POD[family], 15008), `pod:15008 ${clients}`, `${family}: HBONE`)
      t.equal(await reached(pod, APP, POD[family], 8080), `pod:8080 ${POD[family]}`, `${family}: the application to its own pod`)
      // By nat's rule, which this mode has too: the listener on 15006 gets both kinds.
      const redirected = `proxy ${family === 'ipv4' ? '127.0.0.1' : '::1'}:15006 ${POD[family]}`
      t.equal(await reached(pod, PROXY, POD[family], 8080), redirected, `${family}: the proxy to its own pod`)
      // As Kubernetes runs a proxy with capabilities: by a mark, which leads to the transparent listener.
      const root = { uid: 0, gid: PROXY.gid }
      const marked = `proxy ${POD[family]}:8080 ${POD[family]}`
      t.equal(await reached(pod, root, POD[family], 8080), marked, `${family}: the proxy as root, by its group`)
      t.equal(await reached(pod, root, WORLD[family], 80), `world:80 ${POD[family]}`, `${family}: and to others`)
      t.equal(await reached(pod, APP, WORLD[family], 80), `pod:15001 ${POD[family]}`, `${family}: the application to others`)
      t.equal(await reached(pod, PROXY, WORLD[family], 80), `world:80 ${POD[family]}`, `${family}: the proxy to others`)
      const delivery = { source: clients, foreignSource: true, mark: 1337, netns: inPod }
      t.equal(
        await said(t, delivery, POD[family], 8080),
        `pod:8080 ${clients}`,
        `${family}: the proxy delivers with the client's address`,
      )
    }
    proxy.close()
    t.match(await heddle(pod, ['apply', '--backend', backend, '-m', 'TPROXY']), { code: 0, stdout: /already; nothing done/ })
    pod.run('ip', '-4', 'rule', 'del', 'fwmark', '1337')
    t.match(await heddle(pod, ['apply', '--backend', backend, '-m', 'TPROXY']), { code: 0, stdout: /routes and addresses added/ })
    t.same(state(pod), rules)
    t.match(await heddle(pod, ['clean', '--backend', backend]), { code: 0 })
    t.same(state(pod), before, 'all is as before')
  })

  t.test(`ambient by ${backend}`, { skip }, async (t) => {
    const { client, pod } = world(t)
    await answers(pod, 'pod', [8080, 15001, 15006, 15008, 15053])
    await answers(client, 'world', [53, 80])
    const probes = { ipv4: '169.254.7.127', ipv6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' }
    const inPod = openNetns(pod.path)
    t.teardown(() => inPod.close())
    for (const family of FAMILIES) client.addAddress(`${probes[family]}/${family === 'ipv4' ? 32 : 128}`, 'lo')
    const before = state(pod)
    t.match(await heddle(pod, ['apply', '--ambient', '--backend', backend]), {
      code: 0,
      stdout: `the ambient rules for IPv4 and IPv6 (${backend}) are in force\n`,
    })
    for (const family of FAMILIES) {
      const [pods, worlds, clients] = [POD[family], WORLD[family], CLIENT[family]]
      t.equal(await reached(client, APP, pods, 8080), `pod:15006 ${clients}`, `${family}: others to the pod`)
      t.equal(await reached(client, APP, pods, 15008), `pod:15008 ${clients}`, `${family}: HBONE`)
      t.equal(
        await reached(client, APP, pods, 8080, probes[family]),
        `pod:8080 ${probes[family]}`,
        `${family}: a probe of the kubelet`,
      )
      t.equal(await reached(pod, APP, worlds, 80), `pod:15001 ${pods}`, `${family}: the application to others`)
      t.equal(await reached(pod, PROXY, worlds, 80), `pod:15001 ${pods}`, `${family}: users do not matter`)
      t.equal(await reached(pod, APP, pods, 8080), `pod:8080 ${pods}`, `${family}: the application to its own pod`)
      t.equal(await reached(pod, APP, worlds, 53), `pod:15053 ${pods}`, `${family}: DNS over TCP`)
      const tunnel: OutboundOptions = { source: null, foreignSource: false, mark: 0x539, netns: inPod }
      t.equal(await said(t, tunnel, worlds, 80), `world:80 ${pods}`, `${family}: the tunnel to others`)
      const delivery = { ...tunnel, source: clients, foreignSource: true }
      t.equal(
        await said(t, delivery, pods, 8080),
        `pod:8080 ${clients}`,
        `${family}: the tunnel delivers with the client's address`,
      )
    }
    t.match(await heddle(pod, ['apply', '--backend', backend]), { code: 1, stderr: /other rules of this kind/ }, 'another set')
    t.match(await heddle(pod, ['clean']), { code: 0 })
    t.same(state(pod), before, 'all is as before')
  })
}

/** A transparent listener on 15006, as the proxy's inbound side has one: answers with both addresses. */
async function transparent(t: Teardown, netns: Netns): Promise<net.Server> {
  const plain = (address = '') => address.replace('::ffff:', '')
  const server = net.createServer((s) => {
    s.on('error', () => {}).end(`proxy ${plain(s.localAddress)}:${s.localPort} ${plain(s.remoteAddress)}\n`)
  })
  await listen(server, '::', 15006, { ...PLAIN_LISTEN, netns, dualStack: true, transparent: true })
  t.teardown(() => server.close())
  return server
}

/** What the other side of a connection of ours says. */
async function said(t: Teardown, options: OutboundOptions, address: string, port: number): Promise<string> {
  const socket = connectFrom(options, address, port)
  t.teardown(() => socket.destroy())
  const text: string[] = []
  socket.on('data', (data) => text.push(String(data)))
  await within(`an answer of ${address}:${port}`, once(socket, 'end'))
  return text.join('').trim()
}
