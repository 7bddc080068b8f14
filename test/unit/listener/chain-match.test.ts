// Envoy's order: destination port, address, server name, transport, ALPN; each takes the most specific and there is no way back.
import t from 'tap'
import { type ChainFacts, ChainMatcher } from '../../../lib/listener/chain-match.ts'
import { type FilterChainMatch, MATCH_EVERYTHING } from '../../../lib/state/listener.ts'

interface Named {
  readonly name: string
  readonly match: FilterChainMatch
}

const chain = (name: string, match: Partial<FilterChainMatch> = {}): Named => ({ name, match: { ...MATCH_EVERYTHING, ...match } })
const facts = (over: Partial<ChainFacts> = {}): ChainFacts => ({
  destinationAddress: '10.0.0.1',
  destinationPort: 80,
  serverName: '',
  transportProtocol: 'raw_buffer',
  applicationProtocols: [],
  sourceAddress: '10.0.0.9',
  directSourceAddress: over.sourceAddress ?? '10.0.0.9',
  sourcePort: 40000,
  ...over,
})

interface World {
  readonly chains: readonly Named[]
  readonly otherwise?: Named
  readonly rows: readonly (readonly [question: Partial<ChainFacts>, expected: string | null])[]
}

const ISTIO = ['istio-peer-exchange', 'istio', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2']
const TLS = { transportProtocol: 'tls' } as const

const worlds: Readonly<Record<string, World>> = {
  'one for all': {
    chains: [chain('all')],
    rows: [
      [{}, 'all'],
      [TLS, 'all'],
      [{ serverName: 'x', ...TLS, applicationProtocols: ['h2'] }, 'all'],
    ],
  },
  none: { chains: [], rows: [[{}, null]] },
  'none, and a default': { chains: [], otherwise: chain('default'), rows: [[{}, 'default']] },
  'a port of its own': {
    chains: [chain('any'), chain('80', { destinationPort: 80, transportProtocol: 'tls' })],
    otherwise: chain('default'),
    rows: [
      [TLS, '80'],
      // Not the one of any port: there is no way back.
      [{}, 'default'],
      [{ destinationPort: 81 }, 'any'],
    ],
  },
  'the other end of the connection': {
    chains: [
      chain('any'),
      chain('net', { directSourceRanges: ['10.0.0.0/8'] }),
      chain('host', { directSourceRanges: ['10.1.0.1/32'], sourcePorts: [5000] }),
      chain('local', { sourceType: 'same-ip-or-loopback' }),
      chain('client', { sourceRanges: ['172.16.0.0/12'] }),
    ],
    rows: [
      [{}, 'net'],
      [{ sourceAddress: '10.1.0.1', sourcePort: 5000 }, 'host'],
      // No way back to the chain of the wider range.
      [{ sourceAddress: '10.1.0.1' }, null],
      [{ sourceAddress: '127.0.0.1' }, 'local'],
      [{ sourceAddress: '192.0.2.1', destinationAddress: '192.0.2.1' }, 'local'],
      [{ sourceAddress: '172.16.0.9' }, 'client'],
      [{ sourceAddress: '192.0.2.1' }, 'any'],
    ],
  },
  'from outside of the machine': {
    chains: [chain('external', { sourceType: 'external' })],
    rows: [
      [{}, 'external'],
      [{ sourceAddress: '::1' }, null],
    ],
  },
  'addresses: the longest range': {
    chains: [
      chain('any'),
      chain('net', { destinationRanges: ['10.0.0.0/8', '192.168.0.0/16'] }),
      chain('host', { destinationRanges: ['10.0.0.1/32'], transportProtocol: 'tls' }),
      chain('v6', { destinationRanges: ['fd00::/8'] }),
    ],
    rows: [
      [TLS, 'host'],
      [{}, null],
      [{ destinationAddress: '10.0.0.2' }, 'net'],
      [{ destinationAddress: '192.168.3.4' }, 'net'],
      [{ destinationAddress: '11.0.0.1' }, 'any'],
      [{ destinationAddress: 'fd00::5' }, 'v6'],
      [{ destinationAddress: '' }, 'any'],
    ],
  },
  'server names: exact, then the longest wildcard, then none': {
    chains: [
      chain('none'),
      chain('exact', { serverNames: ['a.b.example', 'z.example'] }),
      chain('b', { serverNames: ['*.b.example'] }),
      chain('example', { serverNames: ['*.example'] }),
    ],
    rows: [
      [{ ...TLS, serverName: 'a.b.example' }, 'exact'],
      [{ ...TLS, serverName: 'z.example' }, 'exact'],
      [{ ...TLS, serverName: 'x.b.example' }, 'b'],
      [{ ...TLS, serverName: 'x.y.b.example' }, 'b'],
      [{ ...TLS, serverName: 'b.example' }, 'example'],
      [{ ...TLS, serverName: 'example' }, 'none'],
      [{ ...TLS, serverName: 'other' }, 'none'],
      [{ ...TLS, serverName: 'a.b.example.org' }, 'none'],
      [{}, 'none'],
    ],
  },
  'a server name is looked at before the transport': {
    chains: [
      chain('plain'),
      chain('named', { serverNames: ['a.example'], transportProtocol: 'tls', applicationProtocols: ['h2'] }),
    ],
    rows: [
      [{ ...TLS, serverName: 'a.example', applicationProtocols: ['h2'] }, 'named'],
      [{ ...TLS, serverName: 'a.example', applicationProtocols: ['http/1.1'] }, null],
      [{}, 'plain'],
    ],
  },
  'PERMISSIVE of a port whose protocol is not declared': {
    chains: [
      chain('mesh http', { ...TLS, applicationProtocols: ['istio-http/1.0', 'istio-http/1.1', 'istio-h2'] }),
      chain('plain http', { transportProtocol: 'raw_buffer', applicationProtocols: ['http/1.1', 'h2c'] }),
      chain('mesh tcp', { ...TLS, applicationProtocols: ['istio-peer-exchange', 'istio'] }),
      chain('plain tcp', { transportProtocol: 'raw_buffer' }),
      chain('application tls', TLS),
    ],
    rows: [
      [{ ...TLS, applicationProtocols: ['istio-http/1.1', 'istio', 'http/1.1'] }, 'mesh http'],
      [{ ...TLS, applicationProtocols: ['istio-peer-exchange', 'istio'] }, 'mesh tcp'],
      // The client's order decides, and not ours.
      [{ ...TLS, applicationProtocols: ['istio', 'istio-h2'] }, 'mesh tcp'],
      [{ ...TLS, applicationProtocols: ['h2', 'http/1.1'] }, 'application tls'],
      [TLS, 'application tls'],
      [{ applicationProtocols: ['http/1.1'] }, 'plain http'],
      [{ applicationProtocols: ['http/1.0'] }, 'plain tcp'],
      [{}, 'plain tcp'],
    ],
  },
  'PERMISSIVE of a port that is declared to be HTTP': {
    chains: [chain('mesh', { ...TLS, applicationProtocols: ISTIO }), chain('plain', { transportProtocol: 'raw_buffer' })],
    rows: [
      [{ ...TLS, applicationProtocols: ['istio'] }, 'mesh'],
      [{}, 'plain'],
      [TLS, null],
      [{ ...TLS, applicationProtocols: ['h2'] }, null],
    ],
  },
  STRICT: {
    chains: [chain('mesh', TLS)],
    rows: [
      [TLS, 'mesh'],
      [{}, null],
    ],
  },
  'who speaks neither, and a default': {
    chains: [chain('h2', { applicationProtocols: ['h2'] })],
    otherwise: chain('default'),
    rows: [
      [{ ...TLS, applicationProtocols: ['h2'] }, 'h2'],
      [{ ...TLS, applicationProtocols: ['x'] }, 'default'],
    ],
  },
}

t.test('which chain takes it', (t) => {
  for (const [name, { chains, otherwise, rows }] of Object.entries(worlds)) {
    const matcher = new ChainMatcher(chains, otherwise ?? null)
    for (const [question, expected] of rows)
      t.equal(matcher.find(facts(question))?.name ?? null, expected, `${name}: ${JSON.stringify(question)}`)
  }
  t.end()
})

t.test('what has to be looked at, by port', (t) => {
  const look = (match: Partial<FilterChainMatch>, port = 80): [boolean, boolean] => {
    const { inspectsTls, inspectsHttp } = new ChainMatcher([chain('x', match)], null).forPort(port)
    return [inspectsTls, inspectsHttp]
  }
  t.same(look({}), [false, false])
  t.same(look({ destinationRanges: ['10.0.0.0/8'] }), [false, false])
  t.same(look(TLS), [true, false])
  t.same(look({ serverNames: ['a'] }), [true, false])
  t.same(look({ applicationProtocols: ['istio'] }), [true, false])
  t.same(look({ applicationProtocols: ['http/1.1'] }), [true, true])
  t.same(look({ applicationProtocols: ['h2c'], destinationPort: 81 }, 81), [true, true])
  t.same(look({ applicationProtocols: ['h2c'], destinationPort: 81 }, 80), [false, false])
  t.end()
})
