// heddle top config: what of its configuration a running proxy has used, and what that takes.
import type { ConfigUsePage } from '../admin/config-use-page.ts'
import { ADMIN_FLAG, adminAddress, askAdmin } from './ask-admin.ts'
import { type Arguments, CONFIG_FLAG, type Command, type CommandIo, JSON_FLAG, UsageError } from './command.ts'
import { EXIT_CONFIG, EXIT_OK, EXIT_START } from './exit-codes.ts'
import { sidecarYaml, type WorkloadName } from './sidecar-resource.ts'
import { table } from './terminal.ts'

export const topCommand: Command = {
  name: 'top',
  summary: 'what of its configuration the proxy has used, and what that takes',
  usage: ['top config [--config heddle.yaml] [--admin HOST:PORT] [--json | --sidecar]'],
  description: `
Asks the running proxy: bytes by kind, and the hosts that requests went to since it began. What nobody has asked for is kept packed, and costs little; but the
control plane makes it, sends it, and sends its changes.

--sidecar writes the Sidecar (networking.istio.io) with which the workload would know the hosts that it has used, and no others. Read it before you apply it: what the
workload uses once a month may not be in it.`,
  flags: {
    config: CONFIG_FLAG,
    admin: ADMIN_FLAG,
    json: JSON_FLAG,
    sidecar: { type: 'boolean', value: '', help: 'a Sidecar with these hosts, as YAML on standard output' },
  },
  async run(args, io) {
    if (args.positionals.length !== 1 || args.positionals[0] !== 'config')
      throw new UsageError('what is to be shown? heddle top config')
    if (args.has('json') && args.has('sidecar')) throw new UsageError('--json and --sidecar: one of them')
    return topConfig(args, io)
  },
}

async function topConfig(args: Arguments, io: CommandIo): Promise<number> {
  const admin = await adminAddress(args, io)
  if (admin === null) return EXIT_CONFIG
  const ask = async (path: string): Promise<string | null> => {
    const answer = await askAdmin(admin, path)
    if (answer.kind === 'answered' && answer.status === 200) return answer.body
    const why = answer.kind === 'unreachable' ? answer.message : `${path} was answered ${answer.status}: ${answer.body.trim()}`
    io.stderr.write(`heddle top config: ${why}\n`)
    return null
  }
  const text = await ask('/config_use')
  if (text === null) return EXIT_START
  const page = JSON.parse(text) as ConfigUsePage
  if (args.has('json')) io.stdout.write(text)
  else if (!args.has('sidecar')) io.stdout.write(configText(page))
  else {
    const info = await ask('/server_info')
    if (info === null) return EXIT_START
    const { workload, uptime } = workloadOf(JSON.parse(info) as ServerInfoPage)
    const about = `What ${workload.namespace}/${workload.name} has used within ${uptime}: ${page.hosts.used.length} of ${page.hosts.configured} hosts.`
    io.stdout.write(sidecarYaml(workload, page.hosts.used, about))
  }
  return EXIT_OK
}

interface ServerInfoPage {
  readonly uptime_current_epoch: string
  /** What a control plane was told of it. */
  readonly node: { readonly metadata?: Readonly<Record<string, unknown>> }
  readonly bootstrap: {
    readonly workload: { readonly namespace: string; readonly name: string; readonly labels: Readonly<Record<string, string>> }
  }
}

function workloadOf({ node, bootstrap, uptime_current_epoch: uptime }: ServerInfoPage): {
  workload: WorkloadName
  uptime: string
} {
  const { workload } = bootstrap
  const metadata = node.metadata ?? {}
  const labels = (metadata['LABELS'] ?? workload.labels) as Readonly<Record<string, string>>
  const namespace = String(metadata['NAMESPACE'] ?? workload.namespace)
  const app = labels['app'] ?? ''
  return { workload: { namespace, name: app === '' ? workload.name : app, app }, uptime }
}

function configText({ sent, shared, workerHeapBytes, clusters, virtualHosts, hosts }: ConfigUsePage): string {
  const rows = [
    ...sent.map(({ kind, count, bytes }) => [kind, String(count), '', size(bytes), '']),
    ['clusters, packed', String(clusters.configured), String(clusters.used.length), '', size(shared.clusters)],
    ['virtual hosts, packed', String(virtualHosts.configured), String(virtualHosts.used.length), '', size(shared.virtualHosts)],
  ]
  const heaps = workerHeapBytes.map(size).join(', ')
  const used = hosts.used.map(({ namespace, host }) => `  ${namespace === '' ? '' : `${namespace}/`}${host}`)
  return [
    table([['KIND', 'THERE', 'USED', 'AS SENT', 'SHARED'], ...rows], (_row, _column, cell) => cell),
    '',
    `shared by all workers: ${size(shared.arenas)}; heap of each: ${heaps === '' ? 'no worker answered' : heaps}`,
    '',
    `hosts that were used: ${hosts.used.length} of ${hosts.configured}`,
    ...used,
    '',
  ].join('\n')
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}
