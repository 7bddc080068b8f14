// What signals mean to a running proxy.

/** Exit code when a second signal ended the process before the drain was over. */
export const EXIT_INTERRUPTED = 5

export interface SignalActions {
  /** SIGTERM, SIGINT: drain, then exit. Called once. */
  readonly terminate: (signal: NodeJS.Signals) => void
  /** The second SIGTERM or SIGINT: exit now. */
  readonly abort: (signal: NodeJS.Signals) => void
  /** SIGHUP: read the resources anew. */
  readonly reload: () => void
  /** SIGUSR1: open the access logs anew. Node's own use of it (the inspector) goes with that. */
  readonly reopenLogs: () => void
}

/** Returns how to stop listening. */
export function onSignals(actions: SignalActions): () => void {
  let terminating = false
  const terminate = (signal: NodeJS.Signals) => {
    if (terminating) return actions.abort(signal)
    terminating = true
    actions.terminate(signal)
  }
  const handlers: readonly [NodeJS.Signals, (signal: NodeJS.Signals) => void][] = [
    ['SIGTERM', terminate],
    ['SIGINT', terminate],
    ['SIGHUP', actions.reload],
    ['SIGUSR1', actions.reopenLogs],
  ]
  for (const [signal, handler] of handlers) process.on(signal, handler)
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler)
  }
}
