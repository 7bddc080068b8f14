// Texts of NACKs, and what ends of streams mean.
import t from 'tap'
import { GRPC, GrpcError } from '../../../../lib/grpc/grpc-error.ts'
import { nackText } from '../../../../lib/xds/client/nack-text.ts'
import { streamEnd } from '../../../../lib/xds/client/stream-end.ts'

t.test('the text of a NACK', async (t) => {
  const table: readonly [faults: readonly (readonly [string, string])[], text: string][] = [
    [[['a', 'bad']], 'a: bad'],
    [
      [
        ['a', 'bad'],
        ['b', 'worse'],
      ],
      'a: bad; b: worse',
    ],
    [
      [
        ['a', 'bad'],
        ['b', 'worse'],
        ['a', 'x'],
        ['a', 'bad'],
      ],
      'a: bad, x; b: worse',
    ],
    [[['', 'all of it']], 'all of it'],
  ]
  for (const [faults, text] of table) t.equal(nackText(faults.map(([name, reason]) => ({ name, reason }))), text)
  const many = Array.from({ length: 10_000 }, (_, i) => ({ name: `cluster-${i}`, reason: 'x'.repeat(100) }))
  const text = nackText(many)
  t.ok(text.length < 300_000)
  t.match(text, /; and \d+ more$/)
  t.ok(nackText([{ name: 'a', reason: 'x'.repeat(1e6) }]).length < 300_000)
})

t.test('the end of a stream', async (t) => {
  const server = (code: number, message = 'm') => new GrpcError(code, message, { fromServer: true })
  const table: readonly [what: string, error: unknown, answered: boolean, isFault: boolean, isExpected: boolean][] = [
    ['OK after something was sent', null, true, false, true],
    ['OK at once would be tried again for ever', null, false, true, false],
    ['UNKNOWN', server(GRPC.UNKNOWN), true, false, false],
    ['CANCELLED', server(GRPC.CANCELLED), true, false, false],
    ['DEADLINE_EXCEEDED', server(GRPC.DEADLINE_EXCEEDED), true, false, false],
    ['CANCELLED at once', server(GRPC.CANCELLED), false, true, false],
    ['announced by GOAWAY', new GrpcError(GRPC.UNAVAILABLE, 'm', { announced: true }), true, false, true],
    ['UNAVAILABLE', server(GRPC.UNAVAILABLE), true, true, false],
    ['istiod starts', server(GRPC.UNAVAILABLE, 'server is not ready to serve discovery information'), false, true, true],
    ['RESOURCE_EXHAUSTED', server(GRPC.RESOURCE_EXHAUSTED), true, true, false],
    ['a file that cannot be read', new Error('no such file'), false, true, false],
  ]
  for (const [what, error, answered, isFault, isExpected] of table) {
    t.match(streamEnd(error, answered), { isFault, isExpected }, what)
  }
  t.equal(streamEnd(new Error('the token cannot be read'), false).text, 'the token cannot be read')
  t.match(streamEnd(server(GRPC.PERMISSION_DENIED, 'no'), false).text, /^PERMISSION_DENIED: no \(namespace and service account/)
  t.match(streamEnd(server(GRPC.UNIMPLEMENTED, 'no'), false).text, /xds\.protocol/)
  t.equal(
    streamEnd(new GrpcError(GRPC.UNAVAILABLE, 'no connection to a:1: refused'), false).text,
    'UNAVAILABLE: no connection to a:1: refused',
  )
})
