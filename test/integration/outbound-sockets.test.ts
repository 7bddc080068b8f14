// Connections with a mark, a source address and a network namespace of their own: what the kernel's counters and the other side see of them.
import { once } from 'node:events'
import { openSync, readdirSync, readlinkSync } from 'node:fs'
import net from 'node:net'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { listen, PLAIN_LISTEN } from '../../lib/listener/bind.ts'
import { fdOf } from '../../lib/sys/descriptor.ts'
import { libc } from '../../lib/sys/libc.ts'
import { homeNetns, inNetns, isIpv6Disabled, Netns, netnsOfPid, openNetns } from '../../lib/sys/netns.ts'
import { type OriginalDestination, originalDestination } from '../../lib/sys/original-destination.ts'
import { connectFrom, inboundSource, type OutboundOptions } from '../../lib/sys/outbound-socket.ts'
import { unmappedAddress } from '../../lib/sys/sockaddr.ts'
import { eventually, within } from '../support/eventually.ts'
import { canMakeNamespaces, type Namespace, Namespaces } from '../support/netns.ts'
import { ROOT } from '../support/proxy.ts'
import type { SocketWorkerData } from '../support/socket-worker.ts'
import type { Teardown } from '../support/teardown.ts'

const skip = canMakeNamespaces()

const PLAIN: OutboundOptions = { source: null, foreignSource: false, mark: 0, netns: null }

interface Two {
  readonly a: Namespace
  readonly b: Namespace
  readonly inA: Netns
  readonly inB: Netns
}

/** Two pods with a cable between them: 10.7.0.1 and 10.7.0.2, fd07::1 and fd07::2. */
function two(t: Teardown): Two {
  const namespaces = Namespaces.make(t)
  const [a, b] = [namespaces.add('a'), namespaces.add('b')]
  namespaces.veth(
    { namespace: a, device: 'eth0', addresses: ['10.7.0.1/24', 'fd07::1/64'] },
    { namespace: b, device: 'eth0', addresses: ['10.7.0.2/24', 'fd07::2/64'] },
  )
  const [inA, inB] = [openNetns(a.path), openNetns(b.path)]
  t.teardown(() => {
    inA.close()
    inB.close()
  })
  return { a, b, inA, inB }
}

/** Says to each client what address it has, when it has sent its end. */
async function mirror(t: Teardown, netns: Netns | null, address: string, port: number): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {}).resume()
    socket.on('end', () => socket.end(`${socket.remoteAddress}`))
  })
  await listen(server, address, port, { ...PLAIN_LISTEN, netns })
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  return (server.address() as net.AddressInfo).port
}

