// Who would take a request that nobody sends: explicit listeners, and what is captured.
import t from 'tap'
import { takenBy } from '../../../lib/cli/taken-by.ts'
import { bootstrapFor, loadText, type View } from '../resources/kit.ts'

const SERVICES = `
apiVersion: v1
kind: Service
metadata: {name: a, namespace: default}
spec: {clusterIP: 10.96.0.1, selector: {app: a}, ports: [{name: http, port: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: auto, namespace: default}
spec: {clusterIP: 10.96.0.2, selector: {app: a}, ports: [{name: x, port: 8000}, {name: y, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.3, selector: {app: web}, ports: [{name: http, port: 81, targetPort: 9080}]}
`

const CAPTURED: View = { listeners: [], capture: { mode: 'redirect' }, address: '10.0.0.7' }

const ask = (t: Parameters<typeof loadText>[0], view: View, name: string | null, authority: string, scheme = 'http') => {
  const taken = takenBy(loadText(t, SERVICES, view).snapshot, bootstrapFor([], view), name, { scheme, authority })
  return taken.ok ? `${taken.routeTable} ${taken.originalDst}` : taken.message
}

t.test('captured: by what is dialled', async (t) => {
  const rows: [authority: string, expected: string][] = [
    ['a:8000', '8000 a:8000'],
    ['10.96.0.1:8000', '8000 10.96.0.1:8000'],
    ['10.96.0.2:8000', 'auto.default.svc.cluster.local:8000 10.96.0.2:8000'],
    ['auto', '80 auto:80'],
    ['[fd00::1]:8000', '8000 [fd00::1]:8000'],
    ['a:9', 'connections to port 9 are captured and carry no HTTP here: no service has any on that port'],
  ]
  for (const [authority, expected] of rows) t.equal(ask(t, CAPTURED, null, authority), expected, authority)
})

t.test('inbound by the port of the application', async (t) => {
  t.equal(ask(t, CAPTURED, 'virtualInbound', 'web:9080'), 'inbound|9080|| 10.0.0.7:9080')
  t.equal(ask(t, CAPTURED, 'virtualInbound', 'web:1'), 'InboundPassthroughCluster 10.0.0.7:1')
  t.match(ask(t, CAPTURED, 'nosuch', 'a'), /^there is no HTTP listener nosuch; there are: .*virtualInbound/)
})

t.test('an explicit listener comes first', async (t) => {
  const both: View = { ...CAPTURED, listeners: [{ name: 'out', destination: '192.0.2.1:80' }] }
  t.equal(ask(t, both, null, 'a:8000'), ' 192.0.2.1:80')
  t.equal(ask(t, { ...both, listeners: [{ name: 'out', destinationPort: 8000 }] }, 'out', 'a:1'), '8000 ')
})
