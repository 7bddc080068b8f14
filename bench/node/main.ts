// The tunnel of a node, in ztunnel's place and beside it: each carries the connections of two pods of its own to each other, both ends in one process, in network
// namespaces with rules in force, fed by one control plane and certified by one CA. CPU time of the process, of all its threads.
// `ZTUNNEL=path node build/bench/node/main.js [heddle] [ztunnel] [--rounds N] [--duration S]`, as root.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { FakeControlPlane } from '../../test/support/fake-control-plane.ts'
import { handOver, NODE_TOKEN, startFedNode } from '../../test/support/fed-node.ts'
import { IstioCaServer } from '../../test/support/istio-ca-server.ts'
import type { Namespace } from '../../test/support/netns.ts'
import { type NodeMesh, nodeMesh, type Pod } from '../../test/support/node-mesh.ts'
import { SigningCa } from '../../test/support/signing-ca.ts'
import { type FedService, WorkloadFeed } from '../../test/support/workload-feed.ts'
import { findZtunnel, Ztunnel } from '../../test/support/ztunnel.ts'
import { allowedCores, chooseCores } from '../load/cores.ts'
import { cpuSeconds, residentBytes } from '../load/cpu-time.ts'
import { findProgram } from '../load/find-program.ts'
import { nginxPreamble, nginxTemporaryPaths } from '../load/peer-nginx.ts'
import { median } from '../load/summary.ts'
import { table } from '../load/table.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, duration: { type: 'string', default: '4' } },
})
const ROUNDS = Number(values.rounds)
const SECONDS = Number(values.duration)
const PORT = 8080

/** `close`: a connection for each request. */
const LOADS = [
  { id: 'node-1k', path: '/1k', connections: 32, close: false },
  { id: 'node-connect', path: '/1k', connections: 32, close: true },
  { id: 'node-bulk', path: '/4m', connections: 4, close: false },
] as const

interface Target {
  readonly id: string
  readonly client: Namespace
  readonly vip: string
  readonly pid: number
  readonly idleBytes: number
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const teardowns: (() => unknown)[] = []
const t = { teardown: (fn: () => unknown) => void teardowns.push(fn) }

/** Files of the bench from nginx in the pod, as cheap as it goes. */
async function serveFiles({ folder }: NodeMesh, pod: Pod, core: string): Promise<void> {
  const nginx = findProgram('nginx', 'NGINX')
  if (nginx === null) throw new Error('nginx is not installed')
  const file = path.join(folder, `${pod.name}.conf`)
  writeFileSync(
    file,
    `${nginxPreamble(folder).replace(/pid .*;/, `pid ${file}.pid;`)}http {
${nginxTemporaryPaths(folder)}  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  server { listen ${PORT}; root ${folder}; }
}
`,
  )
  pod.namespace.spawn('taskset', ['-c', core, nginx, '-c', file, '-p', folder])
}

async function load({ client, vip }: Target, { path: file, connections, close }: (typeof LOADS)[number], core: string) {
  const args = ['-c', core, 'wrk', '-t1', `-c${connections}`, `-d${SECONDS}s`, ...(close ? ['-H', 'Connection: close'] : [])]
  const { stdout, stderr, code } = await client.exec('taskset', [...args, `http://${vip}${file}`], { budgetMs: 60_000 })
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0)
  const faults = /Socket errors: (.*)|Non-2xx.*/.exec(stdout)?.[0] ?? ''
  if (code !== 0 || requests === 0 || (faults !== '' && !close)) throw new Error(`wrk: ${faults}${stderr}${stdout}`)
  return requests
}

async function targets(ids: readonly string[], cores: { readonly proxy: string; readonly load: string }): Promise<Target[]> {
  const mesh = await nodeMesh(t, {
    pods: ids.flatMap((id, node) => ['a', 'b'].map((end) => ({ name: `${id}-${end}`, node }))),
    withoutHeddle: ids.map((_, node) => node),
  })
  mesh.router.run('chmod', '755', mesh.folder)
  for (const [name, bytes] of [
    ['1k', 1024],
    ['4m', 4 * 2 ** 20],
  ] as const)
    writeFileSync(path.join(mesh.folder, name), 'x'.repeat(bytes))
  const authority = await SigningCa.root(t)
  const ca = await IstioCaServer.start(t, authority)
  const plane = await FakeControlPlane.start(t)
  const feed = new WorkloadFeed(mesh, plane)
  ca.nodes.set(
    NODE_TOKEN,
    [...mesh.pods.values()].map((p) => p.identity).concat('spiffe://cluster.local/ns/istio-system/sa/ztunnel'),
  )
  feed.policy('nothing', { action: 1 })
  const all: Target[] = []
  for (const [i, id] of ids.entries()) {
    const [a, b] = [mesh.pod(`${id}-a`), mesh.pod(`${id}-b`)]
    const service: FedService = { name: id, vip: `10.20.0.${i + 1}`, ports: { 80: PORT } }
    feed.workload(a)
    feed.workload(b, [service])
    feed.service(service)
    await serveFiles(mesh, b, cores.load)
    let pid: number
    if (id === 'ztunnel') {
      const namespace = mesh.nodes[i] as Namespace
      const ztunnel = await Ztunnel.start(t, { namespace, plane, ca, authority, env: { ZTUNNEL_WORKER_THREADS: '2' } })
      await handOver(ztunnel.agent, [a, b])
      await ztunnel.ready()
      pid = ztunnel.pid
    } else pid = (await startFedNode(t, { mesh, plane, ca, authority, pods: [a, b] })).pid
    mesh.router.run('taskset', '-acp', cores.proxy, String(pid))
    all.push({ id, client: a.namespace, vip: service.vip, pid, idleBytes: residentBytes(pid) })
  }
  return all
}

async function main(): Promise<void> {
  const { skip } = findZtunnel()
  const ids = positionals.length > 0 ? positionals : ['heddle', ...(skip === '' ? ['ztunnel'] : [])]
  const { proxy, load: loadCore, warning } = chooseCores(allowedCores(), findProgram('taskset', 'TASKSET') !== null)
  if (warning !== '') say(warning)
  const cores = { proxy: String(proxy ?? 0), load: String(loadCore ?? 0) }
  const all = await targets(ids, cores)
  const rows: string[][] = []
  for (const job of LOADS) {
    const micros = new Map<string, number[]>(all.map(({ id }) => [id, []]))
    const rates = new Map<string, number[]>(all.map(({ id }) => [id, []]))
    for (const target of all) await load(target, job, cores.load)
    for (let round = 0; round < ROUNDS; round++)
      for (const target of all) {
        const before = cpuSeconds(target.pid)
        const requests = await load(target, job, cores.load)
        micros.get(target.id)?.push(((cpuSeconds(target.pid) - before) / requests) * 1e6)
        rates.get(target.id)?.push(requests / SECONDS)
      }
    for (const { id, pid, idleBytes } of all) {
      const cpu = micros.get(id) as number[]
      rows.push([
        job.id,
        id,
        median(cpu).toFixed(1),
        `${Math.min(...cpu).toFixed(1)}-${Math.max(...cpu).toFixed(1)}`,
        median(rates.get(id) as number[]).toFixed(0),
        (idleBytes / 2 ** 20).toFixed(0),
        (residentBytes(pid) / 2 ** 20).toFixed(0),
      ])
    }
  }
  say(table(['load', 'tunnel', 'µs CPU', 'least-most', 'requests/s', 'MiB idle', 'MiB then'], rows))
}

try {
  await main()
} finally {
  for (const fn of teardowns.reverse()) await fn()
}
