// The two protocols as machines: what is wanted and what comes, and what the control plane is told, message by message.
import t from 'tap'
import { DeltaStream } from '../../../../lib/xds/client/delta-stream.ts'
import type { DiscoveryStream } from '../../../../lib/xds/client/discovery-stream.ts'
import { HeldResources } from '../../../../lib/xds/client/held-resources.ts'
import { XDS } from '../../../../lib/xds/client/resource-types.ts'
import type { ResourceFault } from '../../../../lib/xds/client/resource-update.ts'
import { StateOfTheWorldStream } from '../../../../lib/xds/client/sotw-stream.ts'
import { Subscriptions } from '../../../../lib/xds/client/subscriptions.ts'
import { Node } from '../../../../lib/xds/proto/core.ts'
import { decode } from '../../../../lib/xds/proto/decode.ts'
import {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResponse,
  Resource,
} from '../../../../lib/xds/proto/discovery.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import { namedBytes } from '../../../support/fake-control-plane.ts'

const NODE = { ...Node.empty, id: 'me' }

/** What a machine says, in short: `CDS node +a -b n1 {a:1}`. */
function deltaText(message: Uint8Array): string {
  const r = decode(DeltaDiscoveryRequest, message)
  return [
    typeName(r.type_url),
    ...(r.node === null ? [] : [r.node.id]),
    ...r.resource_names_subscribe.map((name) => `+${name}`),
    ...r.resource_names_unsubscribe.map((name) => `-${name}`),
    ...[...r.initial_resource_versions].map(([name, version]) => `${name}@${version}`),
    ...(r.response_nonce === '' ? [] : [`nonce ${r.response_nonce}`]),
    ...(r.error_detail === null ? [] : [`error ${r.error_detail.code} ${r.error_detail.message}`]),
  ].join(' ')
}

function wholeText(message: Uint8Array): string {
  const r = decode(DiscoveryRequest, message)
  return [
    typeName(r.type_url),
    ...(r.node === null ? [] : [r.node.id]),
    `[${r.resource_names.join(' ')}]`,
    ...(r.version_info === '' ? [] : [`version ${r.version_info}`]),
    ...(r.response_nonce === '' ? [] : [`nonce ${r.response_nonce}`]),
    ...(r.error_detail === null ? [] : [`error ${r.error_detail.message}`]),
  ].join(' ')
}

function typeName(url: string): string {
  return Object.entries(XDS).find(([, value]) => value === url)?.[0] ?? url
}

interface Sent {
  readonly type: keyof typeof XDS
  readonly nonce: string
  readonly version?: string
  /** `name` or `name@version`. */
  readonly has?: readonly string[]
  readonly removed?: readonly string[]
}

class Table {
  readonly subscriptions = new Subscriptions()
  readonly held = new HeldResources()
  readonly protocol: 'delta' | 'sotw'
  stream: DiscoveryStream

  constructor(protocol: 'delta' | 'sotw') {
    this.protocol = protocol
    this.stream = this.#open()
  }

  reconnect(): void {
    this.stream = this.#open()
  }

  want(type: keyof typeof XDS, wanted: 'wildcard' | 'on-demand' | readonly string[]): void {
    if (typeof wanted === 'string') this.subscriptions.set(XDS[type], wanted, new Set())
    else {
      const before = this.subscriptions.get(XDS[type])?.interest
      this.subscriptions.set(XDS[type], before === 'on-demand' ? before : 'names', new Set(wanted))
    }
  }

  said(): string[] {
    return this.stream.requests().map((m) => (this.protocol === 'delta' ? deltaText(m) : wholeText(m)))
  }

  /** The answer, and what of the update is told. @param bad names that the consumer refuses */
  comes(
    sent: Sent,
    bad: readonly string[] = [],
  ): { answer: string | null; changed: string[]; removed: string[]; complete: boolean } {
    const incoming = this.stream.read(this.protocol === 'delta' ? delta(sent) : whole(sent))
    const subscription = this.subscriptions.get(incoming.typeUrl)!
    const { update, faults: envelope } = this.held.compare(incoming, subscription)
    const faults: ResourceFault[] = [...envelope, ...bad.map((name) => ({ name, reason: 'bad' }))]
    this.held.take(update, faults)
    const answer = this.stream.answer(incoming, faults)
    return {
      answer: answer === null ? null : this.protocol === 'delta' ? deltaText(answer) : wholeText(answer),
      changed: update.changed.map((r) => r.name),
      removed: [...update.removed],
      complete: update.complete,
    }
  }

  holds(type: keyof typeof XDS): string[] {
    return [...this.held.of(XDS[type]).resources.keys()]
  }

