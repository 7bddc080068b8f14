// The protocol by which a node's agent hands over pods, with an agent that shares no code with it. Files stand for network namespaces: the client only keeps them open.
import { existsSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Rng } from '../../../../lib/base/rng.ts'
import { libc, whyNoLibc } from '../../../../lib/sys/libc.ts'
import { type HandedPod, ZdsClient } from '../../../../lib/xds/workload/zds-client.ts'
import { eventually } from '../../../support/eventually.ts'
import { ZdsAgent } from '../../../support/zds-agent.ts'

const skip = libc() === null ? whyNoLibc() : ''
/** Two that are not the same. */
const A = '/proc/self/ns/net'
const B = '/proc/self/ns/uts'

const openOf = (path: string): number => {
  const { ino } = statSync(path)
  const name = readlinkSync(path)
  return readdirSync('/proc/self/fd').filter((fd) => {
    const link = `/proc/self/fd/${fd}`
    return existsSync(link) && readlinkSync(link) === name && statSync(link).ino === ino
  }).length
}

async function start(t: Test, socket = '', fails: (pod: HandedPod) => string = () => '') {
  const agent = await ZdsAgent.start(t, socket)
  const events: string[] = []
  const lines: string[] = []
  const say = (line: string) => void lines.push(line)
  const client = new ZdsClient({
    path: agent.socket,
    rng: new Rng(1),
    retryMs: 20,
    log: { info: say, warning: say },
    keeper: {
      addPod: async (pod) => {
        events.push(`add ${pod.uid} ${pod.info.namespace}/${pod.info.name}/${pod.info.serviceAccount}`)
        return fails(pod)
      },
      removePod: (pod) => void events.push(`remove ${pod.uid}`),
      onStanding: () => {},
    },
  })
  client.start()
  t.teardown(() => {
    client.close()
    for (const pod of client.pods.values()) pod.netns.close()
  })
  await agent.connected()
  return { agent, client, events, lines }
}

t.test('pods of a node', { skip }, async (t) => {
  const { agent, client, events } = await start(t)
  const before = openOf(B)
  t.same(agent.hellos, ['V1'])
  t.notOk(client.ready)
  t.match(client.waitingFor()[0], /to name all pods$/)
  t.equal(await agent.add({ uid: 'u1', name: 'web', netns: A }), '')
  t.notOk(client.ready, 'all pods have not been named')
  t.equal(await agent.keep('unknown'), '', 'kept by another tunnel, perhaps')
  t.equal(await agent.snapshotSent(), '')
  t.ok(client.ready)
  t.same(client.waitingFor(), [])
  t.equal(await agent.add({ uid: 'u1', name: 'web', netns: A }), '', 'the same again')
  t.same(events.splice(0), ['add u1 default/web/web'], 'changes nothing')
  t.equal(await agent.add({ uid: 'u1', name: 'web', netns: B }), '', 'with another namespace')
  t.same(events.splice(0), ['remove u1', 'add u1 default/web/web'], 'it is another pod')
  t.equal(openOf(B), before + 1, 'its namespace is kept open')
  t.equal(await agent.del('nobody'), '')
  t.equal(await agent.del('u1'), '')
  t.same(events.splice(0), ['remove u1'])
  t.equal(openOf(B), before, 'and closed in the end')
})

t.test('the agent comes back', { skip }, async (t) => {
  const { agent, client, events } = await start(t)
  for (const uid of ['kept', 'named', 'gone', 'deleted']) await agent.add({ uid, name: uid, netns: A })
  await agent.snapshotSent()
  events.length = 0
  agent.close()
  await agent.connected(2)
  t.notOk(client.ready)
  t.equal(client.pods.size, 4, 'nothing changes while it is away')
  await agent.keep('kept')
  await agent.add({ uid: 'named', name: 'named', netns: A })
  await agent.add({ uid: 'deleted', name: 'deleted', netns: A })
  await agent.del('deleted')
  t.same(events, [], 'nor before it has named all')
  await agent.snapshotSent()
  t.same(events.sort(), ['remove deleted', 'remove gone'])
  t.same([...client.pods.keys()].sort(), ['kept', 'named'])
  t.ok(client.ready)
})

t.test('what makes no sense is answered, and another connection begun', { skip }, async (t) => {
  const { agent, client } = await start(t)
  await agent.add({ uid: 'u', name: 'u', netns: A })
  await agent.snapshotSent()
  const pod = { add: { uid: 'x', workload_info: { name: 'x' } } }
  const before = openOf(B)
  const rows: readonly (readonly [what: string, act: () => Promise<string>, error: RegExp])[] = [
    ['no descriptor', () => agent.request(pod), /expected 1 descriptors with this request, found 0/],
    ['two', () => agent.request(pod, [B, B]), /expected 1 descriptors with this request, found 2/],
    ['one too many', () => agent.request({ del: { uid: 'u' } }, [B]), /expected 0 descriptors/],
    ['nobody', () => agent.request({ add: { uid: 'x' } }, [B]), /needs `uid` and `workload_info`/],
    ['an unknown request', () => agent.send(Uint8Array.of(0x7a, 0)), /not known/],
    ['no message', () => agent.send(Uint8Array.of(0xff)), /no WorkloadRequest/],
    ['too long', () => agent.send(new Uint8Array(1100)), /cut/],
  ]
  for (const [i, [what, act, error]] of rows.entries()) {
    t.match(await act(), error, what)
    await agent.connected(i + 2)
    await agent.keep('u')
    await agent.snapshotSent()
  }
  t.same([...client.pods.keys()], ['u'])
  t.equal(openOf(B), before, 'no descriptor is left open')
})

t.test('a pod that cannot be served yet', { skip }, async (t) => {
  let why = 'its port is taken'
  const { agent, client, lines } = await start(t, '', () => why)
  t.equal(await agent.add({ uid: 'u', name: 'web', netns: A }), why, 'the agent is told')
  await agent.snapshotSent()
  t.notOk(client.ready)
  t.same(client.waitingFor(), [`pod web.default (web) (${why})`])
  why = ''
  await eventually('it to be served', () => client.ready)
  t.ok(lines.some((l) => l.includes('pod web.default (web): it is served now')))
})

t.test('no agent', { skip }, async (t) => {
  const lines: string[] = []
  const say = (line: string) => void lines.push(line)
  const keeper = { addPod: async () => '', removePod: () => {}, onStanding: () => {} }
  const path = `${t.testdir()}/agent.sock`
  const client = new ZdsClient({ path, keeper, rng: new Rng(1), log: { info: say, warning: say } })
  client.start()
  t.teardown(() => client.close())
  t.match(client.waitingFor()[0], /there is no such socket/)
  const agent = await ZdsAgent.start(t, path)
  await agent.connected()
  await agent.snapshotSent()
  await eventually('readiness', () => client.ready)
  t.equal(lines.filter((l) => l.includes('no connection')).length, 1, 'told once')
})
