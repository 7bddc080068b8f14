// h2spec --strict: 146 cases on RFC 9113, RFC 7540 and RFC 7541, written by others, against a server that is the codec and little else.
import t from 'tap'
import { EchoServer } from '../../suite/h2-echo.ts'
import { H2SPEC, runH2spec } from './runner.ts'

t.test('h2spec --strict', { skip: H2SPEC.skip }, async (t) => {
  const echo = await EchoServer.listen()
  t.teardown(() => echo.close())
  const { code, out, failures } = await runH2spec(echo.port)
  t.match(out, /146 tests, 146 passed, 0 skipped, 0 failed/, 'all cases', { failures })
  t.equal(code, 0)
  t.same(echo.faults, [])
})
