import { readFileSync } from 'node:fs'
import { parseDuration } from '../base/duration.ts'
import { BACKENDS, type BackendName } from '../interception/choose-filter.ts'
import { parseAnnotations } from '../interception/given-settings.ts'
import { SETTING_KEYS, SETTINGS, type SettingSpec } from '../interception/setting-table.ts'
import { InterceptionError } from '../interception/system-command.ts'
import { type Arguments, type Command, type CommandIo, type FlagSpec, UsageError } from './command.ts'
import { EXIT_START } from './exit-codes.ts'
import { type Action, type IptablesRequest, iptablesAction } from './iptables-actions.ts'
import { ISTIO_LOG_FLAGS } from './istio-log-flags.ts'

/** Settings whose flags take no value. */
const SWITCHES: ReadonlySet<string> = new Set(
  SETTING_KEYS.map((key) => SETTINGS[key]).flatMap((s) => (s.value === '' ? [s.flag] : [])),
)
const ACTIONS: readonly Action[] = ['apply', 'clean', 'print']

export const iptablesCommand: Command = {
  name: 'iptables',
  summary: 'rules that lead connections into the proxy',
  usage: ['iptables apply [flags]', 'iptables clean [flags]', 'iptables print [flags]'],
  description: `
apply brings Istio's rules for a pod into force, in the network namespace that it runs in; each table in one transaction. When they are
there already it does nothing. When other rules of this kind are there it changes nothing and ends with 1, unless --reconcile is given.
clean takes away what apply made and nothing else. print shows what apply would do, and needs no privileges.
Changing rules needs CAP_NET_ADMIN, and with iptables-legacy CAP_NET_RAW.

A flag goes before the environment variable that istio-iptables has for it, that before a pod annotation of --annotations, that before the
default. The flags of istio-iptables are understood: in an init container of Istio only the image has to be exchanged.
`,
  flags: flags(),
  run: async (args, io) => {
    const [action, ...more] = args.positionals
    if (action === undefined) throw new UsageError('what? heddle iptables apply, clean or print')
    if (!isAction(action)) throw new UsageError(`${action} is none of apply, clean and print`)
    if (more.length > 0) throw new UsageError(`too many arguments: ${more.join(' ')}`)
    return await act(action, args, io)
  },
}

/** `istio-iptables -p 15001 ...`, as Istio's injector writes it into an init container. */
export const istioIptablesCommand: Command = {
  ...iptablesCommand,
  name: 'istio-iptables',
  summary: 'iptables apply, under the name that Istio calls it by',
  usage: ['istio-iptables [flags]'],
  run: async (args, io) => {
    if (args.positionals.length > 0) throw new UsageError(`too many arguments: ${args.positionals.join(' ')}`)
    return await act('apply', args, io)
  },
}

/** `pilot-agent istio-clean-iptables`, which older versions of Istio have beside istio-iptables: hooks and scripts call it still. */
export const istioCleanIptablesCommand: Command = {
  ...iptablesCommand,
  name: 'istio-clean-iptables',
  summary: 'iptables clean, under the name that Istio called it by',
  usage: ['istio-clean-iptables [flags]'],
  run: async (args, io) => {
    if (args.positionals.length > 0) throw new UsageError(`too many arguments: ${args.positionals.join(' ')}`)
    return await act('clean', args, io)
  },
}

