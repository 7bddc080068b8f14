import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { stringify } from 'yaml'
import { ConfigThread } from '../server/config-thread.ts'
import { type AgentRole, istioBootstrap } from '../xds/agent/istio-bootstrap.ts'
import { bootstrapFlags, bootstrapFlagValues, type Command, type FlagSpec, UsageError } from './command.ts'
import { EXIT_CONFIG, EXIT_OK } from './exit-codes.ts'
import { ISTIO_LOG_FLAGS } from './istio-log-flags.ts'
import { loadOrReport } from './load-config.ts'
import { runProxy } from './run.ts'

const ROLES: readonly AgentRole[] = ['sidecar', 'router', 'waypoint', 'ztunnel']
/** What messages name in place of heddle.yaml. */
const SOURCE = "Istio's environment"

const understood = (value: string, help: string): FlagSpec => ({ type: 'string', value, help })
const ignored: FlagSpec = { type: 'string', value: 'VALUE', hidden: true, help: '' }

export const proxyCommand: Command = {
  name: 'proxy',
  summary: "run in the place of Istio's pilot-agent and Envoy",
  usage: ['proxy sidecar [flags]', 'proxy router [flags]', 'proxy waypoint [flags]', 'proxy ztunnel'],
  description: `
As run, with a heddle.yaml that is made of pilot-agent's arguments, of the environment and of the files that Istio's injection template gives a pod: in such a pod
only the image has to be exchanged. docs/istio-pods.md says what becomes of each variable; variables of heddle and the flags below win over them.
`,
  flags: {
    'print-config': { type: 'boolean', value: '', help: 'only print the heddle.yaml that is made' },
    domain: understood('DOMAIN', 'DNS domain of the pod: NAMESPACE.svc.cluster.local'),
    proxyLogLevel: understood('LEVEL', 'debug and trace make heddle tell more'),
    ...ISTIO_LOG_FLAGS,
    log_output_level: understood('SCOPE:LEVEL', 'debug, info, warn or error, of the scope default'),
    serviceCluster: understood('NAME', 'of a waypoint whose pod has no label with its name'),
    ...bootstrapFlags(),
    // Of pilot-agent, without any effect here.
    ...Object.fromEntries(
      [
        ...['proxyComponentLogLevel', 'meshConfig', 'outlierLogPath', 'stsPort', 'templateFile', 'tokenManagerPlugin'],
        'profiling',
      ].map((name) => [name, ignored]),
    ),
  },
  async run(args, io) {
    const [named = 'sidecar', ...more] = args.positionals
    const role = ROLES.find((r) => r === named)
    if (role === undefined) throw new UsageError(`${named} is none of ${ROLES.join(', ')}`)
    if (more.length > 0) throw new UsageError(`too many arguments: ${more.join(' ')}`)
    const flags = Object.fromEntries(
      ['domain', 'proxyLogLevel', 'log_output_level', 'serviceCluster', 'concurrency'].map((f) => [f, args.text(f) ?? undefined]),
    )
    const { document, notes, problems } = istioBootstrap(
      { role, flags },
      {
        env: io.env,
        labels: textOrNull('/etc/istio/pod/labels'),
        annotations: textOrNull('/etc/istio/pod/annotations'),
        meshConfig: textOrNull('/etc/istio/config/mesh'),
        exists: existsSync,
        cpus: availableParallelism(),
      },
    )
    for (const note of notes) io.stderr.write(`warning ${SOURCE}: ${note}\n`)
    for (const problem of problems) io.stderr.write(`error ${SOURCE}: ${problem}\n`)
    if (problems.length > 0) return EXIT_CONFIG
    const text = stringify(document, { lineWidth: 0 })
    if (args.has('print-config')) {
      io.stdout.write(text)
      return EXIT_OK
    }
    const thread = new ConfigThread()
    const read = (file: string | null, env: typeof io.env, given: ReturnType<typeof bootstrapFlagValues>) =>
      thread.loadBootstrap(file, env, given, text)
    const bootstrap = await loadOrReport(SOURCE, bootstrapFlagValues(args), io, read)
    return await runProxy(bootstrap, thread)
  },
}

function textOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}
