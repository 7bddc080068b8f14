// `heddle iptables`: what its actions do, and how they tell it.
import { type BackendName, chooseFilter, installedFilters } from '../interception/choose-filter.ts'
import { type Applied, applyRules, type Cleaned, cleanRules, type Leftover } from '../interception/deploy.ts'
import { type GivenSettings, gatherSettings, type SettingSources } from '../interception/given-settings.ts'
import { hostFacts, mayChangeRules } from '../interception/host-facts.ts'
import { restoreText } from '../interception/iptables-text.ts'
import { nftScript, nftTables } from '../interception/nft-text.ts'
import { podRules } from '../interception/pod-rules.ts'
import { routesFor, routingSteps } from '../interception/policy-routing.ts'
import { probe, probeTargets } from '../interception/probe.ts'
import { type HostFacts, type ReadSettings, readPodSettings, readSidecarSettings } from '../interception/read-settings.ts'
import { FULL_MASK, type RuleSet } from '../interception/rule.ts'
import {
  INBOUND_SOURCE,
  POD_CONNECTION_MARK,
  POD_MARK_MASK,
  POD_ROUTE_TABLE,
  POD_RULE_PRIORITY,
  type SidecarSettings,
} from '../interception/settings.ts'
import { sidecarRules } from '../interception/sidecar-rules.ts'
import { InterceptionError, type RunCommand, systemCommands } from '../interception/system-command.ts'
import { type CommandIo, UsageError } from './command.ts'
import { EXIT_FINDINGS, EXIT_NOT_CAPTURED, EXIT_OK } from './exit-codes.ts'

export type Action = 'apply' | 'clean' | 'print'

export interface IptablesRequest {
  readonly action: Action
  readonly backend: BackendName
  readonly ambient: boolean
  readonly networkNamespace: string | null
  readonly reconcile: boolean
  readonly force: boolean
  readonly validate: boolean
  readonly skipApply: boolean
  readonly probePort: number
  readonly probeTimeoutMs: number
  readonly sources: SettingSources
}

/** The exit code. Throws UsageError and InterceptionError. */
export async function iptablesAction(request: IptablesRequest, io: CommandIo): Promise<number> {
  const run = systemCommands(request.networkNamespace)
  const given = gatherSettings(request.sources)
  const facts = await hostFacts(run, request.networkNamespace !== null)
  const sidecar = settingsOf(readSidecarSettings(given, facts), request.ambient ? null : io)
  const set = request.ambient ? podRules(settingsOf(readPodSettings(given, facts), io)) : sidecarRules(sidecar)
  if (request.action === 'print') {
    io.stdout.write(printed(set, request.backend, familiesReason(given, facts)))
    return EXIT_OK
  }
  if (request.action === 'apply' && request.skipApply) return await validate(request, sidecar, io)
  needPrivileges()
  if (request.action === 'clean') {
    const filters = request.backend === 'auto' ? await installedFilters(run) : [(await chooseFilter(request.backend, run)).chosen]
    tellCleaned(await cleanRules(filters, possibleRouting(sidecar), run), io)
    return EXIT_OK
  }
  const applied = await apply(request, set, sidecar, run, io)
  if (!applied) return EXIT_FINDINGS
  return request.validate ? await validate(request, sidecar, io) : EXIT_OK
}

/** `io`: where warnings go; null for settings that are read only for what they might have left. */
function settingsOf<S>(read: ReadSettings<S>, io: CommandIo | null): S {
  if (!read.ok) throw new UsageError(read.problems.join('\n        '))
  for (const warning of read.warnings) io?.stderr.write(`heddle iptables: warning: ${warning}\n`)
  return read.settings
}

function needPrivileges(): void {
  if (process.platform !== 'linux') throw new InterceptionError(`rules exist on Linux only, and this is ${process.platform}`)
  if (mayChangeRules() !== false) return
  throw new InterceptionError(
    'changing rules needs CAP_NET_ADMIN: run as root, or in Kubernetes with securityContext.capabilities.add: [NET_ADMIN, NET_RAW]',
  )
}

async function apply(
  request: IptablesRequest,
  set: RuleSet,
  sidecar: SidecarSettings,
  run: RunCommand,
  io: CommandIo,
): Promise<boolean> {
  const filters = await chooseFilter(request.backend, run)
  const { reconcile, force } = request
  const applied = await applyRules(set, filters, run, { reconcile, force, possible: possibleRouting(sidecar) })
  return tellApplied(applied, filters.chosen.name, set, io)
}