  #open(): DiscoveryStream {
    const terms = { node: NODE, subscriptions: this.subscriptions, held: this.held }
    return this.protocol === 'delta' ? new DeltaStream(terms) : new StateOfTheWorldStream(terms)
  }
}

function delta({ type, nonce, version = '', has = [], removed = [] }: Sent): Uint8Array {
  return encode(DeltaDiscoveryResponse, {
    type_url: XDS[type],
    nonce,
    system_version_info: version,
    removed_resources: removed,
    resources: has.map((text) => {
      const [name = '', v = ''] = text.split('@')
      return { ...Resource.empty, name, version: v, resource: { typeUrl: XDS[type], value: namedBytes(name, v) } }
    }),
  })
}

function whole({ type, nonce, version = '', has = [] }: Sent): Uint8Array {
  return encode(DiscoveryResponse, {
    type_url: XDS[type],
    nonce,
    version_info: version,
    resources: has.map((text) => {
      const [name = '', v = ''] = text.split('@')
      return { typeUrl: XDS[type], value: namedBytes(name, v) }
    }),
  })
}

t.test('delta', async (t) => {
  t.test('subscriptions', async (t) => {
    const table = new Table('delta')
    table.want('route', [])
    table.want('listener', 'wildcard')
    table.want('cluster', 'wildcard')
    t.same(table.said(), ['cluster me', 'listener'], 'in order, node once, no names: nothing, for it would be everything')
    t.same(table.said(), [], 'it is told once')
    table.want('route', ['a', 'b'])
    t.same(table.said(), ['route +a +b'])
    table.want('route', ['b', 'c'])
    t.same(table.said(), ['route +c -a'])
    table.want('route', [])
    t.same(table.said(), ['route -b -c'])
    table.want('route', ['d'])
    t.same(table.said(), ['route +d'])
    table.subscriptions.delete(XDS.route)
    table.subscriptions.delete(XDS.cluster)
    t.same(table.said(), ['cluster -*', 'route -d'])
    t.same(table.said(), [])
  })

  t.test('answers', async (t) => {
    const table = new Table('delta')
    table.want('cluster', 'wildcard')
    table.want('endpoints', ['x'])
    table.said()
    t.same(table.comes({ type: 'cluster', nonce: 'n1', has: ['a', 'b', 'c'] }, ['b', 'c']), {
      answer: 'cluster nonce n1 error 3 b: bad; c: bad',
      changed: ['a', 'b', 'c'],
      removed: [],
      complete: true,
    })
    t.same(table.holds('cluster'), ['a'], 'what is good of a refused response is taken')
    t.same(table.comes({ type: 'endpoints', nonce: 'n2', has: ['x', 'stray'], removed: ['unknown'] }), {
      answer: 'endpoints nonce n2',
      changed: ['x'],
      removed: [],
      complete: false,
    })
    const again = table.comes({ type: 'cluster', nonce: 'n3', has: ['a', 'b'], removed: ['c'] })
    t.same([again.answer, again.changed, again.removed, again.complete], ['cluster nonce n3', ['b'], ['c'], false])
    t.equal(table.comes({ type: 'cluster', nonce: '' }).answer, null, 'without a nonce there is nothing to answer')
    table.comes({ type: 'cluster', nonce: 'n6', has: ['a@2'] }, ['a'])
    t.same(
      table.comes({ type: 'cluster', nonce: 'n7', has: ['a'] }).changed,
      ['a'],
      'back to what is held: the consumer has to know',
    )
    t.same(table.comes({ type: 'cluster', nonce: 'n8', has: ['a'] }).changed, [], 'and again: nothing new')
    t.same(table.comes({ type: 'endpoints', nonce: 'n4', removed: ['x'] }).removed, ['x'])
    t.same(
      table.comes({ type: 'endpoints', nonce: 'n5', removed: ['x'] }).removed,
      ['x'],
      'the answer to a name that is not there',
    )
  })

  t.test('the new stream', async (t) => {
    const table = new Table('delta')
    table.want('cluster', 'wildcard')
    table.want('endpoints', ['a', 'b'])
    table.want('address', 'wildcard')
    table.said()
    table.comes({ type: 'cluster', nonce: 'n1', has: ['a', 'b'] })
    table.comes({ type: 'endpoints', nonce: 'n2', has: ['a', 'b'] })
    table.comes({ type: 'address', nonce: 'n3', has: ['w@1', 'v@2', 'u@3'] }, ['u'])
    table.want('endpoints', ['b', 'c'])
    table.reconnect()
    t.same(
      table.said(),
      ['cluster me a@ b@', 'endpoints +b +c b@', 'address u@ w@1 v@2'],
      'what is held and wanted, no nonce; of what was refused no version',
    )
    const whole = table.comes({ type: 'cluster', nonce: 'm1', has: ['b'] })
    t.same([whole.complete, whole.removed], [true, ['a']], 'no versions were told: the first response is all there is')
    t.same(table.comes({ type: 'cluster', nonce: 'm2', has: ['c'] }).removed, [], 'the second is not')
    const some = table.comes({ type: 'address', nonce: 'm3', has: ['v@3'] })
    t.same([some.complete, some.removed], [false, []], 'with versions a server says what has gone')
    t.same(table.holds('address'), ['w', 'v'])
    t.same(table.comes({ type: 'address', nonce: 'm4', removed: ['u'] }).removed, ['u'], 'that it has gone is told on')
    table.reconnect()
    t.equal(table.said().at(-1), 'address w@1 v@3')
  })

  t.test('on demand', async (t) => {
    const table = new Table('delta')
    table.want('address', 'on-demand')
    t.same(table.said(), ['address me +* -*'])
    table.want('address', ['net/10.0.0.1'])
    t.same(table.said(), ['address +net/10.0.0.1'])
    table.comes({ type: 'address', nonce: 'n1', has: ['w@1', 'dependent@1'] })
    t.same(table.holds('address'), ['w', 'dependent'])
    table.reconnect()
    t.same(table.said(), ['address me +* -* w@1 dependent@1', 'address +net/10.0.0.1'])
  })
})

