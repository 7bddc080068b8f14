// A client of a control plane whose updates the test sees, and whose faults it names.
import { Rng } from '../../lib/base/rng.ts'
import { AdsClient, type AdsClientOptions } from '../../lib/xds/client/ads-client.ts'
import type { ResourceFault, ResourceUpdate } from '../../lib/xds/client/resource-update.ts'
import { Node } from '../../lib/xds/proto/core.ts'
import type { FakeControlPlane } from './fake-control-plane.ts'
import type { Teardown } from './teardown.ts'

/** An update in short. */
export interface Seen {
  readonly typeUrl: string
  readonly origin: string
  readonly changed: readonly string[]
  readonly removed: readonly string[]
  readonly complete: boolean
}

export class AdsRecorder {
  readonly updates: ResourceUpdate[]
  readonly seen: Seen[]
  /** `connected`, `disconnected`. */
  readonly connections: string[]
  /** `warning: …`, `info: …`. */
  readonly lines: string[]
  faults: (update: ResourceUpdate) => readonly ResourceFault[]
  readonly client: AdsClient

  constructor(t: Teardown, plane: Pick<FakeControlPlane, 'address'>, options: Partial<AdsClientOptions> = {}) {
    this.updates = []
    this.seen = []
    this.connections = []
    this.lines = []
    this.faults = () => []
    this.client = new AdsClient({
      address: plane.address,
      protocol: 'delta',
      tls: null,
      node: { ...Node.empty, id: 'sidecar~10.0.0.7~web-1.default~default.svc.cluster.local', cluster: 'web.default' },
      metadata: async () => ({}),
      rng: new Rng(1),
      userAgent: 'heddle/test',
      onConnection: (connected) => this.connections.push(connected ? 'connected' : 'disconnected'),
      log: {
        debug: (line) => this.lines.push(`debug: ${line}`),
        info: (line) => this.lines.push(`info: ${line}`),
        warning: (line) => this.lines.push(`warning: ${line}`),
      },
      ...options,
      onUpdate: (update) => {
        this.updates.push(update)
        const { typeUrl, origin, changed, removed, complete } = update
        this.seen.push({ typeUrl, origin, changed: changed.map((r) => r.name), removed, complete })
        return [...(options.onUpdate?.(update) ?? []), ...this.faults(update)]
      },
    })
    t.teardown(() => this.client.stop())
  }

  seenOf(typeUrl: string): Seen[] {
    return this.seen.filter((s) => s.typeUrl === typeUrl)
  }

  held(typeUrl: string): string[] {
    return [...this.client.resources(typeUrl).keys()].sort()
  }
}
