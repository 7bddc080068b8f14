// What the admin page sees of the proxy.
import type { AdminSource } from '../admin/admin-source.ts'
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
      proxy.boundPorts().map(({ listener: { name, direction, protocol, address }, port }) => ({
        name,
        direction,
        protocol,
        bound: { address, port },
      })),
    serverInfo: () => ({ version: proxy.version, uptimeSeconds: process.uptime(), bootstrap: proxy.bootstrap }),
    logLevel: () => proxy.logger.level,
    setLogLevel: (level) => proxy.setLogLevel(level),
    quit: () => void proxy.shutdown('/quitquitquit'),
    drain: () => void proxy.drain(),
    explain: async (id) => (await proxy.pool.ask({ type: 'explain', id }))[0] ?? null,
  }
}
