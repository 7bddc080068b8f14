// What lies beside the rules: routes that lead marked packets to the loopback interface, and addresses that it needs.
import { FAMILIES, type Family, FULL_MASK, type PolicyRoute, type RuleSet } from './rule.ts'
import { complaint, InterceptionError, mustRun, type RunCommand } from './system-command.ts'

/** A step of `ip`, with the family's option first. */
type Step = readonly string[]

const EVERYTHING: Readonly<Record<Family, string>> = { ipv4: '0.0.0.0/0', ipv6: '::/0' }

/** What `apply` would do on a machine that has none of it. */
export function routingSteps({ routes, loopbackAddresses }: Pick<RuleSet, 'routes' | 'loopbackAddresses'>): readonly Step[] {
  return [
    ...loopbackAddresses.map((address) => ['-6', 'addr', 'add', address, 'dev', 'lo']),
    ...routes.flatMap((route) => [routeStep('add', route), ruleStep('add', route)]),
  ]
}

function ruleStep(verb: 'add' | 'del', { family, mark, mask, table, priority }: PolicyRoute): Step {
  const wanted = mask === FULL_MASK ? hex(mark) : `${hex(mark)}/${hex(mask)}`
  const order = priority === null ? [] : ['priority', String(priority)]
  return [option(family), 'rule', verb, 'fwmark', wanted, ...order, 'lookup', String(table)]
}

function routeStep(verb: 'add' | 'del', { family, table }: PolicyRoute): Step {
  return [option(family), 'route', verb, 'local', EVERYTHING[family], 'dev', 'lo', 'table', String(table)]
}

/** Does what is missing; the steps that it took. Throws InterceptionError. */
export async function applyRouting(
  set: Pick<RuleSet, 'routes' | 'loopbackAddresses'>,
  run: RunCommand,
): Promise<readonly Step[]> {
  const missing = await missingSteps(set, run)
  for (const step of missing) await mustRun(run, 'ip', step)
  return missing
}

export async function missingSteps(
  set: Pick<RuleSet, 'routes' | 'loopbackAddresses'>,
  run: RunCommand,
): Promise<readonly Step[]> {
  if (set.routes.length === 0 && set.loopbackAddresses.length === 0) return []
  const steps: Step[] = []
  for (const address of set.loopbackAddresses)
    if (!(await hasAddress(address, run))) steps.push(['-6', 'addr', 'add', address, 'dev', 'lo'])
  for (const route of set.routes) {
    if (!(await hasRoute(route, run))) steps.push(routeStep('add', route))
    if (!(await hasRule(route, run))) steps.push(ruleStep('add', route))
  }
  return steps
}

/** Takes away what is exactly as we make it; the steps that it took. A route goes with its rule, so that nobody else's does. */
export async function cleanRouting(
  { routes, loopbackAddresses }: Pick<RuleSet, 'routes' | 'loopbackAddresses'>,
  run: RunCommand,
): Promise<readonly Step[]> {
  const steps: Step[] = []
  // Without `ip` there is nothing that we could have made.
  if ((await run('ip', ['-V'])).code === null) return steps
  for (const route of routes) {
    if (!(await hasRule(route, run))) continue
    steps.push(ruleStep('del', route))
    if (await hasRoute(route, run)) steps.push(routeStep('del', route))
  }
  for (const address of loopbackAddresses)
    if (await hasAddress(address, run)) steps.push(['-6', 'addr', 'del', address, 'dev', 'lo'])
  for (const step of steps) await mustRun(run, 'ip', step)
  return steps
}

async function hasRule({ family, mark, mask, table, priority }: PolicyRoute, run: RunCommand): Promise<boolean> {
  const shown = mask === FULL_MASK ? hex(mark) : `${hex(mark)}/${hex(mask)}`
  const lines = (await listed(run, [option(family), 'rule', 'show'])).split('\n').map((line) => line.trim())
  return lines.some((line) => {
    const parts = /^(\d+):\s+from all fwmark (\S+) lookup (\S+)$/.exec(line)
    return (
      parts !== null && parts[2] === shown && parts[3] === String(table) && (priority === null || parts[1] === String(priority))
    )
  })
}

async function hasRoute({ family, table }: PolicyRoute, run: RunCommand): Promise<boolean> {
  // A table that nobody has used is an error to some versions.
  const { code, stdout } = await run('ip', [option(family), 'route', 'show', 'table', String(table)])
  return code === 0 && /^local (?:default|::\/0|0\.0\.0\.0\/0) dev lo\b/m.test(stdout)
}

async function hasAddress(address: string, run: RunCommand): Promise<boolean> {
  const text = await listed(run, ['-6', 'addr', 'show', 'dev', 'lo'])
  return text.split(/\s+/).includes(address)
}

async function listed(run: RunCommand, args: Step): Promise<string> {
  const result = await run('ip', args)
  if (result.code === 0) return result.stdout
  if (result.code === null)
    throw new InterceptionError('ip is not installed here (package iproute2), and routes or addresses are needed')
  throw new InterceptionError(`ip ${args.join(' ')}: ${complaint(result)}`)
}

/** For `clean`: routes that a set of these marks and tables can have, in both families. */
export function routesFor(routes: readonly Omit<PolicyRoute, 'family'>[]): readonly PolicyRoute[] {
  return FAMILIES.flatMap((family) => routes.map((route) => ({ ...route, family })))
}

function option(family: Family): string {
  return family === 'ipv4' ? '-4' : '-6'
}

function hex(n: number): string {
  return `0x${n.toString(16)}`
}
