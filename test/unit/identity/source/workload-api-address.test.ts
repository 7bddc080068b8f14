// SPIFFE_Workload_Endpoint.md §4.
import t from 'tap'
import { parseWorkloadEndpoint } from '../../../../lib/identity/source/workload-api-address.ts'

t.test('what SPIFFE_ENDPOINT_SOCKET may be', async (t) => {
  const good: readonly (readonly [string, object])[] = [
    ['unix:///run/spire/agent.sock', { kind: 'unix', path: '/run/spire/agent.sock' }],
    ['unix:/run/spire/agent.sock', { kind: 'unix', path: '/run/spire/agent.sock' }],
    ['tcp://127.0.0.1:8000', { kind: 'tcp', host: '127.0.0.1', port: 8000 }],
    ['tcp://[::1]:8000', { kind: 'tcp', host: '::1', port: 8000 }],
  ]
  for (const [text, address] of good) t.same(parseWorkloadEndpoint(text), { ok: true, address }, text)
})

t.test('what it may not be', async (t) => {
  const bad: readonly (readonly [string, RegExp])[] = [
    ['', /expected unix:/],
    ['/run/agent.sock', /expected unix:/],
    ['http://127.0.0.1:80', /expected unix:/],
    ['unix://run/agent.sock', /three slashes/],
    ['unix:agent.sock', /absolute/],
    ['unix:///', /path of the socket is missing/],
    ['unix:///a?b', /query/],
    ['unix:///a#b', /query or fragment/],
    [`unix:///${'a'.repeat(107)}`, /more than 107 bytes/],
    ['tcp://localhost:8000', /an IP address/],
    ['tcp://127.0.0.1', /expected unix:/],
    ['tcp://127.0.0.1:0', /1 to 65535/],
    ['tcp://127.0.0.1:70000', /1 to 65535/],
    ['tcp://127.0.0.1:8000/x', /path after the port/],
    ['tcp://me@127.0.0.1:8000', /expected unix:/],
    ['tcp://::1:8000', /expected unix:/],
  ]
  for (const [text, error] of bad) t.match(parseWorkloadEndpoint(text), { ok: false, error }, text)
})
