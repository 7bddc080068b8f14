// The proxy's main thread inside of the test process, for what cannot be done to it from outside.
import { EventEmitter, once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { BroadcastChannel } from 'node:worker_threads'
import { parseBootstrap } from '../../lib/bootstrap/load.ts'
import { Supervisor } from '../../lib/server/supervisor.ts'
import { Logger } from '../../lib/telemetry/logger.ts'
import { eventually, within } from './eventually.ts'
import type { Holdings } from './holdings.ts'
import { Metrics } from './metrics.ts'
import type { ProbeQuestion } from './probed-worker.ts'
import type { Teardown } from './teardown.ts'

export interface InProcessOptions {
  /** Merged over the bootstrap, field by field of the first level. */
  readonly bootstrap?: Readonly<Record<string, unknown>>
}

export interface InProcess {
  readonly supervisor: Supervisor
  /** Of this proxy alone. */
  readonly folder: string
  /** Of the listener `out`. */
  readonly port: number
  /** Lines of the log. */
  readonly log: readonly string[]
  metrics(): Metrics
  /** Replaces the file that `resources` became, and waits until it is in force. */
  reload(resources: string, budgetMs?: number): Promise<void>
  /** The worker with this index dies of an exception. */
  crash(index: number): void
  /** What the worker with this index holds after a full collection. */
  measure(index: number): Promise<Holdings>
}

interface Prepared {
  readonly supervisor: Supervisor
  readonly log: string[]
  readonly folder: string
  /** The file that `resources` became. */
  readonly file: string
}

/** Not started yet. One outbound HTTP listener, two workers. `resources`: YAML. */
export function prepareInProcess(t: Teardown, resources: string, options: InProcessOptions = {}): Prepared {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(path.join(folder, 'mesh'))
  const file = path.join(folder, 'mesh/mesh.yaml')
  writeFileSync(file, resources)
  const bootstrap = parseBootstrap(
    JSON.stringify({
      concurrency: 2,
      admin: { port: 0 },
      health: { port: 0 },
      accessLog: { path: null },
      resources: [path.join(folder, 'mesh')],
      listeners: [{ name: 'out', direction: 'outbound', port: 0 }],
      drain: { deadline: '0s' },
      ...options.bootstrap,
    }),
    path.join(folder, 'heddle.yaml'),
  )
  if (!bootstrap.ok) throw new Error(bootstrap.errors.map((e) => e.message).join('\n'))
  const log: string[] = []
  const supervisor = new Supervisor(bootstrap.config, {
    version: 'test',
    logger: new Logger({ level: bootstrap.config.logLevel, write: (line) => log.push(line) }),
    workerUrl: new URL('./probed-worker.js', import.meta.url),
  })
  return { supervisor, log, folder, file }
}

export async function startInProcess(t: Teardown, resources: string, options: InProcessOptions = {}): Promise<InProcess> {
  const { supervisor, log, folder, file } = prepareInProcess(t, resources, options)
  const channel = new BroadcastChannel('heddle-test-probe')
  const answers = new EventEmitter()
  channel.onmessage = (event) => answers.emit('holdings', (event as { data: unknown }).data)
  t.teardown(async () => {
    channel.close()
    await supervisor.shutdown('the test is over')
  })
  await supervisor.start()
  return {
    supervisor,
    folder,
    port: supervisor.boundPorts()[0]!.port,
    log,
    metrics: () => new Metrics(supervisor.metricsText()),
    reload: async (text, budgetMs = 10_000) => {
      const before = supervisor.store.appliedVersion
      writeFileSync(file, text)
      await eventually('the configuration to be in force', () => supervisor.store.appliedVersion > before, budgetMs)
    },
    crash: (index) => channel.postMessage({ index, what: 'crash' } satisfies ProbeQuestion),
    measure: async (index) => {
      const answer = once(answers, 'holdings')
      channel.postMessage({ index, what: 'measure' } satisfies ProbeQuestion)
      return (await within('the worker to answer', answer))[0] as Holdings
    },
  }
}
