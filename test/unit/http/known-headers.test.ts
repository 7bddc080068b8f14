import t from 'tap'
import { H_COUNT, H_OTHER, H_X_ENVOY_STRIPPED, idOfBytes, knownId } from '../../../lib/http/known-headers.ts'

const NAMES =
  'host content-length transfer-encoding connection keep-alive proxy-connection upgrade expect te x-request-id x-forwarded-for ' +
  'x-forwarded-proto x-forwarded-client-cert user-agent content-type date server referer http2-settings grpc-timeout x-envoy-internal ' +
  'x-envoy-attempt-count x-envoy-expected-rq-timeout-ms x-envoy-upstream-service-time x-envoy-original-path x-envoy-original-host ' +
  'x-envoy-ratelimited grpc-status x-envoy-peer-metadata x-envoy-peer-metadata-id'

/** traffic rules name these as one group. */
const STRIPPED =
  'x-envoy-retriable-status-codes x-envoy-retriable-header-names x-envoy-retry-on x-envoy-retry-grpc-on x-envoy-max-retries ' +
  'x-envoy-upstream-alt-stat-name x-envoy-upstream-rq-timeout-ms x-envoy-upstream-rq-per-try-timeout-ms ' +
  'x-envoy-upstream-rq-timeout-alt-response x-envoy-force-trace x-envoy-ip-tags x-envoy-original-url x-envoy-hedge-on-per-try-timeout'

function scan(name: string): number {
  const bytes = Buffer.from(name, 'latin1')
  return idOfBytes(bytes, 0, bytes.length)
}

t.test('names are found as bytes, in any case', async (t) => {
  const seen = new Set<number>()
  for (const name of NAMES.split(' ')) {
    const id = knownId(name)
    t.not(id, H_OTHER, name)
    t.notOk(seen.has(id), `${name} has an id of its own`)
    seen.add(id)
    const mixed = [...name].map((c, i) => (i % 2 ? c : c.toUpperCase())).join('')
    for (const spelling of [name, name.toUpperCase(), mixed]) t.equal(scan(spelling), id, spelling)
  }
  t.equal(seen.size, H_COUNT - 2, 'every id but H_OTHER and that of the group')
  for (const name of STRIPPED.split(' ')) {
    t.equal(scan(name), H_X_ENVOY_STRIPPED, name)
    t.equal(knownId(name), H_OTHER, `${name}: by text they must be told apart`)
  }
})

t.test('what only looks like a name is none', async (t) => {
  for (const name of NAMES.split(' ')) {
    for (let i = 0; i < name.length; i++) {
      // Where a name is looked for is found by folding with |0x20: a byte that differs in this bit alone leads to the same place.
      const code = name.charCodeAt(i)
      const twin = String.fromCharCode(code ^ 0x20)
      if (twin.toLowerCase() === name[i]) continue
      t.equal(scan(name.slice(0, i) + twin + name.slice(i + 1)), H_OTHER, `${JSON.stringify(twin)} in ${name}`)
    }
    t.equal(scan(`${name}x`), H_OTHER)
    t.equal(scan(name.slice(1)), H_OTHER)
  }
  t.equal(scan('content_length'), H_OTHER)
  t.equal(knownId('constructor'), H_OTHER)
})
