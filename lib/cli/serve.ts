// A proxy from its start to its end, with signals and exit codes; `run` and `dev` are two ways to call it.
import { Rng } from '../base/rng.ts'
import type { CertificateManager } from '../identity/source/certificate-manager.ts'
import { canSharePorts } from '../listener/bind.ts'
import type { AgentDuties } from '../server/agent.ts'
import type { ConfigThread } from '../server/config-thread.ts'
import { type ControlPlane, openControlPlane } from '../server/control-plane.ts'
import { assemblyOf, checkRole, type RoleAssembly, roleWarnings } from '../server/role.ts'
import { onSignals } from '../server/signals.ts'
import { StartError } from '../server/start-error.ts'
import { Supervisor } from '../server/supervisor.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import { Logger } from '../telemetry/logger.ts'
import { EXIT_CONFIG, EXIT_INTERRUPTED, EXIT_OK, EXIT_START } from './exit-codes.ts'
import { heddleVersion } from './version.ts'

/**
 * Runs a proxy to its end. `thread` reads its resources and ends with it. `onReady` is called once, when traffic is served. Returns
 * the exit code, or does not return.
 */
export async function serve(
  bootstrap: BootstrapConfig,
  thread: ConfigThread,
  onReady: (proxy: Supervisor) => Promise<void>,
): Promise<number> {
  const logger = new Logger({ level: bootstrap.logLevel })
  // The main thread carries no traffic: whatever goes wrong here, the workers go on.
  const onBug = (error: unknown) => logger.error('a bug on the main thread; traffic goes on', { error })
  process.on('uncaughtException', onBug)
  process.on('unhandledRejection', onBug)
  let assembly: RoleAssembly
  let identity: CertificateManager | null
  let controlPlane: ControlPlane | null
  let agent: AgentDuties | null
  try {
    assembly = await assemblyOf(bootstrap.role)
    checkRole(assembly, bootstrap)
    for (const warning of roleWarnings(assembly, bootstrap)) logger.warning(warning)
    identity = await openIdentity(bootstrap, logger)
    agent = await openAgent(bootstrap, identity, logger)
    const feed = agent?.feed ?? null
    controlPlane = await openControlPlane({ bootstrap, env: process.env, log: logger, version: heddleVersion(), agent: feed })
  } catch (error) {
    logger.error((error as Error).message)
    await thread.close()
    return exitCodeOf(error, EXIT_CONFIG)
  }
  const proxy = new Supervisor(await withWorkersThatCanShare(bootstrap, logger), {
    version: heddleVersion(),
    logger,
    thread,
    identity,
    ...(assembly.part === undefined ? {} : { rolePart: assembly.part }),
    agent,
    ...(controlPlane === null ? {} : { self: controlPlane.self }),
    ...(controlPlane?.source == null ? {} : { source: controlPlane.source }),
  })
  const stopListening = onSignals({
    terminate: (signal) => void proxy.shutdown(signal, signal === 'SIGINT'),
    abort: (signal) => {
      logger.warning(`${signal} again: ending at once`)
      process.exit(EXIT_INTERRUPTED)
    },
    reload: () => void proxy.reload('SIGHUP'),
    reopenLogs: () => proxy.reopenLogs(),
  })
  let ready: boolean
  try {
    ready = await proxy.start()
  } catch (error) {
    stopListening()
    logger.error((error as Error).message)
    return exitCodeOf(error, EXIT_START)
  }
  if (ready) await onReady(proxy)
  await proxy.finished
  stopListening()
  process.off('uncaughtException', onBug)
  process.off('unhandledRejection', onBug)
  return EXIT_OK
}

/** `otherwise`: of what is no StartError. */
function exitCodeOf(error: unknown, otherwise: number): number {
  if (!(error instanceof StartError)) return otherwise
  return error.kind === 'config' ? EXIT_CONFIG : EXIT_START
}

/** Who obtains the workload's certificates, begun; null: `identity.source` is none, and nothing of it is loaded. */
async function openIdentity(bootstrap: BootstrapConfig, log: Logger): Promise<CertificateManager | null> {
  if (bootstrap.identity.source === 'none') return null
  const { openManager } = await import('../identity/source/open-manager.ts')
  const manager = await openManager({ bootstrap, env: process.env, log, rng: new Rng(Date.now() | 0) })
  manager?.start()
  return manager
}

/** null: none of what Istio's agent does is configured, and nothing of it is loaded. */
async function openAgent(
  bootstrap: BootstrapConfig,
  identity: CertificateManager | null,
  log: Logger,
): Promise<AgentDuties | null> {
  const { agent, dns, xds } = bootstrap
  if (agent.statusPort === 0 && agent.metricsPort === 0 && dns.port === 0 && xds.address === '') return null
  const { AgentDuties } = await import('../server/agent.ts')
  return AgentDuties.open({ bootstrap, identity, log })
}

/** Without SO_REUSEPORT only one worker can listen on a port. */
async function withWorkersThatCanShare(bootstrap: BootstrapConfig, logger: Logger): Promise<BootstrapConfig> {
  if (bootstrap.concurrency === 1 || (await canSharePorts())) return bootstrap
  logger.warning(
    'one worker instead of the concurrency asked for: ports can be shared on Linux with Node.js 22.12 or with koffi only',
  )
  return { ...bootstrap, concurrency: 1 }
}
