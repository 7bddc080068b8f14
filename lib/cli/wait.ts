import { setTimeout as pause } from 'node:timers/promises'
import { parseDuration } from '../base/duration.ts'
import { type Command, UsageError } from './command.ts'
import { EXIT_OK, EXIT_START } from './exit-codes.ts'

/** As pilot-agent has them. */
const READINESS = 'http://localhost:15021/healthz/ready'
const TIMEOUT_S = '60'
const PERIOD_MS = '500'
const REQUEST_MS = '500'

export const waitCommand: Command = {
  name: 'wait',
  summary: 'wait until a proxy on this machine is ready',
  usage: ['wait [flags]'],
  description: `
For a container that shall start after its proxy, as pilot-agent wait: ends with 0 when the proxy is ready, and with ${EXIT_START} when it was not in time.
`,
  flags: {
    url: { type: 'string', value: 'URL', help: `what is asked; default: ${READINESS}` },
    timeoutSeconds: { type: 'string', value: 'N', help: `how long; default: ${TIMEOUT_S}` },
    periodMillis: { type: 'string', value: 'N', help: `between two questions; default: ${PERIOD_MS}` },
    requestTimeoutMillis: { type: 'string', value: 'N', help: `for each; default: ${REQUEST_MS}` },
  },
  async run(args, io) {
    if (args.positionals.length > 0) throw new UsageError(`too many arguments: ${args.positionals.join(' ')}`)
    const url = args.text('url') ?? READINESS
    if (!/^http:\/\/[^\s]+$/.test(url)) throw new UsageError(`--url: expected http://…, got \`${url}\``)
    const numberOf = (flag: string, unit: string, fallback: string): number => {
      const ms = parseDuration(`${args.text(flag) ?? fallback}${unit}`)
      if (ms === null || ms <= 0) throw new UsageError(`--${flag}: expected a number, got \`${args.text(flag)}\``)
      return ms
    }
    const endMs = performance.now() + numberOf('timeoutSeconds', 's', TIMEOUT_S)
    const periodMs = numberOf('periodMillis', 'ms', PERIOD_MS)
    const requestMs = numberOf('requestTimeoutMillis', 'ms', REQUEST_MS)
    let seen = ''
    while (performance.now() < endMs) {
      try {
        const answer = await fetch(url, { signal: AbortSignal.timeout(requestMs) })
        seen = (await answer.text()).trim() || `it answered ${answer.status}`
        if (answer.status === 200) return EXIT_OK
      } catch (error) {
        const { cause, message } = error as Error
        seen = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : message
      }
      await pause(Math.max(0, Math.min(periodMs, endMs - performance.now())))
    }
    io.stderr.write(`heddle wait: the proxy is not ready: ${seen}\n`)
    return EXIT_START
  },
}