function flags(): Readonly<Record<string, FlagSpec>> {
  const settings = SETTING_KEYS.map((key): [string, FlagSpec] => {
    const spec: SettingSpec = SETTINGS[key]
    const { flag, short, aliases = [], value, help } = spec
    const shown = spec.default === '' || value === '' ? help : `${help}; default: ${spec.default}`
    const flagSpec: FlagSpec = { type: value === '' ? 'boolean' : 'string', value, help: shown, aliases }
    return [flag, short === undefined ? flagSpec : { ...flagSpec, short }]
  })
  const ignored: FlagSpec = { type: 'string', value: 'ANY', hidden: true, help: '' }
  const hiddenSwitch: FlagSpec = { type: 'boolean', value: '', hidden: true, help: '' }
  return {
    backend: { type: 'string', value: 'NAME', help: `${BACKENDS.join(', ')}; default: auto` },
    ...Object.fromEntries(settings),
    ambient: on("the rules of a pod without a proxy of its own, which the node's tunnel enters"),
    annotations: { type: 'string', value: 'FILE', help: 'annotations of the pod, as the downward API writes them' },
    'network-namespace': { type: 'string', value: 'FILE', help: 'the namespace to change, such as /proc/PID/ns/net' },
    reconcile: on('take other rules of this kind away first; no packet passes meanwhile'),
    force: { ...on('as --reconcile, also where the rules are in force already'), aliases: ['force-apply'] },
    'run-validation': on('then see whether a connection is captured; ends with 126 when not'),
    'skip-rule-apply': on('with --run-validation: only that'),
    'probe-port': { type: 'string', value: 'PORT', aliases: ['iptables-probe-port'], help: 'port for that; default: 15002' },
    'probe-timeout': { type: 'string', value: 'DURATION', help: 'how long it may take; default: 5s' },
    'dry-run': { ...on('apply: only print'), short: 'n' },
    // Of istio-iptables, with another form here.
    'cleanup-only': hiddenSwitch,
    'native-nftables': hiddenSwitch,
    'force-iptables-binary': { ...ignored, value: 'legacy|nft' },
    // And without any effect: families are found out, and there is no log.
    'dual-stack': hiddenSwitch,
    'cni-mode': hiddenSwitch,
    'iptables-trace-logging': hiddenSwitch,
    ...ISTIO_LOG_FLAGS,
  }
}

function on(help: string): FlagSpec {
  return { type: 'boolean', value: '', help }
}

async function act(action: Action, args: Arguments, io: CommandIo): Promise<number> {
  try {
    return await iptablesAction(requestOf(action, args, io), io)
  } catch (error) {
    if (!(error instanceof InterceptionError)) throw error
    io.stderr.write(`heddle iptables: ${error.message}\n`)
    return EXIT_START
  }
}

/** Throws UsageError. */
function requestOf(named: Action, args: Arguments, io: CommandIo): IptablesRequest {
  const has = (flag: string, variable: string) => args.has(flag) || /^(?:true|1)$/i.test(io.env[variable] ?? '')
  const action = named === 'apply' && has('cleanup-only', 'CLEANUP_ONLY') ? 'clean' : named
  return {
    action: action === 'apply' && args.has('dry-run') ? 'print' : action,
    backend: backendOf(args, io),
    ambient: args.has('ambient'),
    networkNamespace: args.text('network-namespace'),
    reconcile: has('reconcile', 'RECONCILE'),
    force: has('force', 'FORCE_APPLY'),
    validate: has('run-validation', 'RUN_VALIDATION'),
    skipApply: has('skip-rule-apply', 'SKIP_RULE_APPLY'),
    probePort: portOf(args.text('probe-port') ?? io.env['IPTABLES_PROBE_PORT'] ?? '15002'),
    probeTimeoutMs: timeoutOf(args.text('probe-timeout') ?? io.env['PROBE_TIMEOUT'] ?? '5s'),
    sources: {
      flag: (name) => (SWITCHES.has(name) && args.has(name) ? 'true' : args.text(name)),
      env: io.env,
      annotations: annotationsOf(args.text('annotations')),
    },
  }
}

function backendOf(args: Arguments, io: CommandIo): BackendName {
  const name = args.text('backend')
  if (name !== null) {
    if (!isBackend(name)) throw new UsageError(`--backend: expected ${BACKENDS.join(', ')}, got \`${name}\``)
    return name
  }
  if (args.has('native-nftables') || /^(?:true|1)$/i.test(io.env['NATIVE_NFTABLES'] ?? '')) return 'nft'
  const kind = args.text('force-iptables-binary') ?? io.env['FORCE_IPTABLES_BINARY'] ?? ''
  if (kind === '') return 'auto'
  if (kind !== 'legacy' && kind !== 'nft')
    throw new UsageError(`--force-iptables-binary: expected legacy or nft, got \`${kind}\``)
  return `iptables-${kind}`
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65535) throw new UsageError(`--probe-port: expected a port, got \`${text}\``)
  return port
}

function timeoutOf(text: string): number {
  const ms = parseDuration(text)
  if (ms === null || ms <= 0) throw new UsageError(`--probe-timeout: expected a duration such as 5s, got \`${text}\``)
  return ms
}

function annotationsOf(file: string | null): ReadonlyMap<string, string> {
  if (file === null) return new Map()
  try {
    return parseAnnotations(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new UsageError(`--annotations: ${(error as Error).message}`)
  }
}

function isAction(text: string): text is Action {
  return (ACTIONS as readonly string[]).includes(text)
}

function isBackend(text: string): text is BackendName {
  return (BACKENDS as readonly string[]).includes(text)
}
