// What a control plane is told of the application of a virtual machine (agent.readinessProbe, istio.v1.HealthInformation), by both protocols.
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { setResource, setService, xdsListener, xdsRoutes } from '../support/xds-json.ts'

interface Fed {
  readonly plane: FakeControlPlane
  readonly proxy: HeddleProcess
  /** Problems as they were told on a stream; '' for well. */
  told(stream: number): readonly string[]
  untilTold(stream: number, ...problems: readonly RegExp[]): Promise<void>
}

async function fed(t: Teardown, readinessProbe: object, protocol: 'delta' | 'sotw' = 'delta'): Promise<Fed> {
  const plane = await FakeControlPlane.start(t)
  // As istiod: this has no answer.
  plane.answers = (typeUrl) => typeUrl !== XDS.health
  setService(plane, 'app', await EchoUpstream.start(t))
  setResource(plane, XDS.listener, xdsListener({ name: 'in', host: '127.0.0.1', port: await freePort(), routes: 'r' }))
  setResource(plane, XDS.route, xdsRoutes('r', { '*': { '/': 'app' } }))
  const xds = { address: plane.hostAndPort, transport: 'plaintext', protocol }
  const proxy = await startProxy(t, { bootstrap: { resources: [], listeners: [], xds, agent: { readinessProbe } } })
  const told = (stream: number) => plane.saidOf(XDS.health).flatMap((s) => (s.stream === stream ? [s.error] : []))
  const untilTold = async (stream: number, ...problems: readonly RegExp[]) => {
    const isSo = () => problems.length === told(stream).length && problems.every((p, i) => p.test(told(stream)[i] ?? ''))
    await eventually(`${problems.join(', ')} on stream ${stream}`, () => isSo() || undefined, 15_000)
  }
  return { plane, proxy, told, untilTold }
}

t.setTimeout(120_000)

const WELL = /^$/

for (const protocol of ['delta', 'sotw'] as const)
  t.test(`an application that answers, fails, and answers again: ${protocol}`, async (t) => {
    let status = 200
    const asked: (readonly [string | undefined, string | undefined, string | undefined])[] = []
    const app = createServer((req, res) => {
      asked.push([req.url, req.headers.host, req.socket.remoteAddress])
      res.writeHead(status).end('not for the control plane')
    })
    await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve))
    t.teardown(() => {
      app.closeAllConnections()
      app.close()
    })
    const { port } = app.address() as AddressInfo
    const httpHeaders = [{ name: 'Host', value: 'vm.example' }]
    const { plane, proxy, untilTold } = await fed(t, { periodSeconds: 1, httpGet: { path: '/up', port, httpHeaders } }, protocol)
    await untilTold(0, WELL)
    t.same(asked[0], ['/up', 'vm.example', '127.0.0.6'], 'past the capture')
    const types = plane.said.filter((s) => s.stream === 0 && s.kind !== 'ACK').map((s) => s.typeUrl)
    t.ok(types.indexOf(XDS.listener) < types.indexOf(XDS.health), 'listeners are asked for first')
    t.same(
      plane.saidOf(XDS.health).map(({ node, names, nonce }) => [node, names, nonce]),
      [[null, [], '']],
    )
    status = 503
    await untilTold(0, WELL, /^the application answered 503$/)
    await proxy.said(/the application is not well, and the control plane is told: the application answered 503/)

    plane.stop()
    await plane.resume()
    const { index } = await plane.nextStream(1, 20_000)
    await untilTold(index, /^the application answered 503$/)
    status = 200
    await untilTold(index, /503/, WELL)
  })

t.test('a command, and a port', async (t) => {
  const closed = await freePort()
  const tcp = await fed(t, { periodSeconds: 1, failureThreshold: 2, tcpSocket: { port: closed } })
  await tcp.untilTold(0, /^could not connect: ECONNREFUSED$/)
  const script = path.join(tcp.proxy.dir, 'well')
  writeFileSync(script, '#!/bin/sh\nexec test -e "$1"\n')
  chmodSync(script, 0o755)
  const flag = path.join(tcp.proxy.dir, 'flag')
  const exec = await fed(t, { periodSeconds: 1, exec: { command: [script, flag] } })
  await exec.untilTold(0, /^the command .*well ended with 1$/)
  writeFileSync(flag, '')
  await exec.untilTold(0, /ended with 1$/, WELL)
  rmSync(script)
  await exec.untilTold(0, /ended with 1$/, WELL, /^the command .*well could not be run: ENOENT$/)
})
