// xxHash64 against published vectors, and against the specification written down once more with big integers.
import fc from 'fast-check'
import t from 'tap'
import { XxHash64 } from '../../../lib/base/xx-hash64.ts'

const MASK = (1n << 64n) - 1n
const P1 = 0x9e3779b185ebca87n
const P2 = 0xc2b2ae3d27d4eb4fn
const P3 = 0x165667b19e3779f9n
const P4 = 0x85ebca77c2b2ae63n
const P5 = 0x27d4eb2f165667c5n

const rotl = (x: bigint, r: bigint) => ((x << r) | (x >> (64n - r))) & MASK
const mul = (a: bigint, b: bigint) => (a * b) & MASK
const add = (a: bigint, b: bigint) => (a + b) & MASK
const round = (acc: bigint, lane: bigint) => mul(rotl(add(acc, mul(lane, P2)), 31n), P1)

/** doc/xxhash_spec.md, "XXH64 algorithm description", step by step. */
function reference(bytes: Buffer, seed: bigint): bigint {
  let at = 0
  let acc = add(seed, P5)
  if (bytes.length >= 32) {
    const lanes = [add(seed, add(P1, P2)), add(seed, P2), seed, (seed - P1) & MASK]
    for (; at + 32 <= bytes.length; at += 32) {
      for (let i = 0; i < 4; i++) lanes[i] = round(lanes[i] as bigint, bytes.readBigUInt64LE(at + 8 * i))
    }
    const [a, b, c, d] = lanes as [bigint, bigint, bigint, bigint]
    acc = add(add(rotl(a, 1n), rotl(b, 7n)), add(rotl(c, 12n), rotl(d, 18n)))
    for (const lane of lanes) acc = add(mul(acc ^ round(0n, lane), P1), P4)
  }
  acc = add(acc, BigInt(bytes.length))
  for (; at + 8 <= bytes.length; at += 8) acc = add(mul(rotl(acc ^ round(0n, bytes.readBigUInt64LE(at)), 27n), P1), P4)
  if (at + 4 <= bytes.length) {
    acc = add(mul(rotl(acc ^ mul(BigInt(bytes.readUInt32LE(at)), P1), 23n), P2), P3)
    at += 4
  }
  for (; at < bytes.length; at++) acc = mul(rotl(acc ^ mul(BigInt(bytes[at] as number), P5), 11n), P1)
  acc = mul(acc ^ (acc >> 33n), P2)
  acc = mul(acc ^ (acc >> 29n), P3)
  return acc ^ (acc >> 32n)
}

const hash = new XxHash64()

function ours(text: string, seed = 0n): bigint {
  hash.hash(text, Number(seed >> 32n), Number(seed & 0xffff_ffffn))
  return (BigInt(hash.high) << 32n) | BigInt(hash.low)
}

t.test('published vectors', async (t) => {
  // github.com/Cyan4973/xxHash (sanity checks), and those that the Go, Rust and Python ports share.
  const rows: [text: string, seed: bigint, expected: bigint][] = [
    ['', 0n, 0xef46db3751d8e999n],
    ['', 1n, 0xd5afba1336a3be4bn],
    ['a', 0n, 0xd24ec4f1a98c6e5bn],
    ['as', 0n, 0x1c330fb2d66be179n],
    ['asd', 0n, 0x631c37ce72a97393n],
    ['asdf', 0n, 0x415872f599cea71en],
    ['abc', 0n, 0x44bc2cf5ad770999n],
    ['Call me Ishmael. Some years ago--never mind how long precisely-', 0n, 0x02a2e85470d6fd96n],
  ]
  for (const [text, seed, expected] of rows) {
    t.equal(ours(text, seed).toString(16), expected.toString(16), `${JSON.stringify(text)}, seed ${seed}`)
    t.equal(reference(Buffer.from(text, 'latin1'), seed).toString(16), expected.toString(16), 'the reference agrees')
  }
})

t.test('the vectors of the C implementation, whose input is a generator of bytes', async (t) => {
  // xxHash tests/sanity_test_vectors: byte i is the top byte of a 64-bit product that starts as PRIME32 and is multiplied by PRIME64.
  const PRIME32 = 2654435761n
  const PRIME64 = 11400714785074694797n
  let generator = PRIME32
  const bytes = Buffer.alloc(222)
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = Number(generator >> 56n)
    generator = mul(generator, PRIME64)
  }
  const rows: [length: number, seed: bigint, expected: bigint][] = [
    [0, 0n, 0xef46db3751d8e999n],
    [0, PRIME32, 0xac75fda2929b17efn],
    [1, 0n, 0xe934a84adb052768n],
    [1, PRIME32, 0x5014607643a9b4c3n],
    [4, 0n, 0x9136a0dca57457een],
    [14, 0n, 0x8282dcc4994e35c8n],
    [14, PRIME32, 0xc3bd6bf63deb6df0n],
    [222, 0n, 0xb641ae8cb691c174n],
    [222, PRIME32, 0x20cb8ab7ae10c14an],
  ]
  for (const [length, seed, expected] of rows) {
    const text = bytes.subarray(0, length).toString('latin1')
    t.equal(ours(text, seed).toString(16), expected.toString(16), `${length} bytes, seed ${seed}`)
  }
})

t.test('every length, every byte, every seed: the same as the specification', async (t) => {
  for (let length = 0; length <= 100; length++) {
    const bytes = Buffer.from(Array.from({ length }, (_, i) => (i * 37 + length * 11) & 0xff))
    t.equal(ours(bytes.toString('latin1')), reference(bytes, 0n), `${length} bytes`)
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.bigInt({ min: 0n, max: MASK }), (array, seed) => {
      const bytes = Buffer.from(array)
      return ours(bytes.toString('latin1'), seed) === reference(bytes, seed)
    }),
    { numRuns: 500 },
  )
})