/** Marks, tables and addresses of every set that these settings, or no settings, make. */
function possibleRouting({ tproxyMark, tproxyRouteTable }: SidecarSettings): Pick<RuleSet, 'routes' | 'loopbackAddresses'> {
  const sidecar = { mark: tproxyMark, mask: FULL_MASK, table: tproxyRouteTable, priority: null }
  const pod = { mark: POD_CONNECTION_MARK, mask: POD_MARK_MASK, table: POD_ROUTE_TABLE, priority: POD_RULE_PRIORITY }
  return { routes: routesFor([sidecar, pod]), loopbackAddresses: [`${INBOUND_SOURCE.ipv6}/128`] }
}

/** Whether the rules are in force. */
function tellApplied(applied: Applied, filter: string, set: RuleSet, io: CommandIo): boolean {
  const what = `${set.kind === 'pod' ? 'ambient ' : ''}rules for ${set.families.map(familyName).join(' and ')} (${filter})`
  switch (applied.kind) {
    case 'present':
      io.stdout.write(`the ${what} are in force already; nothing done\n`)
      return true
    case 'applied':
      if (applied.replaced.length > 0)
        io.stdout.write(`taken away: other rules of ${applied.replaced.map((l) => l.filter).join(', ')}\n`)
      io.stdout.write(applied.routing ? `the ${what} were in force; routes and addresses added\n` : `the ${what} are in force\n`)
      if (applied.unreadable.length > 0) {
        io.stderr.write(`heddle iptables: warning: ${filter} lists them in a form that the next run will take for other rules\n`)
        io.stderr.write(indented(applied.unreadable))
      }
      return true
    case 'leftovers':
      io.stderr.write('heddle iptables: other rules of this kind are there; nothing done. --reconcile takes them away first.\n')
      for (const leftover of applied.leftovers) io.stderr.write(leftoverText(leftover))
      return false
  }
}

function tellCleaned({ filters, routing }: Cleaned, io: CommandIo): void {
  if (filters.length === 0 && routing.length === 0) io.stdout.write('no rules of ours are there; nothing done\n')
  for (const { filter } of filters) io.stdout.write(`rules taken away (${filter})\n`)
  for (const step of routing) io.stdout.write(`ip ${step.join(' ')}\n`)
}

function leftoverText({ filter, details }: Leftover): string {
  return `  ${filter}\n${indented(details)}`
}

function indented(lines: readonly string[]): string {
  return lines.map((line) => `    ${line}\n`).join('')
}

function printed(set: RuleSet, backend: BackendName, note: string): string {
  const steps = routingSteps(set).map((step) => `# ip ${step.join(' ')}\n`)
  const rules =
    backend === 'nft'
      ? `# nft -f -\n${nftScript(nftTables(set), [], true)}`
      : set.families.map((f) => `# ip${f === 'ipv6' ? '6' : ''}tables-restore --noflush\n${restoreText(set, f, true)}`).join('')
  return `${note}${steps.join('')}${rules}`
}

function familiesReason({ ipv6 }: GivenSettings, facts: HostFacts): string {
  if (ipv6.text !== 'auto') return ''
  return `# --ipv6 auto: ${facts.ipv6 ? 'an interface has' : 'no interface has'} an IPv6 address that others can reach\n`
}

function familyName(family: 'ipv4' | 'ipv6'): string {
  return family === 'ipv4' ? 'IPv4' : 'IPv6'
}

/** The exit code. */
async function validate(request: IptablesRequest, settings: SidecarSettings, io: CommandIo): Promise<number> {
  const { networkNamespace, probePort, probeTimeoutMs, ambient } = request
  if (networkNamespace !== null || ambient)
    throw new UsageError("--run-validation works in our own network namespace, on a sidecar's rules")
  const targets = probeTargets(settings, { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 })
  if (targets.length === 0) io.stdout.write('nothing to validate: no connection of this user is captured\n')
  for (const target of targets) {
    const result = await probe(target, probePort, probeTimeoutMs)
    if (!result.ok) {
      io.stderr.write(`heddle iptables: connections are not captured: ${result.reason}\n`)
      return EXIT_NOT_CAPTURED
    }
    io.stdout.write(`captured: ${result.what}\n`)
  }
  return EXIT_OK
}
