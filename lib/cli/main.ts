// The command line: finds the command, loads only it, and turns what goes wrong into a message and an exit code.
import { nearest } from '../base/nearest.ts'
import { type Command, type CommandIo, helpText, readArguments, UsageError } from './command.ts'
import { EXIT_BUG, EXIT_CODES, EXIT_OK, EXIT_USAGE } from './exit-codes.ts'

interface Entry {
  readonly summary: string
  readonly load: () => Promise<Command>
}

const COMMANDS: Readonly<Record<string, Entry>> = {
  run: { summary: 'run the proxy', load: async () => (await import('./run.ts')).runCommand },
  dev: { summary: 'run a small mesh on this machine, to try things', load: async () => (await import('./dev.ts')).devCommand },
  check: { summary: 'what would become of the resources', load: async () => (await import('./check.ts')).checkCommand },
  explain: { summary: 'why a request goes where it goes', load: async () => (await import('./explain.ts')).explainCommand },
  ca: {
    summary: 'make the certificates of a mesh, for a laptop or a test',
    load: async () => (await import('./ca.ts')).caCommand,
  },
  iptables: {
    summary: 'rules that lead connections into the proxy',
    load: async () => (await import('./iptables.ts')).iptablesCommand,
  },
  'istio-iptables': {
    summary: 'iptables apply, under the name that Istio calls it by',
    load: async () => (await import('./iptables.ts')).istioIptablesCommand,
  },
  'istio-clean-iptables': {
    summary: 'iptables clean, under the name that Istio called it by',
    load: async () => (await import('./iptables.ts')).istioCleanIptablesCommand,
  },
  xds: {
    summary: 'how it stands with the control plane, and what one sends',
    load: async () => (await import('./xds.ts')).xdsCommand,
  },
  top: {
    summary: 'what of its configuration the proxy has used, and what that takes',
    load: async () => (await import('./top.ts')).topCommand,
  },
  proxy: {
    summary: "run in the place of Istio's pilot-agent and Envoy",
    load: async () => (await import('./proxy.ts')).proxyCommand,
  },
  wait: { summary: 'wait until a proxy on this machine is ready', load: async () => (await import('./wait.ts')).waitCommand },
  request: {
    summary: 'ask the admin page or the agent of a proxy on this machine',
    load: async () => (await import('./request.ts')).requestCommand,
  },
  version: { summary: 'which heddle this is', load: async () => (await import('./version.ts')).versionCommand },
}

/** Never rejects. The result is the exit code. */
export async function main(argv: readonly string[], io: CommandIo = processIo()): Promise<number> {
  const [name, ...rest] = argv
  try {
    if (name === undefined) {
      io.stderr.write(overview())
      return EXIT_USAGE
    }
    if (name === '--help' || name === '-h' || name === 'help') return await help(rest[0], io)
    const command = await commandOf(name === '--version' || name === '-V' ? 'version' : name)
    const args = readArguments(command, rest)
    if (args.has('help')) {
      io.stdout.write(helpText(command))
      return EXIT_OK
    }
    return await command.run(args, io)
  } catch (error) {
    if (!(error instanceof UsageError)) {
      io.stderr.write(`heddle: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
      return EXIT_BUG
    }
    const known = name !== undefined && Object.hasOwn(COMMANDS, name)
    io.stderr.write(`heddle: ${error.message}\nSee heddle ${known ? `${name} ` : ''}--help.\n`)
    return EXIT_USAGE
  }
}

async function help(name: string | undefined, io: CommandIo): Promise<number> {
  io.stdout.write(name === undefined || name.startsWith('-') ? overview() : helpText(await commandOf(name)))
  return EXIT_OK
}

function commandOf(name: string): Promise<Command> {
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (entry !== undefined) return entry.load()
  if (name.startsWith('-')) throw new UsageError(`a command comes before its flags; ${name} is not a command`)
  const near = nearest(name, [...Object.keys(COMMANDS), 'help'])
  throw new UsageError(`unknown command ${name}${near === null ? '' : `; did you mean ${near}?`}`)
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length)) + 2
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}${summary}`)
  const codes = EXIT_CODES.map(([code, meaning]) => `  ${String(code).padEnd(width)}${meaning}`)
  return `heddle: a service-mesh data plane that can explain every decision it makes

  heddle <command> [arguments]
  heddle <command> --help

Commands:
${commands.join('\n')}

Exit codes:
${codes.join('\n')}
`
}

function processIo(): CommandIo {
  // `heddle check | head`: who reads has read enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
  return { stdout: process.stdout, stderr: process.stderr, env: process.env }
}
