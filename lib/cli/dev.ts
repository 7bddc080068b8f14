import { join } from 'node:path'
import { ConfigThread } from '../server/config-thread.ts'
import type { Supervisor } from '../server/supervisor.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { Endpoint } from '../state/cluster.ts'
import { originText } from '../state/origin.ts'
import { bootstrapFlags, bootstrapFlagValues, type Command, type CommandIo } from './command.ts'
import { DemoUpstream } from './demo-upstream.ts'
import { EXIT_CONFIG, EXIT_START } from './exit-codes.ts'
import { loadOrReport, shownPath } from './load-config.ts'
import { paintFor } from './terminal.ts'
import { packageRoot } from './version.ts'

export const devCommand: Command = {
  name: 'dev',
  summary: 'run a small mesh on this machine, to try things',
  usage: ['dev [--port N] [--admin-port N]'],
  description: `
Starts two versions of a service, a mirror, a service behind mutual TLS, and the proxy of one of their clients, all on the loopback
and configured by the files in config/demo. Ctrl-C ends all of it. A port that is taken: --port or HEDDLE_LISTENERS_OUT_PORT for the proxy, --admin-port and
--health-port for these, config/demo/mesh/upstreams.yaml for the service.
`,
  flags: {
    port: { type: 'string', short: 'p', value: 'PORT', help: 'where the proxy listens; default 8080' },
    ...bootstrapFlags(['admin-port', 'health-port', 'concurrency', 'access-log', 'log-level']),
  },
  async run(args, io) {
    const file = join(packageRoot(), 'config/demo/heddle.yaml')
    const port = args.text('port')
    const env = port === null ? io.env : { ...io.env, HEDDLE_LISTENERS_OUT_PORT: port }
    const bootstrap = await loadOrReport(file, bootstrapFlagValues(args), { ...io, env })
    if (bootstrap === null) return EXIT_CONFIG
    const upstreams = await startUpstreams(bootstrap, io)
    if (upstreams === null) return EXIT_START
    const { serve } = await import('./serve.ts')
    try {
      const code = await serve(bootstrap, new ConfigThread(), async (proxy) => {
        io.stdout.write(welcome(proxy, upstreams, io))
      })
      if (code === EXIT_START) io.stderr.write('Is another heddle running? heddle dev --help says how to choose other ports.\n')
      return code
    } finally {
      await Promise.all(upstreams.map(({ server }) => server.close()))
    }
  },
}

interface RunningUpstream {
  readonly server: DemoUpstream
  readonly endpoint: Endpoint
}

/** One server for each endpoint of the demo's mesh. null: one could not be had, which was reported. */
async function startUpstreams(bootstrap: BootstrapConfig, io: CommandIo): Promise<RunningUpstream[] | null> {
  const { ResourceLoader } = await import('../resources/load.ts')
  const { snapshot } = new ResourceLoader(bootstrap).load()
  const running: RunningUpstream[] = []
  for (const cluster of snapshot.clusters.filter((c) => c.type === 'STATIC' && c.subset === '')) {
    for (const endpoint of cluster.endpoints) {
      // What the proxy itself listens on has its server behind it.
      if (bootstrap.listeners.some((l) => l.direction === 'inbound' && l.port === endpoint.port)) continue
      if (running.some((r) => r.endpoint.port === endpoint.port)) continue
      const behind = bootstrap.listeners.find((l) => l.direction === 'inbound' && l.forwardTo.endsWith(`:${endpoint.port}`))
      const server = new DemoUpstream(
        behind?.name ?? (endpoint.workload.app || cluster.serviceName),
        endpoint.workload.version || 'v1',
      )
      try {
        await server.listen(endpoint.address, endpoint.port)
        running.push({ server, endpoint })
      } catch (error) {
        const where = originText({ ...endpoint.origin, file: shownPath(endpoint.origin.file) })
        io.stderr.write(
          `heddle dev: cannot listen on ${endpoint.address}:${endpoint.port} (${(error as Error).message}); it stands in ${where}\n`,
        )
        await Promise.all(running.map((r) => r.server.close()))
        return null
      }
    }
  }
  return running
}

function welcome(proxy: Supervisor, upstreams: readonly RunningUpstream[], io: CommandIo): string {
  const paint = paintFor(io.stdout, io.env)
  const bold = (text: string) => paint('bold', text)
  const out = proxy.boundPorts().find(({ listener }) => listener.direction === 'outbound')
  const secure = proxy.boundPorts().find(({ listener }) => listener.direction === 'inbound')
  const url = `http://${out?.listener.address}:${out?.port}`
  const admin = `http://${proxy.bootstrap.admin.address}:${proxy.adminPort}`
  const services = upstreams.map(
    ({ server, endpoint }) => `  ${`${server.name} ${server.version}`.padEnd(20)}${endpoint.address}:${endpoint.port}`,
  )
  const mirror = upstreams.find(({ server }) => server.name.endsWith('-mirror'))?.endpoint
  const heddle = shownPath(join(packageRoot(), 'bin/heddle'))
  const changed = proxy.adminPort === 15000 ? '' : ` --admin-port ${proxy.adminPort}`
  return `
${bold('A small mesh is running.')} What it does is written in ${shownPath(join(packageRoot(), 'config/demo/mesh'))}; edit it while it runs.

  ${'proxy'.padEnd(20)}${url}
${services.join('\n')}

${bold('Try')}
  curl -i -H 'host: reviews' ${url}/            ${paint('dim', '# nine of ten from v1, one from v2, a copy of each to the mirror')}
  curl -i -H 'host: reviews' ${url}/flaky       ${paint('dim', '# the service fails two times of three; retries hide it')}
  curl -i -H 'host: reviews' ${url}/slow        ${paint('dim', '# 504 after half a second; /fault answers 418 every other time')}
  curl -i -H 'host: ledger' ${url}/             ${paint('dim', `# by mutual TLS; curl http://127.0.0.1:${secure?.port}/ is refused`)}

${bold('Look')}
  metrics   ${admin}/stats/prometheus
  mirror    http://${mirror?.address}:${mirror?.port}/seen
  explain   ${heddle} explain <x-request-id of a request>${changed}
            ${heddle} explain --config ${shownPath(proxy.bootstrap.file)} http://reviews/ -H 'x-canary: true'

Ctrl-C ends all of it.

`
}
