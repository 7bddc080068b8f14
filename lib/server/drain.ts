// The end of a worker's traffic: nothing new is accepted, what is in flight may finish until the deadline, and what is cut is reported.
import type { WorkerParts } from '../filter/network/http-connection-manager.ts'
import { TcpSession } from '../filter/network/tcp-proxy.ts'
import type { ListenerSet } from '../listener/listener-set.ts'
import type { NodeTunnel } from '../tunnel/node-tunnel.ts'
import type { CutConnection } from './messages.ts'

const LOOK_MS = 20

/** Resolves when no connection is left, at the latest shortly after the deadline, with those that had to be cut. */
export async function drainWorker(
  parts: Pick<WorkerParts, 'io' | 'worker' | 'clusters' | 'accessLog'>,
  listeners: ListenerSet,
  tunnel: NodeTunnel | null,
  deadlineMs: number,
): Promise<readonly CutConnection[]> {
  parts.io.run('drain', () => {
    listeners.drain()
    tunnel?.drain()
  })
  const until = performance.now() + deadlineMs
  const left = () => listeners.connections + (tunnel === null ? 0 : tunnel.connections)
  while (left() > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  const cut: CutConnection[] = []
  parts.io.run('drain', () => {
    for (const { listener, chain } of listeners.chains()) {
      for (const session of chain.filter?.sessions ?? []) {
        const what = session instanceof TcpSession ? 'tcp session' : session.activity
        // A connection that has been answered and only waits for the client to close is not cut.
        if (what !== 'idle')
          cut.push({ listener: listener.name, peer: session.connection.peerAddress, what, reason: 'drain_deadline' })
        session.connection.destroy('drain_deadline')
        if (what !== 'idle') parts.worker.connectionCut('drain_deadline')
      }
    }
    for (const { peer, what } of tunnel === null ? [] : tunnel.cut()) {
      cut.push({ listener: 'node', peer, what, reason: 'drain_deadline' })
      parts.worker.connectionCut('drain_deadline')
    }
    parts.clusters.drain()
  })
  // Connections say goodbye (and are logged) in the next turns.
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  await parts.accessLog?.close()
  return cut
}
