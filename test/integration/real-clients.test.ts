// Clients that others wrote: curl, autocannon, and where they are installed wrk and h2load. What they count, the upstream, the metrics and the
// log must have counted too.
import { spawn, spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually, pause, within } from '../support/eventually.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { Upstream } from '../support/upstream.ts'

interface AutocannonResult {
  readonly requests: { readonly total: number }
  readonly errors: number
  readonly timeouts: number
  readonly non2xx: number
  readonly mismatches: number
  readonly '2xx': number
}

const autocannon = createRequire(import.meta.url)('autocannon') as (options: object) => Promise<AutocannonResult>

let echo: EchoUpstream
let scripted: Upstream
let proxy: HeddleProcess

t.before(async () => {
  echo = await EchoUpstream.start(t)
  scripted = await Upstream.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'echo', endpoints: [echo] }),
      service({ host: 'scripted', endpoints: [scripted] }),
      virtualService('echo', ['echo'], [{ route: [{ destination: { host: 'echo' } }] }]),
    ),
    bootstrap: { concurrency: 2 },
    listeners: [{ name: 'out' }, { name: 'open', connect: 'tunnel' }],
  })
})

t.beforeEach(() => scripted.startAfresh())

const has = (tool: string) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined

/** A skip that nobody can overlook, or false. */
function missing(tool: string): string | false {
  if (has(tool)) return false
  process.stderr.write(`SKIPPED: ${tool} is not installed\n`)
  return `${tool} is not installed`
}

