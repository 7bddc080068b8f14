// Length-Prefixed-Message of gRPC over HTTP/2: one byte of flags, four of length, the message.
import fc from 'fast-check'
import t from 'tap'
import { GrpcMessageCount } from '../../../lib/http/grpc-message-count.ts'

const framed = (length: number): Buffer => {
  const bytes = Buffer.alloc(5 + length, 0xff)
  bytes.writeUInt8(0, 0)
  bytes.writeUInt32BE(length, 1)
  return bytes
}

t.test('however the bytes are cut', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 40 })),
      (lengths, cuts) => {
        const bytes = Buffer.concat(lengths.map(framed))
        const count = new GrpcMessageCount()
        let at = 0
        for (const cut of cuts) {
          const end = Math.min(bytes.length, at + cut)
          count.take(bytes, at, end)
          at = end
        }
        count.take(bytes, at, bytes.length)
        return count.count === lengths.length
      },
    ),
  )
})

t.test('a message counts with its prefix, and a large one to its end', async (t) => {
  const count = new GrpcMessageCount()
  count.take(framed(0).subarray(0, 4), 0, 4)
  t.equal(count.count, 0)
  count.take(Buffer.from([0]), 0, 1)
  t.equal(count.count, 1)
  const large = Buffer.from([1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0])
  for (let i = 0; i < 5; i++) count.take(large, i === 0 ? 0 : 5, 10)
  t.equal(count.count, 2)
})
