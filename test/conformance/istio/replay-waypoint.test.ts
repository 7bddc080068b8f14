// Every recorded request to a waypoint gets from heddle what it got from Envoy, through a real tunnel, when heddle is fed the very resources that istiod sent to Envoy,
// and when it reads the YAML of which istiod made them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { eventually, pause } from '../../support/eventually.ts'
import { FakeControlPlane } from '../../support/fake-control-plane.ts'
import { HboneClient, type HboneIdentity } from '../../support/hbone-peer.ts'
import { type HeddleProcess, startProxy } from '../../support/proxy.ts'
import { SigningCa } from '../../support/signing-ca.ts'
import type { Teardown } from '../../support/teardown.ts'
import { type Answer, ask } from './ask.ts'
import { recordedWorld, serveWorld } from './fed-subject.ts'
import { judge } from './judge.ts'
import { moved, type Outcome, peersFolder, type RecordedRequest, type Recording, readRecording } from './recording.ts'
import { Stubs } from './stub.ts'

const FOLDER = 'cases/waypoint'
const PORT = 9080
const peers = peersFolder()

if (peers === null) t.plan(0, 'the recordings of Istio and Envoy are not here; HEDDLE_PEERS names their folder')
else {
  const ca = await SigningCa.root(t, 'mesh')
  const who = async (account: string): Promise<HboneIdentity> => ({
    issued: await ca.issue({ uris: [`spiffe://cluster.local/ns/default/sa/${account}`] }),
    roots: [ca.rootPem],
  })
  const [waypoint, client] = [await who('waypoint'), await who('client')]
  const recording = readRecording(peers, FOLDER, 32)
  t.test(`${FOLDER}, fed`, async (t) => {
    const xds = { address: await plane(t, peers), transport: 'plaintext' }
    await replay(t, await start(t, recording, waypoint, { resources: [], xds }), (outcome) => outcome)
  })
  t.test(`${FOLDER}, from YAML`, async (t) => {
    const own = { waypoint: { address: '127.0.0.1', port: 0 } }
    await replay(t, await start(t, recording, waypoint, own, inPlaintext(recording)), inOurNames)
  })

  async function replay(t: Test, proxy: HeddleProcess, named: (outcome: Outcome) => Outcome): Promise<void> {
    const stubs = new Stubs()
    t.teardown(() => stubs.close())
    await stubs.open(recording.endpoints)
    for (const request of recording.requests) {
      if (request.down !== undefined) await stubs.close(request.down)
      if (request.path === undefined) continue
      const found = await outcome(t, proxy, stubs, client, request)
      judge(t, `${FOLDER}: ${request.name}`, named(expected(recording, request.name)), found, [], [], new Set())
    }
  }

  async function plane(t: Teardown, peers: string): Promise<string> {
    const plane = await FakeControlPlane.start(t)
    serveWorld(plane, recording, recordedWorld(peers, FOLDER, 32))
    return plane.hostAndPort
  }
}

/** Pods of an ambient namespace have a tunnel here at once; istiod waits for the agent of their node, and none was there. */
function inPlaintext({ resources }: Recording): string {
  const text = Object.values(resources).join('\n---\n')
  return text.replaceAll('istio.io/dataplane-mode: ambient, ', '')
}

/** Clusters of a waypoint that reads YAML are named as those of a sidecar. */
function inOurNames(outcome: Outcome): Outcome {
  const cluster = outcome.cluster?.replace(
    /^inbound-vip\|(\d+)\|http(?:\/([^|]*))?\|/,
    (_, port, subset = '') => `outbound|${port}|${subset}|`,
  )
  return { ...outcome, cluster: cluster ?? null }
}

function start(
  t: Teardown,
  recording: Recording,
  as: HboneIdentity,
  source: Readonly<Record<string, unknown>>,
  resources?: string,
): Promise<HeddleProcess> {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-waypoint-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(dir, name), text)
    return path.join(dir, name)
  }
  return startProxy(t, {
    listeners: [],
    ...(resources === undefined ? {} : { resources }),
    bootstrap: {
      role: 'waypoint',
      ...source,
      workload: { ...recording.workload, serviceAccount: 'waypoint' },
      retries: 'exact',
      http1: { halfClose: 'abort' },
      drain: { deadline: '0s' },
      identity: {
        source: 'files',
        files: {
          certificateChain: file('cert.pem', as.issued.chain),
          privateKey: file('key.pem', as.issued.key),
          roots: file('roots.pem', as.roots.join('\n')),
        },
      },
    },
  })
}

async function outcome(
  t: Teardown,
  proxy: HeddleProcess,
  stubs: Stubs,
  as: HboneIdentity,
  request: RecordedRequest,
): Promise<Outcome> {
  const before = stubs.seen.length
  const answer = await askThrough(t, proxy, as, request)
  // What comes although it was not recorded comes within a moment.
  await pause(2)
  const line = await eventually(`the line of ${request.name}`, () =>
    proxy.accessLog().find((l) => l['downstream_remote_address'] === answer.client && l['method'] !== 'CONNECT'),
  )
  const text = (key: string) => (line?.[key] ?? null) as string | null
  return {
    name: request.name,
    ...answer,
    flags: text('response_flags'),
    details: text('response_code_details'),
    cluster: text('upstream_cluster'),
    route: text('route_name'),
    upstreamHost: text('upstream_host'),
    upstream: stubs.seen.slice(before),
    log: { logged: Number(line?.['response_code']), authority: text('authority'), protocol: text('protocol') },
  }
}

/** Upstreams stand at addresses of their own. */
function expected(recording: Recording, name: string): Outcome {
  return JSON.parse(moved(JSON.stringify(recording.expected.get(name)), 32)) as Outcome
}

/** Through a tunnel of its own to the service's address. */
async function askThrough(t: Teardown, proxy: HeddleProcess, as: HboneIdentity, request: RecordedRequest): Promise<Answer> {
  const client = await HboneClient.connect(t, { port: proxy.port('connect_terminate'), as })
  const { stream, status } = await client.open(`${request.vip}:${request.port ?? PORT}`)
  if (status !== 200) throw new Error(`${request.name}: CONNECT was answered ${status}`)
  const relay = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.pipe(stream).pipe(socket)
  })
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve))
  const answer = await ask(t, (relay.address() as AddressInfo).port, request)
  relay.close()
  const { localAddress, localPort } = client.socket
  client.close()
  return { ...answer, client: `${localAddress}:${localPort}` }
}
