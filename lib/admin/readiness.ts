// The answer to who asks whether the proxy is ready. What it waits for is told to programs on this machine; to others it is yes or no.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { answer, TEXT } from './http-listen.ts'

/** @param waitingFor empty: it is ready */
export function readinessAnswer(req: IncomingMessage, res: ServerResponse, waitingFor: readonly string[]): void {
  const words = waitingFor.length > 0 && isLocalPeer(req) ? `not ready: waiting for ${waitingFor.join('; ')}\n` : ''
  answer(res, waitingFor.length === 0 ? 200 : 503, TEXT, words)
}

export function isLocalPeer({ socket }: IncomingMessage): boolean {
  return /^(?:::1$|(?:::ffff:)?127\.)/.test(socket.remoteAddress ?? '')
}
