// HTTP/2 clients that others wrote, where they are installed: curl, nghttp and h2load. What they count, the upstream, the metrics and the log must have
// counted too.
import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually, within } from '../support/eventually.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'

let echo: EchoUpstream
let proxy: HeddleProcess

t.before(async () => {
  echo = await EchoUpstream.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'echo', endpoints: [echo] }),
      virtualService(
        'echo',
        ['echo'],
        [
          { match: [{ uri: { prefix: '/direct' } }], directResponse: { status: 418, body: { string: 'short and stout' } } },
          { route: [{ destination: { host: 'echo' } }] },
        ],
      ),
    ),
    bootstrap: { concurrency: 2 },
  })
})

/** A skip that nobody can overlook, or false. */
function missing(tool: string): string | false {
  if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined) return false
  process.stderr.write(`SKIPPED: ${tool} is not installed\n`)
  return `${tool} is not installed`
}

async function run(tool: string, ...args: readonly string[]) {
  const child = spawn(tool, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('latin1').on('data', (d: string) => {
    stdout += d
  })
  child.stderr.setEncoding('latin1').on('data', (d: string) => {
    stderr += d
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  const code = await within(`${tool} ${args.join(' ')}`, ended, 30_000, () => stderr)
  return { code, stdout, stderr }
}

const url = (target: string) => `http://127.0.0.1:${proxy.port()}${target}`

/** A file of so many bytes that differ. */
function file(name: string, bytes: number): string {
  const where = path.join(proxy.dir, name)
  writeFileSync(where, Buffer.from(Array.from({ length: bytes }, (_, i) => 0x61 + (i % 23))))
  return where
}

t.test('curl --http2-prior-knowledge', { skip: missing('curl') }, async (t) => {
  const curl = (...args: string[]) =>
    run('curl', '-sS', '--http2-prior-knowledge', '--max-time', '20', '-H', 'Host: echo', ...args)
  const got = await curl('-i', url('/hello?x=1'))
  t.match(got.stdout, /^HTTP\/2 200 \r\n/)
  t.match(JSON.parse(got.stdout.slice(got.stdout.indexOf('\r\n\r\n') + 4)), { method: 'GET', target: '/hello?x=1' })
  const body = file('body', 300_000)
  const posted = JSON.parse((await curl('--data-binary', `@${body}`, url('/post'))).stdout) as { body: string }
  t.equal(posted.body.length, 300_000)
  const unsized = JSON.parse((await curl('-T', body, '-H', 'Content-Length:', url('/put'))).stdout) as { body: string }
  t.equal(unsized.body, posted.body, 'without a length')
  const head = await curl('-I', url('/head'))
  t.match(head.stdout, /^HTTP\/2 200 \r\n/)
  t.equal(head.code, 0)
  const large = await curl('-o', '/dev/null', '-w', '%{size_download} %{http_version}', url('/?body-bytes=5000000'))
  t.equal(large.stdout, '5000000 2')
  const direct = await curl('-w', ' %{http_code}', url('/direct'))
  t.equal(direct.stdout, 'short and stout 418')
  const early = await curl('--data-binary', `@${body}`, '-w', ' %{http_code}', url('/direct'))
  t.same([early.code, early.stdout], [0, 'short and stout 418'], 'an answer before the end of the upload is not cut')
  const two = await curl('-v', url('/1'), url('/2'))
  t.match(two.stderr, /Re-using existing connection/i)
})

t.test('nghttp', { skip: missing('nghttp') }, async (t) => {
  const got = await run('nghttp', '-nv', '-H', ':authority: echo', '-m', '20', url('/nghttp'))
  t.equal(got.code, 0)
  t.equal(got.stdout.match(/:status: 200/g)?.length, 20)
  t.notMatch(got.stdout, /GOAWAY[^\n]*\n[^\n]*error_code=(?!NO_ERROR)|RST_STREAM frame/)
  const body = file('nghttp-body', 400_000)
  const posted = await run(
    'nghttp',
    '-H',
    ':authority: echo',
    '--no-content-length',
    '-d',
    body,
    '--trailer',
    'x-end: yes',
    url('/nghttp-post'),
  )
  t.equal(posted.code, 0)
  const echoed = JSON.parse(posted.stdout) as { body: string; trailers: Record<string, string> }
  t.same([echoed.body.length, echoed.trailers['x-end']], [400_000, 'yes'])
  const padded = await run('nghttp', '-b', '200', '-w', '10', '-W', '10', '-H', ':authority: echo', url('/?body-bytes=100000'))
  t.equal(padded.stdout.length, 100_000, 'through windows of a kilobyte')
})

t.test('h2load', { skip: missing('h2load') }, async (t) => {
  const before = echo.seen.length
  // What the tests before this one asked for is counted when heddle has seen its end, which may be after the client has.
  const idle = async () => (await proxy.metrics()).value('envoy_http_downstream_rq_active') === 0
  await eventually('no request in flight', idle)
  const metrics = await proxy.metrics()
  const { code, stdout } = await run('h2load', '-n', '2000', '-c', '8', '-m', '10', '-H', ':authority: echo', url('/load'))
  t.equal(code, 0)
  t.match(stdout, /requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout/)
  t.equal(echo.seen.length - before, 2000)
  await eventually('metrics', async () => {
    const after = await proxy.metrics()
    const name = 'envoy_http_downstream_rq_completed'
    return (after.value(name) ?? 0) - (metrics.value(name) ?? 0) === 2000
  })
  // A log that a busy disk does not take fast enough loses lines, and counts them.
  const dropped = (await proxy.metrics()).value('heddle_access_log_dropped_total') ?? 0
  await eventually('log lines', () => proxy.accessLog().filter((l) => l['path'] === '/load').length === 2000 - dropped)
  const lines = proxy.accessLog().filter((l) => l['path'] === '/load')
  t.ok(lines.every((l) => l['protocol'] === 'HTTP/2' && l['response_code'] === 200 && l['response_flags'] === '-'))
})
