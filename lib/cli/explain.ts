import type { JsonObject } from '../base/json-value.ts'
import { explainText } from '../decide/explain-text.ts'
import type { ExplainedConnection, Explanation } from '../decide/explanation.ts'
import { explainedConnectionText } from '../decide/tunnel/explained-connection-text.ts'
import {
  bootstrapFlags,
  bootstrapFlagValues,
  CONFIG_FLAG,
  type Command,
  type CommandIo,
  JSON_FLAG,
  UsageError,
} from './command.ts'
import { EXIT_CONFIG, EXIT_FINDINGS, EXIT_OK, EXIT_START } from './exit-codes.ts'
import type { FutureRequest } from './explain-future.ts'
import { askProxy } from './explain-past.ts'
import { configFile, loadOrReport, shownPath } from './load-config.ts'

export const explainCommand: Command = {
  name: 'explain',
  summary: 'why a request goes where it goes',
  usage: ["explain --config heddle.yaml [METHOD] URL [-H 'name: value']...", 'explain ID --config heddle.yaml'],
  description: `
With a URL: decides the request as the proxy would, with the same code, on the resources as they are now. Nothing is sent.
With an ID, which is the x-request-id of a request or, of role node, the id of a connection in the access log: asks the running proxy, whose
admin address is in heddle.yaml, what it did.

The proxy draws a random number to choose among weighted destinations and endpoints; here it is --draw, 0 unless given.
Where the client's address is hashed (consistentHash useSourceIp), \`-H 'x-forwarded-for: ADDRESS'\` says it.
`,
  flags: {
    config: CONFIG_FLAG,
    listener: {
      type: 'string',
      value: 'NAME',
      help: 'listener that would take the request; default: the first for outbound HTTP, else what captures',
    },
    header: { type: 'string', short: 'H', multiple: true, value: 'HEADER', help: '`name: value`; may be given several times' },
    claims: { type: 'string', value: 'JSON', help: 'claims of a valid token that the client would have: \'{"group": "admin"}\'' },
    draw: { type: 'string', value: 'N', help: 'the number that is drawn, 0 to 4294967295' },
    json: JSON_FLAG,
    ...bootstrapFlags(['resources', 'namespace', 'admin-address', 'admin-port']),
  },
  async run(args, io) {
    const past = args.positionals.length === 1 && !args.positionals[0]!.includes('/')
    const future = past
      ? null
      : futureOf(args.positionals, args.texts('header'), args.text('claims'), args.text('listener'), args.text('draw'))
    const bootstrap = await loadOrReport(configFile(args, io), bootstrapFlagValues(args), io)
    if (bootstrap === null) return EXIT_CONFIG
    if (future !== null) {
      const { explainFuture } = await import('./explain-future.ts')
      const result = explainFuture(bootstrap, future)
      if (!result.ok) return fail(io, result.message, EXIT_CONFIG)
      return print(result.explanation, args.has('json'), io)
    }
    const answer = await askProxy(bootstrap.admin, args.positionals[0]!)
    if (answer.kind === 'unreachable') return fail(io, answer.message, EXIT_START)
    if (answer.kind === 'unknown') return fail(io, answer.message, EXIT_FINDINGS)
    return print(answer.explanation, args.has('json'), io)
  },
}

function print(answer: Explanation | ExplainedConnection, json: boolean, io: CommandIo): number {
  // The proxy knows files by their absolute paths; who asks sits in a folder.
  const withPaths = JSON.stringify(answer, (key, value: unknown) => (key === 'file' ? shownPath(String(value)) : value))
  const explanation = JSON.parse(withPaths) as Explanation | ExplainedConnection
  io.stdout.write(json ? `${JSON.stringify(explanation, null, 1)}\n` : textOf(explanation))
  return EXIT_OK
}

function textOf(explanation: Explanation | ExplainedConnection): string {
  return 'connections' in explanation ? explainedConnectionText(explanation) : explainText(explanation)
}

function fail(io: CommandIo, message: string, code: number): number {
  io.stderr.write(`heddle explain: ${message}\n`)
  return code
}

/** Throws UsageError. */
function futureOf(
  positionals: readonly string[],
  headers: readonly string[],
  claims: string | null,
  listener: string | null,
  draw: string | null,
): FutureRequest {
  if (positionals.length === 0) throw new UsageError('which request? heddle explain http://host/path, or heddle explain ID')
  if (positionals.length > 2) throw new UsageError(`too many arguments: ${positionals.slice(2).join(' ')}`)
  const [method, target] = positionals.length === 2 ? [positionals[0]!, positionals[1]!] : ['GET', positionals[0]!]
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(method)) throw new UsageError(`${method} is not a method; heddle explain METHOD URL`)
  const parts = /^(https?):\/\/([^/?#]+)([^#]*)/i.exec(target)
  if (parts === null) throw new UsageError(`${target} is not a URL; expected http://host/path`)
  const number = draw === null ? 0 : Number(draw)
  if (!Number.isInteger(number) || number < 0 || number > 0xffffffff)
    throw new UsageError('--draw takes a whole number from 0 to 4294967295')
  return {
    method,
    scheme: parts[1]!.toLowerCase(),
    authority: parts[2]!,
    target: parts[3]!.startsWith('/') ? parts[3]! : `/${parts[3]!}`,
    headers: headers.map(headerOf),
    claims: claims === null ? null : claimsOf(claims),
    listener,
    draw: number,
  }
}

function claimsOf(text: string): JsonObject {
  try {
    const claims: unknown = JSON.parse(text)
    if (typeof claims === 'object' && claims !== null && !Array.isArray(claims)) return claims as JsonObject
  } catch {
    // Told below.
  }
  throw new UsageError(`--claims takes a JSON object, such as '{"sub": "ada"}'`)
}

function headerOf(text: string): readonly [name: string, value: string] {
  const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(text)
  if (parts === null) throw new UsageError(`\`${text}\` is not a header; expected \`name: value\``)
  return [parts[1]!, parts[2]!]
}
