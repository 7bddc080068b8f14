// Two sidecars, unmodified programs, and the kernel between them.
import t from 'tap'
import { canMakeNamespaces } from '../support/netns.ts'
import { echoServer, Mesh, service } from './pods.ts'

const skip = canMakeNamespaces()

t.test('from sidecar to sidecar', { skip, timeout: 120_000 }, async (t) => {
  const mesh = await Mesh.make(t, [
    { name: 'web', app: 'web', number: 11 },
    { name: 'api-1', app: 'api', number: 12 },
    { name: 'api-2', app: 'api', version: 'v2', number: 13 },
  ])
  const [web, one, two] = mesh.pods as [(typeof mesh.pods)[0], (typeof mesh.pods)[0], (typeof mesh.pods)[0]]
  const world = service('api', 1, 80, 8080, 'http', [one, two])
  for (const pod of [one, two]) await pod.serve(echoServer(pod.spec.name, 8080))
  for (const pod of mesh.pods) await mesh.sidecar(pod, world)
  for (const target of ['10.96.0.1', one.ip + ':8080', `[${one.ip6}]:8080`]) {
    const { stdout, stderr } = await web.curl('-i', `http://${target}/hello`)
    t.match(stdout, /^HTTP\/1\.1 200 /, `${target} ${stderr}`)
    const body = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { readonly url: string; readonly from: string }
    t.match(body, { url: '/hello', from: target.includes('fd08') ? '::6' : '127.0.0.6' }, target)
  }
})