async function run(tool: string, args: readonly string[], input = '') {
  const child = spawn(tool, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('latin1').on('data', (d: string) => {
    stdout += d
  })
  child.stderr.setEncoding('latin1').on('data', (d: string) => {
    stderr += d
  })
  child.stdin.end(input)
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  const code = await within(`${tool} ${args.join(' ')}`, ended, 30_000, () => stderr)
  return { code, stdout, stderr }
}

const url = (target: string) => `http://127.0.0.1:${proxy.port('out')}${target}`
const curl = (...args: string[]) => run('curl', ['-sS', '--max-time', '20', '-H', 'Host: echo', ...args])

t.test('curl', { skip: missing('curl') }, async (t) => {
  await t.test('a request and its answer', async (t) => {
    const { code, stdout } = await curl('-i', url('/hello?x=1'))
    t.equal(code, 0)
    t.match(stdout, /^HTTP\/1\.1 200 OK\r\n/)
    t.match(JSON.parse(stdout.slice(stdout.indexOf('\r\n\r\n') + 4)), { method: 'GET', target: '/hello?x=1' })
  })
  await t.test('two requests over one connection', async (t) => {
    const { code, stderr } = await curl('-v', url('/1'), url('/2'))
    t.equal(code, 0)
    t.match(stderr, /Re-using existing|Reusing existing/)
  })
  await t.test('an upload of which curl does not know the length', async (t) => {
    const body = 'u'.repeat(300_000)
    const { code, stdout } = await run(
      'curl',
      ['-sS', '-H', 'Host: echo', '-H', 'Transfer-Encoding: chunked', '-X', 'POST', '--data-binary', '@-', url('/upload')],
      body,
    )
    t.equal(code, 0)
    t.equal((JSON.parse(stdout) as { body: string }).body.length, body.length)
  })
  await t.test('Expect: 100-continue, granted', async (t) => {
    const asked = run(
      'curl',
      [
        '-sSv',
        '--max-time',
        '20',
        '--expect100-timeout',
        '15',
        '-H',
        'Host: scripted',
        '-H',
        'Expect: 100-continue',
        '--data-binary',
        '@-',
        url('/'),
      ],
      'the body',
    )
    const exchange = await scripted.next()
    t.equal(exchange.request.content.length, 0, 'curl waits')
    await exchange.write('HTTP/1.1 100 Continue\r\n\r\n')
    t.equal((await exchange.body()).toString(), 'the body')
    await exchange.answer({ body: 'thanks' })
    const { code, stdout, stderr } = await asked
    t.same([code, stdout], [0, 'thanks'])
    t.match(stderr, /< HTTP\/1\.1 100 Continue/)
  })
  await t.test('Expect: 100-continue, answered finally without 100', async (t) => {
    const asked = run(
      'curl',
      [
        '-sSv',
        '--max-time',
        '20',
        '--expect100-timeout',
        '15',
        '-H',
        'Host: scripted',
        '-H',
        'Expect: 100-continue',
        '--data-binary',
        '@-',
        url('/'),
      ],
      'the body',
    )
    const exchange = await scripted.next()
    await exchange.answerEarly({ status: 413, body: 'too much' })
    const { code, stdout, stderr } = await asked
    t.same([code, stdout], [0, 'too much'])
    t.notMatch(stderr, /100 Continue\r?\n</)
    t.equal(exchange.request.content.length, 0, 'the body was never sent')
  })
  await t.test('HTTP/1.0', async (t) => {
    const { code, stdout } = await curl('-0', '-i', '-H', 'x-chunked: 1', url('/old'))
    t.equal(code, 0)
    t.notMatch(stdout.toLowerCase(), /transfer-encoding/)
  })
  await t.test('HEAD', async (t) => {
    const { code, stdout } = await curl('-I', url('/head'))
    t.equal(code, 0)
    t.match(stdout, /^HTTP\/1\.1 200 OK/)
  })
  await t.test('10 MB down, chunked and by length', async (t) => {
    for (const kind of [[], ['-H', 'x-chunked: 1']]) {
      const { code, stdout } = await curl('-H', 'x-body-bytes: 10000000', ...kind, url('/large'))
      t.same([code, stdout.length], [0, 10_000_000])
    }
  })
  await t.test('a request through the tunnel of a CONNECT', async (t) => {
    const through = `http://127.0.0.1:${proxy.port('open')}`
    const { code, stdout } = await run('curl', [
      '-sS',
      '--max-time',
      '20',
      '--proxytunnel',
      '--proxy',
      through,
      'http://echo:80/inside',
    ])
    t.equal(code, 0)
    t.match(JSON.parse(stdout), { target: '/inside' })
    const refused = await run('curl', [
      '-sS',
      '--max-time',
      '20',
      '--proxytunnel',
      '--proxy',
      through,
      `http://${scripted.address}/`,
    ])
    t.not(refused.code, 0)
    t.match(refused.stderr, /404/)
  })
})

/** What upstream, metrics and log have counted so far. */
async function counts() {
  const m = await proxy.metrics()
  const series = { destination_service: 'echo.default.svc.cluster.local' }
  return {
    upstream: echo.seen.length,
    metrics: m.value('istio_requests_total', series) ?? 0,
    good: m.value('istio_requests_total', { ...series, response_code: '200', response_flags: '-' }) ?? 0,
    log: proxy.accessLog().filter((l) => l['authority'] === 'echo').length,
    dropped: m.value('heddle_access_log_dropped_total') ?? 0,
  }
}

/** `counts` once the lines of earlier requests, which come in batches, are there: two looks apart by more than a flush agree. */
async function settledCounts() {
  for (let last = await counts(); ; ) {
    await pause(500)
    const now = await counts()
    if (now.log === last.log && now.metrics === last.metrics) return now
    last = now
  }
}

for (const [connections, pipelining, options] of [
  [10, 1, {}],
  [10, 1, { method: 'POST', body: 'p'.repeat(1000) }],
] as const) {
  const what = `${connections} connections, ${pipelining} at once, ${JSON.stringify(options).slice(0, 20)}`
  t.test(`autocannon, ${what}: what it counts, everybody has counted`, async (t) => {
    const amount = 4000
    const before = await settledCounts()
    const result = await autocannon({ url: url('/load'), connections, pipelining, amount, headers: { host: 'echo' }, ...options })
    t.same([result.errors, result.timeouts, result.non2xx, result.mismatches], [0, 0, 0, 0])
    t.equal(result['2xx'], amount)
    // A log that the disk cannot take drops lines and counts them; it never loses one silently.
    const logged = (c: Awaited<ReturnType<typeof counts>>) => c.log + c.dropped
    await eventually('the last lines of the log', async () => logged(await counts()) - logged(before) >= amount)
    const after = await counts()
    for (const key of ['upstream', 'metrics', 'good'] as const) t.equal(after[key] - before[key], amount, key)
    t.equal(logged(after) - logged(before), amount, 'lines, with those that are known to be dropped')
    t.comment(`${after.dropped - before.dropped} lines dropped`)
  })
}

t.test('autocannon for two seconds, pipelining: nothing fails', async (t) => {
  const result = await autocannon({ url: url('/load'), connections: 20, pipelining: 4, duration: 2, headers: { host: 'echo' } })
  t.same([result.errors, result.timeouts, result.non2xx], [0, 0, 0])
  t.ok(result['2xx'] > 0)
})

t.test('wrk', { skip: missing('wrk') }, async (t) => {
  const { code, stdout } = await run('wrk', ['-t1', '-c10', '-d1s', '-H', 'Host: echo', url('/load')])
  t.equal(code, 0)
  t.match(stdout, /[1-9]\d* requests in/)
  t.notMatch(stdout, /Socket errors|Non-2xx/)
})

t.test('h2load speaking HTTP/1.1', { skip: missing('h2load') }, async (t) => {
  const before = await counts()
  const to = `--connect-to=127.0.0.1:${proxy.port('out')}`
  const { code, stdout } = await run('h2load', ['--h1', '-n', '2000', '-c', '10', to, 'http://echo/h2load'])
  t.equal(code, 0)
  t.match(stdout, /2000 succeeded, 0 failed, 0 errored, 0 timeout/)
  t.match(stdout, /2000 2xx/)
  t.equal((await counts()).upstream - before.upstream, 2000)
})