/** The answer of a mirror, or the error's code. */
async function ask(options: Partial<OutboundOptions>, address: string, port: number): Promise<string> {
  const socket = connectFrom({ ...PLAIN, ...options }, address, port)
  const answer = new Promise<string>((resolve) => {
    let text = ''
    socket.setEncoding('utf8').on('data', (d: string) => {
      text += d
    })
    socket.on('connect', () => socket.end())
    socket.on('end', () => resolve(text))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
  return within(`an answer of ${address}:${port}`, answer).finally(() => socket.destroy())
}

/** Open descriptors of this process, but those that change by themselves. */
function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

t.test('in another namespace: whom it reaches, and half-closed', { skip }, async (t) => {
  const { inA, inB } = two(t)
  for (const [from, to, listens] of [
    ['10.7.0.1', '10.7.0.2', '0.0.0.0'],
    ['fd07::1', 'fd07::2', '::'],
  ] as const) {
    const port = await mirror(t, inB, listens, 0)
    t.equal(await ask({ netns: inA }, to, port), from)
    t.not(await ask({}, to, port), from, 'not from here')
    t.equal(await ask({ netns: inA }, from, port), 'ECONNREFUSED')
  }
  t.equal(openNetns('/proc/thread-self/ns/net').identity, homeNetns().identity, 'and this thread is at home')
})

t.test('in another namespace, from a worker, while this thread stays', { skip }, async (t) => {
  const { inA, inB } = two(t)
  const port = await mirror(t, inB, '10.7.0.2', 0)
  const server = net.createServer((socket) => socket.on('error', () => {}).end('x'))
  await listen(server, '10.7.0.2', 9000, { ...PLAIN_LISTEN, netns: inB })
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  const workerData: SocketWorkerData = {
    path: `/proc/self/fd/${inA.fd}`, // as a namespace is handed on that came as a descriptor
    listens: { address: '10.7.0.1', port: 8000 },
    asks: { address: '10.7.0.2', port: 9000 },
  }
  const worker = new Worker(new URL('../support/socket-worker.js', import.meta.url), { workerData })
  t.teardown(() => worker.terminate())
  const [said] = await within('the worker to be answered', once(worker, 'message'))
  t.same(said, { text: 'x', home: homeNetns().identity })
  t.equal(await ask({ netns: inB }, '10.7.0.1', 8000), 'worker saw 10.7.0.2')
  t.equal(await ask({ netns: inA }, '10.7.0.2', port), '10.7.0.1', 'and from here all the while')
  worker.postMessage('end')
  await once(worker, 'exit')
})

t.test('a mark', { skip }, async (t) => {
  const { a, inA, inB } = two(t)
  for (const [iptables, family, to, listens] of [
    ['iptables', 4, '10.7.0.2', '0.0.0.0'],
    ['ip6tables', 6, 'fd07::2', '::'],
  ] as const) {
    const port = await mirror(t, inB, listens, 0)
    const count = ['-m', 'comment', '--comment', 'marked']
    a.run(iptables, '-t', 'mangle', '-A', 'OUTPUT', '-p', 'tcp', '-m', 'mark', '--mark', '0x539/0xfff', ...count)
    await ask({ netns: inA }, to, port)
    t.equal(a.packets('mangle', 'marked', family), 0)
    await ask({ netns: inA, mark: 1337 }, to, port)
    t.ok(a.packets('mangle', 'marked', family) >= 3, 'of the handshake already')
  }
})

t.test("a client's address as the source", { skip }, async (t) => {
  const { a, b, inA, inB } = two(t)
  // What comes back to the client's address is for us, although no interface has it.
  for (const [ip, net, via] of [
    ['-4', '192.0.2.0/24', '10.7.0.1'],
    ['-6', '2001:db8::/64', 'fd07::1'],
  ] as const) {
    b.run('ip', ip, 'route', 'add', net, 'via', via)
    a.run('ip', ip, 'rule', 'add', 'iif', 'eth0', 'lookup', '100')
    a.run('ip', ip, 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '100')
  }
  for (const [source, to, listens] of [
    ['192.0.2.7', '10.7.0.2', '0.0.0.0'],
    ['2001:db8::7', 'fd07::2', '::'],
  ] as const) {
    const port = await mirror(t, inB, listens, 0)
    t.equal(await ask({ netns: inA, source, foreignSource: true }, to, port), source)
    t.equal(await ask({ netns: inA, source, foreignSource: true, mark: 1337 }, to, port), source)
    t.equal(await ask({ netns: inA, source }, to, port), 'EADDRNOTAVAIL', 'not without asking for it')
  }
  t.equal(await ask({ netns: inA, source: '192.0.2.7', foreignSource: true }, 'fd07::2', 1), 'EINVAL', 'of the other family')
})

t.test('between a client and an application inside one pod, by the rules of an ambient mesh', { skip }, async (t) => {
  const { b, inA, inB } = two(t)
  for (const [iptables, ip, loopback] of [
    ['iptables', '-4', '127.0.0.1/32'],
    ['ip6tables', '-6', '::1/128'],
  ] as const) {
    const rule = (text: string) => b.run(iptables, ...text.split(' '))
    rule('-t mangle -A PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff')
    rule('-t mangle -A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark')
    rule(`-t nat -A PREROUTING ! -d ${loopback} -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006`)
    rule('-t nat -A OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT')
    rule(`-t nat -A OUTPUT ! -d ${loopback} -o lo -j ACCEPT`)
    rule(`-t nat -A OUTPUT ! -d ${loopback} -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001`)
    b.run('ip', ip, 'rule', 'add', 'fwmark', '0x111/0xfff', 'lookup', '100', 'pref', '32764')
    b.run('ip', ip, 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '100')
  }
  await mirror(t, inB, '10.7.0.2', 80)
  await mirror(t, inB, 'fd07::2', 80)
  const passed: string[] = []
  const node = net.createServer({ allowHalfOpen: true }, (client) => {
    const { address, port } = originalDestination(client) as OriginalDestination
    const source = unmappedAddress(client.remoteAddress as string)
    passed.push(`${source} ${address}:${port}`)
    const application = connectFrom({ source, foreignSource: true, mark: 1337, netns: inB }, address, port)
    client.pipe(application).pipe(client)
    client.on('error', () => application.destroy())
    application.on('error', () => client.destroy())
  })
  await listen(node, '::', 15006, { dualStack: true, transparent: true, mark: 1337, netns: inB })
  t.teardown(() => new Promise((resolve) => node.close(resolve)))
  t.equal(await ask({ netns: inA }, '10.7.0.2', 80), '10.7.0.1')
  t.equal(await ask({ netns: inA }, 'fd07::2', 80), 'fd07::1')
  t.same(passed, ['10.7.0.1 10.7.0.2:80', 'fd07::1 fd07::2:80'])
})

t.test('the source that lets inbound connections through', { skip }, async (t) => {
  const { a, inA } = two(t)
  a.addAddress('::6/128', 'lo')
  for (const [own, source] of [
    ['10.7.0.1', '127.0.0.6'],
    ['fd07::1', '::6'],
  ] as const) {
    t.equal(inboundSource(own), source)
    const port = await mirror(t, inA, own, 0)
    t.equal(await ask({ netns: inA, source: inboundSource(own) }, own, port), source)
  }
})

t.test('many connections share one source port, one for each destination', { skip }, async (t) => {
  const { a, inA } = two(t)
  a.sysctl('net.ipv4.ip_local_port_range', '40000 40001')
  const from = new Set<number | undefined>()
  for (const port of [30001, 30002, 30003, 30004]) {
    await mirror(t, inA, '127.0.0.1', port)
    const socket = connectFrom({ ...PLAIN, netns: inA, source: '127.0.0.6' }, '127.0.0.1', port)
    t.teardown(() => socket.destroy())
    await within('a connection', once(socket, 'connect'))
    t.equal(socket.localAddress, '127.0.0.6')
    from.add(socket.localPort)
  }
  t.ok(from.size <= 2, 'four connections, two ports')
})

t.test('bytes go at once, as from any other socket of ours', { skip }, async (t) => {
  const { inA } = two(t)
  const port = await mirror(t, inA, '127.0.0.1', 0)
  const socket = connectFrom({ ...PLAIN, netns: inA }, '127.0.0.1', port)
  t.teardown(() => socket.destroy())
  t.ok(socket.connecting)
  await within('a connection', once(socket, 'connect'))
  const [value, IPPROTO_TCP, TCP_NODELAY] = [new Int32Array(1), 6, 1]
  const length = new Uint8Array(new Int32Array([4]).buffer)
  t.equal(libc()?.getsockopt(fdOf(socket), IPPROTO_TCP, TCP_NODELAY, new Uint8Array(value.buffer), length), 0)
  t.equal(value[0], 1)
})

t.test('namespaces', { skip }, async (t) => {
  const { a, b, inA, inB } = two(t)
  const again = openNetns(a.path)
  t.equal(again.identity, inA.identity)
  t.not(inA.identity, inB.identity)
  const sleeper = b.spawn('sleep', ['100'])
  const ofPid = await eventually('the process to be inside', () => {
    const found = netnsOfPid(sleeper.pid as number)
    if (found.identity === inB.identity) return found
    found.close()
    return null
  })
  t.equal((ofPid as Netns).identity, inB.identity)
  ;(ofPid as Netns).close()
  t.equal(
    inNetns(inA, () => readlinkSync('/proc/thread-self/ns/net')),
    `net:[${inA.identity.split(':')[1]}]`,
  )
  t.throws(
    () =>
      inNetns(inA, () => {
        throw new Error('of the stretch')
      }),
    /of the stretch/,
  )
  t.equal(readlinkSync('/proc/thread-self/ns/net'), `net:[${homeNetns().identity.split(':')[1]}]`, 'back all the same')
  t.equal(isIpv6Disabled(inA), false)
  a.sysctl('net.ipv6.conf.lo.disable_ipv6', 1)
  t.equal(isIpv6Disabled(inA), true)
  again.close()
  again.close()
  t.throws(() => inNetns(again, () => {}), { code: 'EBADF' })
  t.throws(() => openNetns('/run/netns/nobody'), { code: 'ENOENT' })
  t.throws(() => netnsOfPid(0), { code: 'ENOENT' })
})

t.test('whatever goes wrong, nothing stays open', { skip }, async (t) => {
  const { inA, inB } = two(t)
  const closed = openNetns('/proc/self/ns/net')
  closed.close()
  const notOne = new Netns(openSync('/dev/null', 'r'))
  t.teardown(() => notOne.close())
  await mirror(t, inB, '10.7.0.2', 80)
  const wrong: [what: string, options: Partial<OutboundOptions>, address: string, code: string][] = [
    ['nobody listens', { netns: inA }, '10.7.0.1', 'ECONNREFUSED'],
    ['no route', { netns: inA, mark: 7 }, '203.0.113.1', 'ENETUNREACH'],
    ['a source that is not ours', { netns: inA, source: '192.0.2.1' }, '10.7.0.2', 'EADDRNOTAVAIL'],
    ['a source of the other family', { netns: inA, source: 'fd07::1' }, '10.7.0.2', 'EAFNOSUPPORT'],
    ['a namespace that is closed', { netns: closed }, '10.7.0.2', 'EBADF'],
    ['what is no namespace', { netns: notOne }, '10.7.0.2', 'EINVAL'],
  ]
  homeNetns()
  const before = descriptors()
  t.equal(await ask({ netns: inA }, '10.7.0.2', 80), '10.7.0.1')
  for (const [what, options, address, code] of wrong) {
    for (let i = 0; i < 5; i++) t.equal(await ask(options, address, 80), code, what)
  }
  const destroyed = connectFrom({ ...PLAIN, netns: inA }, '10.7.0.2', 80)
  destroyed.on('error', () => {}).destroy()
  const server = net.createServer()
  await t.rejects(listen(server, '192.0.2.1', 80, { ...PLAIN_LISTEN, netns: inA }), { code: 'EADDRNOTAVAIL' })
  await t.rejects(listen(server, '10.7.0.1', 80, { ...PLAIN_LISTEN, netns: closed }), { code: 'EBADF' })
  await eventually('all to be closed', () => descriptors() === before)
})

t.test('without the capabilities: EPERM; without the way back: the end', { skip }, async (t) => {
  const { a, b } = two(t)
  const lib = (file: string) => JSON.stringify(pathToFileURL(`${ROOT}/build/lib/${file}`).href)
  const script = (body: string) => [
    '--input-type=module',
    '-e',
    `
    import { connectFrom } from ${lib('sys/outbound-socket.js')}
    import { inNetns, openNetns } from ${lib('sys/netns.js')}
    import fs from 'node:fs'
    const tried = async (options) => {
      const socket = connectFrom({ source: null, foreignSource: false, mark: 0, netns: null, ...options }, '127.0.0.1', 1)
      console.log(await new Promise((resolve) => socket.on('error', (e) => resolve(e.message))))
    }
    ${body}`,
  ]
  const as = { uid: 1337, gid: 1337 }
  const poor = await a.exec(
    process.execPath,
    script(`
    await tried({ mark: 1 })
    await tried({ source: '192.0.2.1', foreignSource: true })
    await tried({ source: '127.0.0.6' })
    await tried({ netns: openNetns(${JSON.stringify(b.path)}) })`),
    { as },
  )
  t.equal(poor.stderr, '')
  const lines = poor.stdout.trim().split('\n')
  t.equal(lines[0], 'setsockopt SO_MARK EPERM')
  t.equal(lines[1], 'setsockopt IP_TRANSPARENT EPERM 192.0.2.1')
  t.match(lines[2], /ECONNREFUSED/)
  t.match(lines[3], /^setns EPERM network namespace/)
  const rich = await a.exec(process.execPath, script('await tried({ mark: 1 })'), { as: { ...as, capabilities: ['net_admin'] } })
  t.match(rich.stdout, /ECONNREFUSED/)
  const lose = `
    const home = fs.statSync('/proc/thread-self/ns/net').ino
    inNetns(openNetns(${JSON.stringify(b.path)}), () => {
      for (const fd of fs.readdirSync('/proc/self/fd').map(Number)) {
        try { if (fs.fstatSync(fd).ino === home) fs.closeSync(fd) } catch {}
      }
    })
    console.log('went on')`
  const said = 'heddle: cannot return from another network namespace (setns EBADF own network namespace); ending\n'
  t.same(await a.exec(process.execPath, script(lose)), { code: 1, stdout: '', stderr: said })
  const inWorker = `
    import { Worker } from 'node:worker_threads'
    const worker = new Worker(new URL(${JSON.stringify(`data:text/javascript,${encodeURIComponent(script(lose)[2] as string)}`)}))
    worker.on('exit', (code) => console.log('ended', code))`
  t.same(await a.exec(process.execPath, script(inWorker)), { code: 0, stdout: 'ended 1\n', stderr: said }, 'a worker alone')
})
