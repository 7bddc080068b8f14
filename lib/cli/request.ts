import { request } from 'node:http'
import { type Command, UsageError } from './command.ts'
import { EXIT_OK, EXIT_START } from './exit-codes.ts'

const TIMEOUT_MS = 60_000
const ADMIN_PORT = '15000'

interface Answer {
  readonly status: number
  readonly body: Buffer
}

export const requestCommand: Command = {
  name: 'request',
  summary: 'ask the admin page or the agent of a proxy on this machine',
  usage: ['request METHOD PATH [BODY] [flags]'],
  description: `
For lifecycle hooks and for scripts, as pilot-agent request: prints the answer and nothing else. Ends with ${EXIT_START} when there is none, or when its status is 400 or above.
  heddle request GET config_dump
  heddle request --debug-port=15020 POST drain
`,
  flags: {
    'debug-port': { type: 'string', value: 'PORT', help: `of localhost; default: ${ADMIN_PORT}, the admin page` },
  },
  async run(args, io) {
    const [method = '', path = '', body = '', ...more] = args.positionals
    if (path === '') throw new UsageError('what? heddle request METHOD PATH, such as GET config_dump')
    if (more.length > 0) throw new UsageError(`too many arguments: ${more.join(' ')}`)
    if (!/^[A-Za-z]+$/.test(method)) throw new UsageError(`${method} is no method`)
    if (/[^!-~]/.test(path)) throw new UsageError(`${path} is no path`)
    const port = Number(args.text('debug-port') ?? ADMIN_PORT)
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new UsageError('--debug-port: expected a port')
    try {
      const answer = await ask(port, method.toUpperCase(), path.startsWith('/') ? path : `/${path}`, body)
      if (answer.status < 400) {
        io.stdout.write(answer.body.toString())
        return EXIT_OK
      }
      io.stderr.write(`heddle request: it answered ${answer.status}: ${answer.body.toString().trim()}\n`)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      io.stderr.write(`heddle request: nobody answered on localhost:${port}: ${message || code}\n`)
    }
    return EXIT_START
  },
}

function ask(port: number, method: string, path: string, body: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: 'localhost', port, method, path, agent: false, timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }))
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer within a minute')))
    sent.on('error', reject)
    sent.end(body)
  })
}
