// A pod whose connections are intercepted, its client, and the world behind the client: who reaches what, and what of the pod has changed.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from './eventually.ts'
import { type As, canMakeNamespaces, type Finished, type Namespace, Namespaces } from './netns.ts'
import { BIN } from './proxy.ts'
import type { Teardown } from './teardown.ts'

export const APP: As = { uid: 1000, gid: 1000 }
export const PROXY: As = { uid: 1337, gid: 1337 }
/** An address out in the world, and a resolver there; both are on the client's machine. */
export const WORLD = { ipv4: '198.51.100.7', ipv6: '2001:db8:7::7' }
export const POD = { ipv4: '10.9.0.2', ipv6: 'fd09::2' }
export const CLIENT = { ipv4: '10.9.0.1', ipv6: 'fd09::1' }
export const FAMILIES = ['ipv4', 'ipv6'] as const

/** Packet filters, each with why a test with it is skipped. */
export const BACKENDS = ['iptables-nft', 'iptables-legacy', 'nft'].map((backend) => ({ backend, skip: reasonAgainst(backend) }))

export interface World {
  readonly client: Namespace
  readonly pod: Namespace
}

/** A pod whose only way out is its client's machine. */
export function world(t: Teardown): World {
  const namespaces = Namespaces.make(t)
  const [client, pod] = [namespaces.add('client'), namespaces.add('pod')]
  namespaces.veth(
    { namespace: client, device: 'eth0', addresses: [`${CLIENT.ipv4}/24`, `${CLIENT.ipv6}/64`] },
    { namespace: pod, device: 'eth0', addresses: [`${POD.ipv4}/24`, `${POD.ipv6}/64`] },
  )
  for (const family of FAMILIES) {
    client.addAddress(`${WORLD[family]}/${family === 'ipv4' ? 32 : 128}`, 'lo')
    pod.run('ip', family === 'ipv4' ? '-4' : '-6', 'route', 'add', 'default', 'via', CLIENT[family])
  }
  return { client, pod }
}

/** Answers each connection and each datagram on these ports with the port that it came to and where it came from. */
export async function answers(at: Namespace, name: string, ports: readonly number[]): Promise<void> {
  const script = `
    const net = require('net'), dgram = require('dgram')
    const plain = (address) => address.replace('::ffff:', '')
    // An answer has to come from the address that was asked, so each has a socket of its own.
    const udp = ${JSON.stringify(name === 'pod' ? ['127.0.0.1', '::1'] : Object.values(WORLD))}
    let waiting = ${ports.length} + udp.length
    const on = () => --waiting === 0 && console.log('on')
    for (const port of ${JSON.stringify(ports)})
      net.createServer((s) => s.on('error', () => {}).end('${name}:' + port + ' ' + plain(s.remoteAddress) + '\\n')).listen(port, '::', on)
    for (const address of udp) {
      const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4')
      socket.on('message', (m, from) => socket.send('${name}:udp', from.port, from.address)).bind(${name === 'pod' ? 15053 : 53}, address, on)
    }
  `
  const child = at.spawn(process.execPath, ['-e', script], name === 'pod' ? { as: PROXY } : {})
  let said = ''
  child.stdout.on('data', (d) => {
    said += d
  })
  child.stderr.on('data', (d) => {
    said += d
  })
  await eventually('listeners', () => {
    if (said !== '' && said !== 'on\n') throw new Error(said)
    return said === 'on\n'
  })
}

/** What answers a connection: `pod:15001 10.9.0.2`; `refused` or `silence` when nothing does. */
export async function reached(at: Namespace, as: As, address: string, port: number, from?: string): Promise<string> {
  const host = address.includes(':') ? `[${address}]` : address
  const bound = from === undefined ? [] : ['--interface', from]
  const { code, stdout } = await at.exec('curl', ['-s', '--http0.9', '--max-time', '3', ...bound, `telnet://${host}:${port}`], {
    as,
  })
  if (stdout !== '') return stdout.trim()
  return code === 7 ? 'refused' : 'silence'
}

export function heddle(at: Namespace, args: readonly string[], options: { as?: As; path?: string } = {}): Promise<Finished> {
  const env = { ...process.env, PATH: `${options.path ?? ''}:${process.env['PATH']}` }
  const as = options.as === undefined ? {} : { as: options.as }
  return at.exec(process.execPath, [BIN, 'iptables', ...args], { ...as, env, budgetMs: 30_000 })
}

/** All that could be changed: rules and chains, without counters and what is empty; routes, addresses. */
export function state(at: Namespace): readonly string[] {
  const saved = ['iptables-nft-save', 'ip6tables-nft-save', 'iptables-legacy-save', 'ip6tables-legacy-save'].flatMap((program) =>
    at
      .run('sh', '-c', `command -v ${program} >/dev/null && ${program} || true`)
      .split('\n')
      .filter((line) => line.startsWith('-') || /^:.* - /.test(line))
      .map((line) => `${program} ${line.replace(/ \[.*/, '')}`),
  )
  const nft = at.run('sh', '-c', 'command -v nft >/dev/null && nft list tables || true').split('\n')
  const others = nft.filter((line) => !/^table (?:ip|ip6) (?:filter|nat|mangle|raw)$/.test(line))
  const routing = [
    ['-4', 'rule'],
    ['-6', 'rule'],
    ['-4', 'route', 'show', 'table', 'all'],
    ['-6', 'route', 'show', 'table', 'all'],
    ['-6', 'addr', 'show', 'dev', 'lo'],
  ]
  // The kernel lists cached and automatic routes with what changes by itself.
  const shown = routing
    .flatMap((args) => at.run('ip', ...args).split('\n'))
    .map((line) => line.replace(/ pref \w+| expires \S+/g, ''))
  return [...saved, ...others, ...shown].map((line) => line.trim()).filter((line) => line !== '')
}

/** Which server answers a datagram to port 53 of an address, which has to be the one that answers. */
export async function asked(at: Namespace, as: As, address: string): Promise<string> {
  const script = `
    const s = require('dgram').createSocket('udp${address.includes(':') ? 6 : 4}')
    s.on('message', (m) => { console.log(String(m)); s.close() })
    s.connect(53, '${address}', () => s.send('?'))
    setTimeout(() => s.close(), 3000).unref()
  `
  return (await at.exec(process.execPath, ['-e', script], { as })).stdout.trim()
}

function reasonAgainst(backend: string): string {
  const reason = canMakeNamespaces()
  if (reason !== '') return reason
  const there = (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, backend)))
  return there ? '' : `${backend} is not installed`
}
