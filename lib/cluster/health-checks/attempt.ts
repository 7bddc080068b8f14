// One check of one endpoint: a socket that it opens itself, a deadline for all of it, and one result. Whatever ends it first counts, and
// then nothing of it is left: no socket, no timer.

import { connect, type Socket } from 'node:net'
import { isSocketPath } from '../../base/socket-path.ts'

export interface CheckResult {
  readonly passed: boolean
  /** What came, as the end of a sentence: `answered 503, expected 200-299`. Short, and nothing of it is a peer's own text. */
  readonly seen: string
  /** A failure to get any answer, as Envoy counts them apart (network_failure). */
  readonly network: boolean
}

export class Attempt {
  /** Never rejects. */
  readonly result: Promise<CheckResult>
  readonly timeoutMs: number
  readonly #localAddress: string
  readonly #resolve: (result: CheckResult) => void
  #timer: NodeJS.Timeout | null
  readonly #cleanups: (() => void)[]
  #connected: boolean
  #done: boolean

  /** @param localAddress where connections are from; '': the system chooses */
  constructor(timeoutMs: number, localAddress = '') {
    let resolve: (result: CheckResult) => void = () => {}
    this.result = new Promise((r) => {
      resolve = r
    })
    this.timeoutMs = timeoutMs
    this.#localAddress = localAddress
    this.#resolve = resolve
    this.#timer = null
    this.#cleanups = []
    this.#connected = false
    this.#done = false
  }

  get done(): boolean {
    return this.#done
  }

  /** The one connection. The time counts from here on, so that loading a client is not the endpoint's fault. */
  open(address: string, port: number, onConnect: (socket: Socket) => void): void {
    if (this.#done) return
    this.#timer = setTimeout(() => this.#timedOut(), this.timeoutMs)
    this.#timer.unref()
    const from = this.#localAddress === '' ? {} : { localAddress: this.#localAddress }
    const socket = isSocketPath(address) ? connect({ path: address }) : connect({ host: address, port, ...from })
    // Once it is open, whoever speaks on it sees its errors, and may well end it with one of his own.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!this.#connected) this.broke(error)
    })
    this.atEnd(() => socket.destroy())
    socket.once('connect', () => {
      this.#connected = true
      if (!this.#done) onConnect(socket)
    })
  }

  /** Done once, when there is a result; at once when there is one already. */
  atEnd(cleanup: () => void): void {
    if (this.#done) cleanup()
    else this.#cleanups.push(cleanup)
  }

  pass(seen: string): void {
    this.#end({ passed: true, seen, network: false })
  }

  fail(seen: string): void {
    this.#end({ passed: false, seen, network: false })
  }

  /** The connection could not be made, or it ended before there was an answer. */
  broke(error: NodeJS.ErrnoException | null): void {
    this.#end({
      passed: false,
      seen: `${this.#connected ? 'got no answer' : 'could not connect'}: ${reasonOf(error)}`,
      network: true,
    })
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    this.#end({ passed: false, seen: 'was given up', network: false })
  }

  #timedOut(): void {
    const what = this.#connected ? 'had no whole answer' : 'could not connect'
    this.#end({ passed: false, seen: `${what} within ${this.timeoutMs} ms`, network: true })
  }

  #end(result: CheckResult): void {
    if (this.#done) return
    this.#done = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    for (const cleanup of this.#cleanups) cleanup()
    this.#cleanups.length = 0
    this.#resolve(result)
  }
}

function reasonOf(error: NodeJS.ErrnoException | null): string {
  const code = error === null ? 'UND_ERR_SOCKET' : (error.code ?? error.name)
  if (code === 'UND_ERR_SOCKET') return 'the connection was closed'
  if (code === 'UND_ERR_HEADERS_OVERFLOW') return 'the headers do not end'
  if (/^(?:HPE_|ERR_HTTP2_|HTTPParserError$)/.test(code)) return `what came breaks the protocol (${code})`
  return code
}
