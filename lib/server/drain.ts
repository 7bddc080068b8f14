// The end of a worker's traffic: for a while new connections are taken still, since clients may not know yet, and each answer is the last of its connection; then nothing
// new is accepted, what is in flight may finish until the deadline, and what is cut is reported.
import type { WorkerParts } from '../filter/network/http-connection-manager.ts'
import { TcpSession } from '../filter/network/tcp-proxy-session.ts'
import type { ListenerSet } from '../listener/listener-set.ts'
import type { NodeTunnel } from '../tunnel/node-tunnel.ts'
import type { CutConnection } from './messages.ts'

const LOOK_MS = 20

/** Milliseconds from the beginning. */
export interface DrainTimes {
  readonly acceptMs: number
  readonly deadlineMs: number
  /** While connections are taken, outbound listeners go on as ever: of a captured pod Istio's agent drains what comes in, and the application ends its own work. */
  readonly inboundOnly: boolean
}

/** Resolves when no connection is left, at the latest shortly after the deadline, with those that had to be cut. */
export async function drainWorker(
  parts: Pick<WorkerParts, 'io' | 'worker' | 'clusters' | 'accessLog' | 'logs'>,
  listeners: ListenerSet,
  tunnel: NodeTunnel | null,
  { acceptMs, deadlineMs, inboundOnly }: DrainTimes,
): Promise<readonly CutConnection[]> {
  const until = performance.now() + deadlineMs
  // A node's tunnel has a successor, which listens already.
  parts.io.run('drain', () => tunnel?.drain())
  if (acceptMs > 0) {
    parts.io.run('drain', () => listeners.announceDrain(inboundOnly))
    await new Promise((resolve) => setTimeout(resolve, acceptMs))
  }
  parts.io.run('drain', () => listeners.drain())
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
  await parts.logs.close()
  return cut
}
