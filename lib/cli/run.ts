import { ConfigThread } from '../server/config-thread.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { Listener } from '../state/listener.ts'
import { bootstrapFlags, bootstrapFlagValues, CONFIG_FLAG, type Command } from './command.ts'
import { EXIT_CONFIG, EXIT_INTERRUPTED } from './exit-codes.ts'
import { type BootstrapReader, loadOrReport, requiredConfigFile } from './load-config.ts'

export const runCommand: Command = {
  name: 'run',
  summary: 'run the proxy',
  usage: ['run --config heddle.yaml [flags]'],
  description: `
Runs until it is told to stop. config/reference.yaml explains each field of heddle.yaml; each can be set by an environment
variable too (admin.port by HEDDLE_ADMIN_PORT), and those below by a flag, which wins over both.

Signals: SIGTERM fails readiness, takes new connections for drain.accept still, lets requests finish up to drain.deadline, says what
was cut, and ends with 0; SIGINT takes no new connections; a second one ends at once with ${EXIT_INTERRUPTED}. SIGHUP reads the resources anew. SIGUSR1 opens the access log anew after it was rotated.
`,
  flags: {
    config: CONFIG_FLAG,
    ...bootstrapFlags(),
  },
  async run(args, io) {
    const thread = new ConfigThread()
    const read: BootstrapReader = (file, env, flags) => thread.loadBootstrap(file, env, flags)
    const bootstrap = await loadOrReport(requiredConfigFile(args, io), bootstrapFlagValues(args), io, read)
    return await runProxy(bootstrap, thread)
  },
}

/** To its end; the exit code. `bootstrap` null: it was found wrong, and that is told. `thread` ends with it. */
export async function runProxy(bootstrap: BootstrapConfig | null, thread: ConfigThread): Promise<number> {
  if (bootstrap === null) {
    await thread.close()
    return EXIT_CONFIG
  }
  const { serve } = await import('./serve.ts')
  return serve(bootstrap, thread, async (proxy) => {
    // A node's tunnel listens in its pods.
    if (bootstrap.role !== 'node' && proxy.boundPorts().length === 0) {
      const { logger } = proxy
      if (bootstrap.xds.address === '') logger.warning('heddle.yaml has no listeners: no traffic is carried')
      // They may come.
      else
        logger.info('the control plane has sent no listeners so far (of a gateway: do its labels fit the selector of a Gateway?)')
    }
    for (const { listener, port } of proxy.boundPorts()) {
      proxy.logger.info(`listener ${listener.name}: ${listenerText(listener, port)}`)
    }
  })
}

/** `outbound http on 127.0.0.1:8080`, `inbound tcp on 0.0.0.0:9000 to inbound|9000||`, `outbound, captured, on 0.0.0.0:15001`. */
function listenerText({ direction, address, capture, filterChains }: Listener, port: number): string {
  const at = `on ${address.includes(':') ? `[${address}]` : address}:${port}`
  if (capture !== 'none') return `${direction}, captured, ${at}`
  const network = filterChains[0]?.network
  if (network?.kind !== 'tcp') return `${direction} ${network?.kind ?? ''} ${at}`
  return `${direction} tcp ${at} to ${network.clusters.map((c) => c.cluster).join(', ') || 'nowhere'}`
}
