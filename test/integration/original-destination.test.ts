// Where the clients of redirected connections wanted to go, by the kernel's own redirection: iptables REDIRECT as Istio uses it, and TPROXY.
import { once } from 'node:events'
import net from 'node:net'
import t from 'tap'
import { type ListenOptions, listen, PLAIN_LISTEN } from '../../lib/listener/bind.ts'
import { type Netns, openNetns } from '../../lib/sys/netns.ts'
import { type OriginalDestination, originalDestination } from '../../lib/sys/original-destination.ts'
import { connectFrom } from '../../lib/sys/outbound-socket.ts'
import { within } from '../support/eventually.ts'
import { canMakeNamespaces, type Namespace, Namespaces } from '../support/netns.ts'
import type { Teardown } from '../support/teardown.ts'

const skip = canMakeNamespaces()

/** A client's network and a pod's, with a cable between them. */
function twoPods(t: Teardown): { client: Namespace; pod: Namespace; inClient: Netns; inPod: Netns } {
  const namespaces = Namespaces.make(t)
  const client = namespaces.add('client')
  const pod = namespaces.add('pod')
  namespaces.veth(
    { namespace: client, device: 'eth0', addresses: ['10.7.0.1/24', 'fd07::1/64'] },
    { namespace: pod, device: 'eth0', addresses: ['10.7.0.2/24', 'fd07::2/64'] },
  )
  const inClient = openNetns(client.path)
  const inPod = openNetns(pod.path)
  t.teardown(() => {
    inClient.close()
    inPod.close()
  })
  return { client, pod, inClient, inPod }
}

/** A listener that says of each connection where it was meant to go. */
async function intercepting(t: Teardown, address: string, port: number, options: Partial<ListenOptions>) {
  const waiting: ((seen: OriginalDestination | null) => void)[] = []
  const server = net.createServer((socket) => {
    waiting.shift()?.(originalDestination(socket))
    socket.on('error', () => {}).destroy()
  })
  await listen(server, address, port, { ...PLAIN_LISTEN, ...options })
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  return () => new Promise<OriginalDestination | null>((resolve) => waiting.push(resolve))
}

async function dial(t: Teardown, netns: Netns, address: string, port: number): Promise<void> {
  const socket = connectFrom({ source: null, foreignSource: false, mark: 0, netns }, address, port)
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  await within(`a connection to ${address}:${port}`, once(socket, 'connect'))
}

t.test('redirected, to the addresses that nobody has and to its own', { skip }, async (t) => {
  const { client, pod, inClient, inPod } = twoPods(t)
  // A client whose own traffic is caught, as a sidecar's application's.
  client.run('ip', 'route', 'add', 'default', 'via', '10.7.0.2')
  client.run('ip', '-6', 'route', 'add', 'default', 'via', 'fd07::2')
  for (const iptables of ['iptables', 'ip6tables']) {
    client.run(iptables, '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15001')
    const inbound = ['-p', 'tcp', '--dport', '80', '-j', 'REDIRECT', '--to-ports', '15006']
    pod.run(iptables, '-t', 'nat', '-A', 'PREROUTING', ...inbound)
  }
  const outbound = await intercepting(t, '::', 15001, { netns: inClient, dualStack: true })
  for (const [address, port] of [
    ['192.0.2.9', 443],
    ['2001:db8::9', 8443],
    ['10.7.0.2', 1],
  ] as const) {
    const seen = outbound()
    await dial(t, inClient, address, port)
    t.same(await seen, { address, port }, `caught on its way to ${address}`)
  }
  for (const iptables of ['iptables', 'ip6tables']) client.run(iptables, '-t', 'nat', '-F')
  const rows: [listens: string, dualStack: boolean, dialled: string, what: string][] = [
    ['0.0.0.0', false, '10.7.0.2', 'IPv4'],
    ['::', false, 'fd07::2', 'IPv6'],
    ['::', true, '10.7.0.2', 'IPv4 on an IPv6 socket'],
    ['::', true, 'fd07::2', 'IPv6 on a socket for both'],
  ]
  for (const [listens, dualStack, dialled, what] of rows) {
    await t.test(what, async (t) => {
      const inbound = await intercepting(t, listens, 15006, { netns: inPod, dualStack })
      for (const port of [80, 15006]) {
        const seen = inbound()
        await dial(t, inClient, dialled, port)
        t.same(await seen, { address: dialled, port }, port === 80 ? 'redirected' : 'direct')
      }
    })
  }
})

t.test('nobody tracks connections: the address that was dialled', { skip }, async (t) => {
  const { inClient, inPod } = twoPods(t)
  const direct = await intercepting(t, '::', 15006, { netns: inPod, dualStack: true })
  for (const address of ['10.7.0.2', 'fd07::2']) {
    const seen = direct()
    await dial(t, inClient, address, 15006)
    t.same(await seen, { address, port: 15006 })
  }
})

t.test('TPROXY: the socket has the address that the client dialled', { skip }, async (t) => {
  const { client, pod, inClient, inPod } = twoPods(t)
  client.run('ip', 'route', 'add', 'default', 'via', '10.7.0.2')
  client.run('ip', '-6', 'route', 'add', 'default', 'via', 'fd07::2')
  for (const [iptables, ip] of [
    ['iptables', '-4'],
    ['ip6tables', '-6'],
  ] as const) {
    const tproxy = ['-j', 'TPROXY', '--on-port', '15006', '--tproxy-mark', '1337']
    pod.run(iptables, '-t', 'mangle', '-A', 'PREROUTING', '-p', 'tcp', '-i', 'eth0', ...tproxy)
    pod.run('ip', ip, 'rule', 'add', 'fwmark', '1337', 'lookup', '133')
    pod.run('ip', ip, 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '133')
  }
  for (const [listens, dualStack, addresses] of [
    ['0.0.0.0', false, ['10.7.0.2', '192.0.2.9']],
    ['::', true, ['10.7.0.2', '192.0.2.9', 'fd07::2', '2001:db8::9']],
  ] as const) {
    await t.test(listens, async (t) => {
      const seen = await intercepting(t, listens, 15006, { netns: inPod, dualStack, transparent: true })
      for (const address of addresses) {
        const destination = seen()
        await dial(t, inClient, address, 80)
        t.same(await destination, { address, port: 80 })
      }
    })
  }
})

t.test('a connection that is gone', async (t) => {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const accepted = once(server, 'connection') as Promise<[net.Socket]>
  const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
  t.teardown(() => client.destroy())
  const [socket] = await accepted
  t.same(originalDestination(socket), { address: '127.0.0.1', port: (server.address() as net.AddressInfo).port })
  socket.destroy()
  await once(socket, 'close')
  t.equal(originalDestination(new net.Socket()), null)
})
