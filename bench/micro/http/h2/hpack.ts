// HPACK of a request as a mesh carries it: most fields repeat, path and ids do not.

import { HpackDecoder } from '../../../../lib/http/h2/hpack/decoder.ts'
import { HpackEncoder } from '../../../../lib/http/h2/hpack/encoder.ts'
import { MessageHead, REQUEST, RESPONSE } from '../../../../lib/http/h2/message-head.ts'
import { HeaderMap } from '../../../../lib/http/header-map.ts'
import { type Bench, keep } from '../../contract.ts'

const REQUEST_FIELDS =
  'user-agent: grpc-node-js/1.14.7\r\ncontent-type: application/grpc\r\nte: trailers\r\naccept-encoding: identity\r\nx-forwarded-proto: http\r\n'
const RESPONSE_FIELDS =
  'server: nginx/1.22.1\r\ndate: Sat, 21 Nov 2026 10:50:22 GMT\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\nlast-modified: Sat, 21 Nov 2026 10:10:54 GMT\r\netag: "6b016e2e-400"\r\naccept-ranges: bytes\r\n'

const out = Buffer.alloc(16384)

function encodeRequest(encoder: HpackEncoder, i: number): number {
  encoder.begin(out, 0, '')
  encoder.request('POST', 'http', 'reviews.default.svc:9080', '/reviews.Reviews/Get', '')
  encoder.fields(`${REQUEST_FIELDS}x-request-id: 0d3b0c7a-1111-4444-8888-${100000000000 + (i % 1000)}\r\n`, false)
  return encoder.position
}

function encodeResponse(encoder: HpackEncoder): number {
  encoder.begin(out, 0, '')
  encoder.status(200)
  encoder.fields(RESPONSE_FIELDS, true)
  return encoder.position
}

function decoder(): HpackDecoder {
  return new HpackDecoder({ tableSize: 4096, maxHeaderBytes: 61440, maxHeaders: 100, extendedConnect: false })
}

/** A block of each kind, and a decoder whose table knows what repeats. */
function settled(huffman: boolean, encode: (encoder: HpackEncoder, i: number) => number, mode: number): [Buffer, HpackDecoder] {
  const encoder = new HpackEncoder(huffman)
  const d = decoder()
  const map = new HeaderMap()
  const head = new MessageHead()
  let block = Buffer.alloc(0)
  for (let i = 0; i < 8; i++) {
    block = Buffer.from(out.subarray(0, encode(encoder, i)))
    d.decode(block, 0, block.length, mode, map, head)
  }
  return [block, d]
}

function decodes(name: string, [block, d]: [Buffer, HpackDecoder], mode: number): Bench {
  const map = new HeaderMap()
  const head = new MessageHead()
  return {
    name: `http/h2/hpack: decode ${name} (${block.length} bytes)`,
    fn(iterations) {
      let n = 0
      for (let i = 0; i < iterations; i++) n += d.decode(block, 0, block.length, mode, map, head) + map.count
      keep(n)
    },
  }
}

/** Everything literal and Huffman-coded: the first request of a connection. */
function firstBlock(): [Buffer, HpackDecoder] {
  const block = Buffer.from(out.subarray(0, encodeRequest(new HpackEncoder(true), 0)))
  return [block, decoder()]
}

function encodes(name: string, huffman: boolean, encode: (encoder: HpackEncoder, i: number) => number): Bench {
  const encoder = new HpackEncoder(huffman)
  return {
    name: `http/h2/hpack: encode ${name}`,
    fn(iterations) {
      let n = 0
      for (let i = 0; i < iterations; i++) n += encode(encoder, i)
      keep(n)
    },
  }
}

export const benches: readonly Bench[] = [
  decodes('a request that repeats, id plain', settled(false, encodeRequest, REQUEST), REQUEST),
  decodes('a request that repeats, id Huffman-coded', settled(true, encodeRequest, REQUEST), REQUEST),
  decodes('a first request, all literal and Huffman-coded', firstBlock(), REQUEST),
  decodes('a response that repeats', settled(false, encodeResponse, RESPONSE), RESPONSE),
  encodes('a request, id plain', false, encodeRequest),
  encodes('a request, id Huffman-coded', true, encodeRequest),
  encodes('a response', false, encodeResponse),
]
