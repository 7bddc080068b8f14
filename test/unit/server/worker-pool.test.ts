import t from 'tap'
import { parseBootstrap } from '../../../lib/bootstrap/load.ts'
import { ConfigFeed } from '../../../lib/server/config-feed.ts'
import type { WorkerInit } from '../../../lib/server/messages.ts'
import { WorkerPool } from '../../../lib/server/worker-pool.ts'
import { selfWithout } from '../../../lib/state/self-description.ts'
import { Logger } from '../../../lib/telemetry/logger.ts'
import { NO_SECRETS } from '../../../lib/transport/secrets.ts'
import { eventually } from '../../support/eventually.ts'
import type { Teardown } from '../../support/teardown.ts'

const NOTHING = new ConfigFeed(() => null).everything()

/** A worker of a few lines, which does what the pool may expect of one; its script says how it misbehaves. */
const WORKER = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { index, config, bootstrap } = workerData
  const say = (m) => parentPort.postMessage(m)
  parentPort.on('message', (m) => {
    if (m.type === 'config') say({ type: 'applied', version: m.changes.version })
    if (m.type === 'inspect') say({ type: 'reply', call: m.call, value: { index, version: config.version } })
    if (m.type === 'explain' && m.id === 'crash') throw new Error('told to')
    if (m.type === 'explain') say({ type: 'reply', call: m.call, value: m.id === 'of-' + index ? { id: m.id } : null })
    if (m.type === 'drain') say({ type: 'drained', cut: [{ listener: 'out', peer: 'p' + index, what: 'idle', reason: 'deadline' }] })
    if (m.type === 'log-level' && index === 0) process.exit(7)
  })
  say({ type: 'series', family: 'f', labels: 'l', slot: 128 + index })
  BEFORE_READY
  say({ type: 'ready' })
`

function pool(t: Teardown, concurrency: number, beforeReady = '') {
  const bootstrap = parseBootstrap('', '')
  if (!bootstrap.ok) throw new Error('defaults')
  const log: string[] = []
  const seen = { version: 1, inits: [] as number[], crashes: [] as number[], serving: [] as number[], series: [] as number[] }
  const source = WORKER.replace('BEFORE_READY', beforeReady)
  const made = new WorkerPool({
    concurrency,
    url: new URL(
      `data:text/javascript,${encodeURIComponent(`import { createRequire } from 'node:module'; const require = createRequire('/');${source}`)}`,
    ),
    makeInit: (index): WorkerInit => {
      seen.inits.push(index)
      const cells = new SharedArrayBuffer(8)
      return {
        index,
        bootstrap: bootstrap.config,
        self: selfWithout(bootstrap.config.workload),
        config: { ...NOTHING, version: seen.version },
        metrics: cells,
        shared: cells,
        sharedHosts: cells,
        secrets: NO_SECRETS,
        ports: {},
        node: null,
      }
    },
    log: new Logger({ level: 'debug', write: (line) => log.push(line) }),
    onSeries: (index, _family, _labels, slot) => seen.series.push(slot - index),
    onEjected: () => {},
    onCrash: (index) => seen.crashes.push(index),
    onServing: (serving) => seen.serving.push(serving),
  })
  t.teardown(() => made.terminate())
  return { pool: made, seen, log }
}

t.test('all start, are told of a snapshot and asked', async (t) => {
  const { pool: p, seen } = pool(t, 2)
  await p.start()
  t.equal(p.serving, 2)
  t.same(seen.inits, [0, 1])
  t.same(seen.series, [128, 128])
  p.broadcast({
    type: 'config',
    changes: { ...NOTHING, version: 2 },
    ports: {},
  })
  t.equal(await p.applied(2, 5000), true)
  const views = (await p.ask({ type: 'inspect' })) as { index: number }[]
  t.same(views.map((v) => v.index).sort(), [0, 1])
  t.same(await p.ask({ type: 'explain', id: 'of-1' }), [{ id: 'of-1' }], 'only who knows the request answers')
  t.same(await p.ask({ type: 'explain', id: 'of-9' }), [])
  t.equal(await p.applied(3, 10), false, 'nobody has been told of version 3')
})

t.test('a worker that throws is replaced at once and begins with the newest snapshot', async (t) => {
  const { pool: p, seen, log } = pool(t, 2)
  await p.start()
  seen.version = 5
  p.broadcast({ type: 'explain', call: 99, id: 'crash' })
  await eventually('both to be replaced', () => seen.inits.length === 4 && p.serving === 2)
  t.same(seen.crashes.sort(), [0, 1])
  t.equal(await p.applied(5, 5000), true)
  t.match(log.join(''), /told to/, 'the stack is logged')
})

t.test('a worker that exits is replaced, the others stay', async (t) => {
  const { pool: p, seen } = pool(t, 2)
  await p.start()
  p.broadcast({ type: 'log-level', level: 'debug' })
  await eventually('one to be replaced', () => seen.inits.length === 3 && p.serving === 2)
  t.same(seen.inits, [0, 1, 0])
  t.same(seen.crashes, [0])
})

t.test('an answer is not waited for from a worker that dies', async (t) => {
  const { pool: p } = pool(t, 1)
  await p.start()
  t.same(await p.ask({ type: 'explain', id: 'crash' }), [])
})

t.test('a worker that cannot serve makes the start fail with its reason, and ends the others', async (t) => {
  const { pool: p, seen } = pool(
    t,
    2,
    `if (index === 1) { say({ type: 'failed', message: 'port 80 is taken' }); process.exit(1) }`,
  )
  await t.rejects(p.start(), { message: 'port 80 is taken' })
  t.same(seen.crashes, [], 'it is not tried again')
  t.equal(p.serving, 0)
})

t.test('so does one that throws before it serves', async (t) => {
  const { pool: p } = pool(t, 1, `throw new Error('broken module')`)
  await t.rejects(p.start(), { message: 'broken module' })
})

t.test('repeated crashes are replaced later and later', async (t) => {
  const { pool: p, seen, log } = pool(t, 1)
  await p.start()
  for (let crash = 1; crash <= 3; crash++) {
    p.broadcast({ type: 'explain', call: 1, id: 'crash' })
    await eventually('a replacement', () => seen.inits.length === crash + 1 && p.serving === 1)
  }
  const delays = log.flatMap((line) => /it is replaced (at once|in \d+ ms)/.exec(line)?.[1] ?? [])
  t.same(delays, ['at once', 'in 100 ms', 'in 200 ms'])
})

t.test('a drain tells what was cut, and nobody is replaced any more', async (t) => {
  const { pool: p, seen } = pool(t, 2)
  await p.start()
  const cut = await p.drain({ acceptMs: 0, deadlineMs: 1000, inboundOnly: false })
  t.same(cut.map((c) => c.peer).sort(), ['p0', 'p1'])
  p.broadcast({ type: 'explain', call: 1, id: 'crash' })
  await eventually('both to end', () => p.serving === 0)
  t.same(seen.inits, [0, 1])
  t.same(seen.crashes, [])
})
