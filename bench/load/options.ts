// The command line of `npm run bench -- …`.
import { parseArgs } from 'node:util'
import { SCENARIOS, type ScenarioId } from './scenario.ts'

/** Load generators of the closed-loop scenarios: of HTTP/2 always h2load. The open loop has its own. */
export type ToolId = 'autocannon' | 'wrk' | 'h2load'

export interface Options {
  /** Seconds of one measured window. */
  readonly durationS: number
  /** Seconds of load before each measured window. */
  readonly warmUpS: number
  /** Measured windows per target; medians are taken over them. */
  readonly rounds: number
  /** Keep-alive connections of the load generator. */
  readonly connections: number
  /** Ids of targets to run; null: all. */
  readonly only: readonly string[] | null
  readonly scenarios: readonly ScenarioId[]
  /** null: every tool that is present (with --quick one of HTTP/1.1, wrk before autocannon). */
  readonly tools: readonly ToolId[] | null
  readonly quick: boolean
  /** Count system calls per request too, in a run of their own. */
  readonly syscalls: boolean
  /** Where to write everything measured; null: nowhere. */
  readonly json: string | null
  /** Another checkout of heddle to run as `heddle-base`; null: none. */
  readonly base: string | null
}

export const TARGET_IDS: readonly string[] = [
  'direct',
  'heddle',
  'heddle-survive',
  'heddle-2w',
  'heddle-base',
  'haproxy',
  'haproxy-log',
  'nginx',
  'nghttpx',
  'envoy',
]

export const HELP = `Usage: npm run bench -- [options]

Runs heddle and the proxies found on this machine under the same load, one core for the proxy and one for
load generator and upstream, and prints CPU time per request, throughput, latency, memory and ratios.

  --quick               one round of 2 s with one tool
  --duration SECONDS    length of a measured window (default 5)
  --warm-up SECONDS     load before each measured window (default 2)
  --rounds N            measured windows per target, interleaved; medians are printed (default 3)
  --connections N       keep-alive connections of HTTP/1.1 (default 32)
  --only LIST           of ${TARGET_IDS.join(', ')}
  --scenario LIST       of ${SCENARIOS.map((scenario) => scenario.id).join(', ')}
  --tool LIST           of autocannon, wrk, h2load (default: all that are present)
  --base DIR            also run the heddle of another, built checkout, as heddle-base
  --syscalls            then count system calls per request by strace
  --json FILE           write everything measured to FILE
  --help                this text

Peers are found in PATH, or through $HAPROXY, $NGINX, $NGHTTPX, $ENVOY, $WRK and $H2LOAD; a missing one is skipped and named.
`

/** What the arguments mean, or what is wrong with them. */
export function parseOptions(argv: readonly string[]): Options | 'help' | { readonly error: string } {
  let values: Record<string, string | boolean | undefined>
  try {
    values = parseArgs({
      args: [...argv],
      options: {
        quick: { type: 'boolean' },
        duration: { type: 'string' },
        'warm-up': { type: 'string' },
        rounds: { type: 'string' },
        connections: { type: 'string' },
        only: { type: 'string' },
        scenario: { type: 'string' },
        tool: { type: 'string' },
        base: { type: 'string' },
        json: { type: 'string' },
        syscalls: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    return { error: (error as Error).message }
  }
  if (values['help'] === true) return 'help'

  const errors: string[] = []
  const quick = values['quick'] === true
  const number = (name: string, fallback: number, least: number): number => {
    const text = values[name]
    if (typeof text !== 'string') return fallback
    const value = Number(text)
    if (Number.isFinite(value) && value >= least) return value
    errors.push(`--${name} expects a number of at least ${least}, got ${JSON.stringify(text)}`)
    return fallback
  }
  const list = (name: string, known: readonly string[]): string[] | null => {
    const text = values[name]
    if (typeof text !== 'string') return null
    const chosen = text.split(',').filter((item) => item !== '')
    for (const item of chosen) {
      if (!known.includes(item)) errors.push(`--${name} knows ${known.join(', ')}; not ${JSON.stringify(item)}`)
    }
    return chosen
  }
  const file = (name: string): string | null => (typeof values[name] === 'string' ? values[name] : null)

  const ids = SCENARIOS.map((scenario) => scenario.id)
  const options: Options = {
    durationS: number('duration', quick ? 2 : 5, 1),
    warmUpS: number('warm-up', quick ? 1 : 2, 0),
    rounds: Math.floor(number('rounds', quick ? 1 : 3, 1)),
    connections: Math.floor(number('connections', 32, 1)),
    only: list('only', TARGET_IDS),
    scenarios: (list('scenario', ids) as ScenarioId[] | null) ?? ids,
    tools: list('tool', ['autocannon', 'wrk', 'h2load']) as ToolId[] | null,
    quick,
    syscalls: values['syscalls'] === true,
    json: file('json'),
    base: file('base'),
  }
  return errors.length === 0 ? options : { error: errors.join('\n') }
}
