// Header edits: constants, and templates that read the request.
import { applyEdits, compileEdits } from '../../../lib/route/header-edits.ts'
import type { EditContext } from '../../../lib/route/header-operators.ts'
import type { EditableHeaders } from '../../../lib/route/request-view.ts'
import type { HeaderEdit } from '../../../lib/state/route.ts'
import { type Bench, keep } from '../contract.ts'

/** Swallows what is written: the header map has benchmarks of its own. */
class Sink implements EditableHeaders {
  writes = 0
  get(name: string): string | null {
    return name === 'x-user' ? 'jason' : null
  }
  indexOf(): number {
    return -1
  }
  valueAt(): string {
    return ''
  }
  remove(): void {
    this.writes++
  }
  set(): void {
    this.writes++
  }
  add(): void {
    this.writes++
  }
}

const sink = new Sink()
const context: EditContext = {
  method: 'GET',
  scheme: 'http',
  authority: 'a',
  pathWithQuery: '/x?q=1',
  sentPath: '/x?q=1',
  protocol: 'HTTP/1.1',
  downstreamRemoteAddress: '127.0.0.1:5555',
  downstreamLocalAddress: '127.0.0.1:8080',
  upstreamHost: '127.0.0.1:9080',
  upstreamCluster: 'outbound|9080||a',
  upstreamLocalAddress: '',
  requestedServerName: '',
  downstreamTls: null,
  upstreamTls: null,
  downstreamDirectRemoteAddress: '127.0.0.1:1',
  upstreamTransportFailureReason: '',
  connectionTerminationDetails: '',
  grpcStatus: -2,
  metadata: null,
  uniqueId: () => '',
  environment: () => '',
  routeName: 'r',
  virtualHostName: 'v',
  responseCode: 200,
  responseFlags: 0,
  responseCodeDetails: 'via_upstream',
  startTimeMs: 1_795_256_528_094,
  durationMs: 1,
  bytesReceived: 0,
  bytesSent: 0,
  attempts: 1,
  hostname: 'box',
  requestHeaders: sink,
  responseHeaders: null,
}

function bench(name: string, edits: readonly HeaderEdit[]): Bench {
  const compiled = compileEdits(edits)
  if (compiled === null) throw new Error('no edits')
  return {
    name: `route/header-edits: ${name}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) applyEdits(compiled, sink, context)
      keep(sink.writes)
    },
  }
}

export const benches: readonly Bench[] = [
  bench('remove, set, add of constants', [
    { op: 'remove', name: 'x-a', value: '' },
    { op: 'set', name: 'x-b', value: '1' },
    { op: 'add', name: 'x-c', value: '2' },
  ]),
  bench('three templates', [
    { op: 'set', name: 'x-path', value: '%REQ(:path)%' },
    { op: 'set', name: 'x-peer', value: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%' },
    { op: 'set', name: 'x-mix', value: 'a-%REQ(x-user)%-b' },
  ]),
]
