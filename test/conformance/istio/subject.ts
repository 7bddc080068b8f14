// heddle in place of the recorded sidecar, and stubs in place of its endpoints.
import type { Test } from 'tap'
import { DnsServer } from '../../support/dns-server.ts'
import { type ListenerSpec, startProxy } from '../../support/proxy.ts'
import type { Teardown } from '../../support/teardown.ts'
import type { Recording } from './recording.ts'
import type { Result, Subject } from './replay.ts'
import { Replay } from './replay.ts'
import { Stubs } from './stub.ts'

/** null: the upstreams cannot stand where the recording has them. */
export async function replayed(t: Test, recording: Recording, only: string): Promise<Result[] | null> {
  const stubs = new Stubs()
  t.teardown(() => stubs.close())
  try {
    await stubs.open(recording.endpoints)
  } catch (error) {
    t.comment(error)
    t.pass('skipped', { skip: `${(error as Error).message} (ports below 1024 need root)` })
    return null
  }
  return new Replay(t, recording, stubs, (r) => startHeddle(t, r)).run(only)
}

async function startHeddle(
  t: Teardown,
  { role, workload, resources, mesh, names, ports, passthrough, inbound }: Recording,
): Promise<Subject> {
  const records = [...names].map(([name, address]) => [name, { addresses: [address], ttl: 3600 }] as const)
  const dns = await DnsServer.start(t, Object.fromEntries(records))
  const gateway = role === 'gateway'
  const proxy = await startProxy(t, {
    resources,
    listeners: gateway ? [] : ports.map((p) => (inbound ? inboundOf(p, workload.address) : outboundOf(p, passthrough))),
    bootstrap: {
      role,
      gateway: { address: '127.0.0.1', ports: Object.fromEntries(ports.map((p) => [p, 0])) },
      workload: { ...workload, serviceAccount: 'default' },
      retries: 'exact',
      mirror: { hostSuffix: '' },
      mesh: {
        dnsServers: [dns.address],
        outboundTrafficPolicy: mesh.outboundTrafficPolicy?.mode ?? 'ALLOW_ANY',
        pathNormalization: mesh.pathNormalization?.normalization ?? 'BASE',
        defaultRetryAttempts: mesh.defaultHttpRetryPolicy?.attempts ?? 2,
        defaultRetryOn: mesh.defaultHttpRetryPolicy?.retryOn ?? '',
      },
      http1: { halfClose: 'abort' },
      drain: { deadline: '0s' },
    },
  })
  return {
    portFor: (port) => proxy.port(gateway ? `0.0.0.0_${port}` : `p${port}`),
    accessLog: () => proxy.accessLog(),
    stop: () => proxy.stop(),
  }
}

function outboundOf(port: number, passthrough: string): ListenerSpec {
  return { name: `p${port}`, destinationPort: port, destination: passthrough }
}

function inboundOf(port: number, address: string): ListenerSpec {
  return { name: `p${port}`, direction: 'inbound', forwardTo: `${address}:${port}` }
}
