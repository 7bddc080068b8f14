// h2spec --strict: 146 cases on RFC 9113, RFC 7540 and RFC 7541, written by others, against a server that is the codec and little else.
import { spawn, spawnSync } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'
import t from 'tap'
import { EchoServer } from '../../suite/h2-echo.ts'

const INSTALL = 'go install github.com/summerwind/h2spec/cmd/h2spec@latest'
const found = ['h2spec', path.join(os.homedir(), 'go/bin/h2spec')].find(
  (p) => spawnSync(p, ['--version'], { stdio: 'ignore' }).error === undefined,
)
const skip = found === undefined ? `h2spec is not installed: ${INSTALL}` : false
if (skip !== false) process.stderr.write(`SKIPPED: ${skip}\n`)

t.test('h2spec --strict', { skip }, async (t) => {
  const echo = await EchoServer.listen()
  t.teardown(() => echo.close())
  const child = spawn(found as string, ['--strict', '-h', '127.0.0.1', '-p', String(echo.port), '-o', '10'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (d: string) => {
    out += d
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  const failures = out.slice(out.indexOf('Failures:'))
  t.match(out, /146 tests, 146 passed, 0 skipped, 0 failed/, 'all cases', { failures })
  t.equal(code, 0)
  t.same(echo.faults, [])
})
