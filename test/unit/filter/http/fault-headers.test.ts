// What a request may ask for with x-envoy-fault-* (Envoy fault filter documentation; the parser takes what Envoy's takes).
import t from 'tap'
import { faultAskedFor } from '../../../../lib/filter/http/fault-headers.ts'
import { HeaderMap } from '../../../../lib/http/header-map.ts'
import type { Fault } from '../../../../lib/state/route.ts'

const ABORT = 'x-envoy-fault-abort-request'
const GRPC = 'x-envoy-fault-abort-grpc-request'
const ABORT_PERCENT = 'x-envoy-fault-abort-request-percentage'
const DELAY = 'x-envoy-fault-delay-request'
const DELAY_PERCENT = 'x-envoy-fault-delay-request-percentage'

const POLICY: Fault = { delay: { percent: 20, fixedMs: 5 }, abort: { percent: 10, httpStatus: 500, grpcStatus: -1 } }
const abort = (httpStatus: number, percent = 100, grpcStatus = -1): Fault => ({
  delay: null,
  abort: { percent, httpStatus, grpcStatus },
})
const delay = (fixedMs: number, percent = 100): Fault => ({ delay: { percent, fixedMs }, abort: null })

type Headers = readonly (readonly [string, string])[]

const ROWS: readonly [name: string, headers: Headers, policy: Fault | null, wanted: Fault | null][] = [
  ['nothing asked for', [], POLICY, POLICY],
  ['nothing asked for, no policy', [], null, null],
  ['a percentage alone asks for nothing', [[ABORT_PERCENT, '50']], null, null],
  ['abort', [[ABORT, '418']], null, abort(418)],
  ['a sign and zeros', [[ABORT, '+0418']], null, abort(418)],
  ['599', [[ABORT, '599']], null, abort(599)],
  ['600 is no status', [[ABORT, '600']], null, null],
  ['199 is no answer', [[ABORT, '199']], null, null],
  ['not a number', [[ABORT, '418x']], null, null],
  ['negative', [[ABORT, '-5']], null, null],
  ['two numbers', [[ABORT, '4 18']], null, null],
  ['empty', [[ABORT, '']], null, null],
  [
    'the first of two',
    [
      [ABORT, '418'],
      [ABORT, '500'],
    ],
    null,
    abort(418),
  ],
  [
    'lowered',
    [
      [ABORT, '418'],
      [ABORT_PERCENT, '30'],
    ],
    null,
    abort(418, 30),
  ],
  [
    'to nothing',
    [
      [ABORT, '418'],
      [ABORT_PERCENT, '0'],
    ],
    null,
    abort(418, 0),
  ],
  [
    'a bad percentage is none',
    [
      [ABORT, '418'],
      [ABORT_PERCENT, '0.5'],
    ],
    null,
    abort(418),
  ],
  [
    'above 100',
    [
      [ABORT, '418'],
      [ABORT_PERCENT, '400'],
    ],
    null,
    abort(418),
  ],
  ['grpc', [[GRPC, '14']], null, abort(0, 100, 14)],
  ['a grpc status that nobody knows', [[GRPC, '4294967295']], null, abort(0, 100, 4294967295)],
  ['more than 32 bits', [[GRPC, '4294967296']], null, null],
  [
    'both: HTTP wins',
    [
      [GRPC, '14'],
      [ABORT, '418'],
    ],
    null,
    abort(418),
  ],
  [
    'both, HTTP out of range',
    [
      [GRPC, '14'],
      [ABORT, '700'],
    ],
    null,
    abort(0, 100, 14),
  ],
  ['delay', [[DELAY, '300']], null, delay(300)],
  [
    'delay, lowered',
    [
      [DELAY, '300'],
      [DELAY_PERCENT, '7'],
    ],
    null,
    delay(300, 7),
  ],
  ['a minute at most', [[DELAY, '600000']], null, delay(60_000)],
  [
    'a policy limits how often',
    [
      [ABORT, '418'],
      [ABORT_PERCENT, '90'],
      [DELAY, '300'],
    ],
    POLICY,
    {
      delay: { percent: 20, fixedMs: 300 },
      abort: { percent: 10, httpStatus: 418, grpcStatus: -1 },
    },
  ],
  ['the other half of a policy stays', [[DELAY, '300']], POLICY, { ...POLICY, delay: { percent: 20, fixedMs: 300 } }],
]

t.test('headers and policy', async (t) => {
  for (const [name, headers, policy, wanted] of ROWS) {
    const map = new HeaderMap()
    for (const [key, value] of headers) map.append(key, value)
    t.same(faultAskedFor(map, policy), wanted, name)
  }
})