t.test('the state of the world', async (t) => {
  t.test('subscriptions and answers', async (t) => {
    const table = new Table('sotw')
    table.want('cluster', 'wildcard')
    table.want('endpoints', [])
    t.same(table.said(), ['cluster me []'])
    t.same(table.comes({ type: 'cluster', nonce: 'n1', version: '1', has: ['a', 'b'] }), {
      answer: 'cluster [] version 1 nonce n1',
      changed: ['a', 'b'],
      removed: [],
      complete: true,
    })
    table.want('endpoints', ['a', 'b'])
    t.same(table.said(), ['endpoints [a b]'])
    t.same(table.comes({ type: 'endpoints', nonce: 'e1', version: '1', has: ['a'] }).answer, 'endpoints [a b] version 1 nonce e1')
    t.same(table.comes({ type: 'cluster', nonce: 'n2', version: '2', has: ['a', 'c'] }, ['c']), {
      answer: 'cluster [] version 1 nonce n2 error c: bad',
      changed: ['c'],
      removed: ['b'],
      complete: true,
    })
    t.same(table.holds('cluster'), ['a'], 'b is gone though the response was refused')
    table.want('endpoints', ['a', 'b', 'c'])
    t.same(table.said(), ['endpoints [a b c] version 1 nonce e1'], 'the whole set, last version, last nonce')
    t.same(table.comes({ type: 'endpoints', nonce: 'e2', version: '2', has: ['c'] }).removed, [], 'a part is no removal')
    t.same(table.holds('endpoints'), ['a', 'c'])
    table.subscriptions.delete(XDS.endpoints)
    t.same(table.said(), ['endpoints [] version 2 nonce e2'])
  })

  t.test('the new stream', async (t) => {
    const table = new Table('sotw')
    table.want('cluster', 'wildcard')
    table.want('endpoints', ['a', 'b'])
    table.said()
    table.comes({ type: 'cluster', nonce: 'n1', version: '7', has: ['a'] })
    table.comes({ type: 'endpoints', nonce: 'e1', version: '7', has: ['a', 'b'] })
    table.reconnect()
    t.same(table.said(), ['cluster me [] version 7', 'endpoints [a b] version 7'], 'the last version, and no nonce')
    table.want('endpoints', ['a', 'b', 'c'])
    table.reconnect()
    t.same(
      table.said()[1],
      'endpoints [a b c]',
      'a server to whom its newest version is told might never answer for the name that is new',
    )
  })

  t.test('times to live come in an envelope', async (t) => {
    const table = new Table('sotw')
    table.want('cluster', 'wildcard')
    table.said()
    const envelope = encode(Resource, { name: 'a', ttl: 1500, resource: { typeUrl: XDS.cluster, value: namedBytes('a') } })
    const typeUrl = 'type.googleapis.com/envoy.service.discovery.v3.Resource'
    const message = encode(DiscoveryResponse, { type_url: XDS.cluster, nonce: 'n', resources: [{ typeUrl, value: envelope }] })
    const incoming = table.stream.read(message)
    t.match(incoming.resources, [{ name: 'a', ttlMs: 1500, typeUrl: XDS.cluster }])
  })
})
