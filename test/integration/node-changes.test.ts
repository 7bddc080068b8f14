// What a node's tunnel does while it changes: certificates are renewed, one heddle takes over from another, pods come and go, and no connection notices.
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { curl, nodeMesh, type Pod, serve } from '../support/node-mesh.ts'

t.setTimeout(180_000)
const skip = canMakeNamespaces()

const ECHO = `require('net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(9000, '::', 1000)`

/** Connections that follow each other, and two that stay; each says something and has to hear it again. Ends with a line of counts on SIGTERM. */
function load({ namespace }: Pod, to: Pod): { readonly stop: () => Promise<Record<string, number>>; done: () => number } {
  const child = namespace.spawn(process.execPath, [
    '-e',
    `
    const net = require('net')
    const counts = { done: 0, failed: 0, kept: 0 }
    let stopping = false
    const once = () => {
      if (stopping) return
      const word = 'n' + Math.random()
      let got = ''
      const s = net.connect(9000, '${to.ipv4}', () => s.end(word))
      s.on('data', (d) => got += d)
      s.on('error', (e) => console.error(new Date().toISOString(), e.code))
      s.on('close', () => { if (got === word) counts.done++; else counts.failed++; setTimeout(once, 20) })
    }
    for (let i = 0; i < 4; i++) once()
    const kept = [0, 1].map(() => net.connect(9000, '${to.ipv4}'))
    for (const s of kept) s.on('error', () => counts.failed++).on('data', () => {})
    setInterval(() => { for (const s of kept) s.write('x'); console.log(counts.done) }, 50)
    process.on('SIGTERM', () => {
      stopping = true
      counts.kept = kept.filter((s) => !s.destroyed && s.bytesRead > 0).length
      setTimeout(() => { console.log(JSON.stringify(counts)); process.exit(0) }, 300)
    })`,
  ])
  let out = ''
  let said = ''
  child.stdout.on('data', (d) => {
    out += d
  })
  child.stderr.on('data', (d) => {
    said += d
  })
  const closed = new Promise((resolve) => child.on('close', resolve))
  return {
    done: () => Number(out.trim().split('\n').at(-1) ?? 0),
    stop: async () => {
      child.kill('SIGTERM')
      await closed
      return {
        ...(JSON.parse(out.trim().split('\n').at(-1) ?? '{}') as Record<string, number>),
        ...(said === '' ? {} : { said }),
      } as never
    },
  }
}

t.test('certificates of seconds under load', { skip }, async (t) => {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'b', node: 1 },
    ],
    bootstrap: { identity: { certificateTtl: '6s' } },
  })
  const [a, b] = [mesh.pod('a'), mesh.pod('b')]
  await serve(b, ECHO, 9000)
  const running = load(a, b)
  await eventually('connections', () => running.done() > 20)
  const certificates = async () => (await mesh.proxyOf('b').adminJson('/config_dump')) as unknown
  t.ok(await certificates())
  const until = Date.now() + 9000
  await eventually('the life of a certificate and a half', () => Date.now() > until, 15_000)
  const counts = await running.stop()
  t.match(counts, { failed: 0, kept: 2 })
  t.ok((counts['done'] ?? 0) > 50)
})

t.test('another heddle takes over', { skip }, async (t) => {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'b', node: 1 },
    ],
    bootstrap: { drain: { deadline: '20s' } },
  })
  const [a, b] = [mesh.pod('a'), mesh.pod('b')]
  await serve(b, ECHO, 9000)
  const running = load(a, b)
  await eventually('connections', () => running.done() > 20)
  const first = mesh.proxyOf('b')
  await mesh.startNode(t, 1)
  first.signal('SIGTERM')
  await first.said(/draining/)
  const before = running.done()
  await eventually('connections by the new one', () => running.done() > before + 50)
  await eventually('the new one to serve', () => mesh.proxyOf('b').accessLog().length > 0)
  const counts = await running.stop()
  t.match(counts, { failed: 0, kept: 2 }, 'what was open stayed, and nothing was lost')
  t.match(await first.exited, { code: 0 })
  t.match(first.stderr, /drained: nothing was cut/)
})

t.test('what the deadline cuts is said', { skip }, async (t) => {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'b', node: 0 },
    ],
    bootstrap: { drain: { deadline: '300ms' } },
  })
  const [a, b] = [mesh.pod('a'), mesh.pod('b')]
  await serve(b, `require('net').createServer((s) => s.on('error', () => {}).write('hi')).listen(9000, '::')`, 9000)
  // curl keeps what telnet brings until there is more of it.
  const script = `require('net').connect(9000, '${b.ipv4}').on('error', () => {}).on('data', (d) => process.stdout.write(d))`
  const child = a.namespace.spawn(process.execPath, ['-e', script])
  let out = ''
  child.stdout.on('data', (d) => {
    out += d
  })
  await eventually('an open connection', () => out === 'hi')
  const proxy = mesh.proxyOf('a')
  t.match(await proxy.stop(), { code: 0 })
  t.match(proxy.stderr, /cut: tunnel outbound to 10\.10\.0\.3:9000/)
  await proxy.logged({ direction: 'outbound', error: 'connection closed due to connection drain' })
})

t.test('a pod that comes later and goes again', { skip }, async (t) => {
  const mesh = await nodeMesh(t, { pods: [{ name: 'a', node: 0 }], bootstrap: {}, withoutHeddle: [0] })
  const a = mesh.pod('a')
  const late = `${a.namespace.path}-late`
  const proxy = await mesh.startNode(t, 0, {
    node: { pods: [{ name: 'a', namespace: 'default', serviceAccount: 'a', netns: late }] },
  })
  await proxy.said(/pod a\.default \(a\): there is no network namespace .*; it is tried again every second/)
  mesh.bindNamespace(a, late)
  await proxy.said(/its sockets are there now/)
  t.match(await curl(a, 'http://127.0.0.1:15006/'), { refused: true })
  mesh.unbindNamespace(late)
  await proxy.said(/its network namespace is gone/)
  await eventually('closed sockets', async () => {
    const listening = a.namespace.run('cat', '/proc/net/tcp6')
    return !listening.includes(':3A9E')
  })
})
