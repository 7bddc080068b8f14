// What the admin page sees of the proxy.
import type { AdminSource, HostHealth } from '../admin/admin-source.ts'
import type { DumpedConfig } from '../admin/dumped-config.ts'
import { nounDump } from '../admin/noun-dump.ts'
import { EJECTED_FLAG, FAILED_CHECK_FLAG, UNCHECKED_FLAG } from '../cluster/shared-hosts.ts'
import type { ExplainedConnection, Explanation } from '../decide/explanation.ts'
import { dumpedSecrets } from './dumped-secrets.ts'
import { withLeftOut } from './left-out.ts'
import type { WorkerView } from './messages.ts'
import type { Supervisor } from './supervisor.ts'

export function adminSource(proxy: Supervisor): AdminSource {
  return {
    state: () => ({
      server: proxy.state,
      configVersion: proxy.store.appliedVersion,
      lastGood: proxy.store.lastGood,
      problems: proxy.store.problems,
      workersReady: proxy.pool.serving,
      workers: proxy.bootstrap.concurrency,
    }),
    metricsText: () => proxy.metricsText(),
    snapshot: () => proxy.snapshot(),
    statuses: () => proxy.store.statuses,
    workerViews: async () => (await proxy.pool.ask({ type: 'inspect' })) as WorkerView[],
    listeners: () =>
      proxy.boundPorts().map(({ listener: { name, direction, capture, address, filterChains }, port }) => ({
        name,
        direction,
        protocol: capture === 'none' ? (filterChains[0]?.network.kind ?? 'refuse') : 'captured',
        bound: { address, port },
      })),
    serverInfo: () => ({ version: proxy.version, uptimeSeconds: process.uptime(), bootstrap: proxy.bootstrap }),
    logLevel: () => proxy.logger.level,
    setLogLevel: (level) => proxy.setLogLevel(level),
    setUnwell: (unwell) => proxy.setUnwell(unwell),
    quit: () => void proxy.shutdown('/quitquitquit'),
    drain: () => void proxy.drain(),
    explain: async (id) => {
      const found = (await proxy.pool.ask({ type: 'explain', id })) as (Explanation | ExplainedConnection)[]
      const [first] = found
      if (first === undefined) return null
      // The two ends of a tunnel may be in two workers.
      if ('connections' in first)
        return { ...first, connections: found.flatMap((f) => ('connections' in f ? f.connections : [])) }
      return withLeftOut(first, proxy.outliers, proxy.checks)
    },
    tunnel: () => proxy.role?.view() ?? null,
    controlPlane: () => {
      const status = proxy.store.status?.() ?? proxy.role?.status?.() ?? null
      return status === null ? null : { ...status, warming: proxy.store.warming?.() ?? [], notes: proxy.store.notes?.() ?? [] }
    },
    dumpedConfig: () => dumpedConfig(proxy),
    configUse: async () => ({ ...(await proxy.configUse()), sent: proxy.store.sent?.() ?? [] }),
    ejections: () => proxy.outliers.history.all,
    hostHealth: (cluster, address) => healthView(proxy, cluster, address),
  }
}

function dumpedConfig(proxy: Supervisor): DumpedConfig {
  const isHealthy = (cluster: string, address: string): boolean =>
    (proxy.healthOf(cluster, address) & (EJECTED_FLAG | FAILED_CHECK_FLAG)) === 0
  const sent = proxy.store.dump?.(proxy.snapshot(), isHealthy)
  const startedMs = performance.timeOrigin
  const secrets = dumpedSecrets(proxy.secrets.secrets)
  if (sent !== undefined) return { ...sent, fed: true, startedMs, secrets }
  return { ...nounDump(proxy.bootstrap, proxy.snapshot(), isHealthy), fed: false, startedMs, secrets }
}

function healthView(proxy: Supervisor, cluster: string, address: string): HostHealth {
  const flags = proxy.healthOf(cluster, address)
  const rates = proxy.outliers.ratesOf(cluster, address)
  return {
    failedOutlierCheck: (flags & EJECTED_FLAG) !== 0,
    failedActiveCheck: (flags & FAILED_CHECK_FLAG) !== 0,
    unchecked: (flags & UNCHECKED_FLAG) !== 0,
    successRate: rates.external,
    localSuccessRate: rates.local,
    ejection: proxy.outliers.ejectionOf(cluster, address),
  }
}
