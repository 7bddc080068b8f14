// Bringing a rule set into force once, and taking everything of ours away.
import type { Filters } from './choose-filter.ts'
import type { Inspection, PacketFilter } from './packet-filter.ts'
import { applyRouting, cleanRouting, missingSteps } from './policy-routing.ts'
import type { RuleSet } from './rule.ts'
import { InterceptionError, type RunCommand } from './system-command.ts'

/** Other rules of ours: in the chosen filter, or in another one. */
export interface Leftover {
  readonly filter: string
  readonly details: readonly string[]
}

export type Applied =
  /** Nothing was done. */
  | { readonly kind: 'present' }
  /** `routing`: only routes or addresses were missing. `unreadable`: listed back in a form that a second run will not know. */
  | {
      readonly kind: 'applied'
      readonly routing: boolean
      readonly replaced: readonly Leftover[]
      readonly unreadable: readonly string[]
    }
  /** Nothing was done: what is there has to be taken away first. */
  | { readonly kind: 'leftovers'; readonly leftovers: readonly Leftover[] }

export interface ApplyOptions {
  /** Take leftovers away first, while no packet passes. */
  readonly reconcile: boolean
  /** Put the rules in anew even where they are there. */
  readonly force: boolean
  /** Routes and addresses that an earlier set of ours may have left. */
  readonly possible: Routing
}

type Routing = Pick<RuleSet, 'routes' | 'loopbackAddresses'>

/** Throws InterceptionError. */
export async function applyRules(
  set: RuleSet,
  { chosen, others }: Filters,
  run: RunCommand,
  { reconcile, force, possible }: ApplyOptions,
): Promise<Applied> {
  const here = await chosen.inspect(set)
  const elsewhere = await inspectAll(others)
  const leftovers = [...(here.verdict === 'differs' ? [leftover(chosen, here)] : []), ...elsewhere]
  const again = force && here.verdict === 'same'
  if (leftovers.length > 0 && !reconcile && !force) return { kind: 'leftovers', leftovers }
  if (leftovers.length === 0 && !again && here.verdict === 'same') {
    if ((await missingSteps(set, run)).length === 0) return { kind: 'present' }
    await applyRouting(set, run)
    return { kind: 'applied', routing: true, replaced: [], unreadable: [] }
  }
  if (leftovers.length > 0 || again) {
    await replace(set, chosen, others, run, possible)
  } else {
    // Marked packets have to have somewhere to go before there are any.
    await applyRouting(set, run)
    await chosen.apply(set)
  }
  const read = await chosen.inspect(set)
  return { kind: 'applied', routing: false, replaced: leftovers, unreadable: read.verdict === 'same' ? [] : read.details }
}

/** Nothing passes meanwhile: what is captured must not get out as it is. */
async function replace(
  set: RuleSet,
  chosen: PacketFilter,
  others: readonly PacketFilter[],
  run: RunCommand,
  possible: Routing,
): Promise<void> {
  const filters = [chosen, ...(await readable(others))]
  await chosen.guard(set.families)
  // If a step fails the guard stays: a pod without its rules is not let loose. `clean` takes it away.
  for (const filter of filters) await filter.clean()
  await cleanRouting(possible, run)
  await applyRouting(set, run)
  await chosen.apply(set)
  for (const filter of filters) await filter.unguard()
}

export interface Cleaned {
  readonly filters: readonly Leftover[]
  /** Commands of `ip` that were run. */
  readonly routing: readonly (readonly string[])[]
}

/** `routing`: which routes and addresses may be ours. Throws InterceptionError. */
export async function cleanRules(filters: readonly PacketFilter[], routing: Routing, run: RunCommand): Promise<Cleaned> {
  const found = await inspectAll(filters)
  for (const filter of filters.filter(({ name }) => found.some((f) => f.filter === name))) {
    await filter.clean()
    await filter.unguard()
  }
  return { filters: found, routing: await cleanRouting(routing, run) }
}

/** One that does not even list its rules has no rules in force: the kernel knows nothing of it. */
async function inspectAll(filters: readonly PacketFilter[]): Promise<readonly Leftover[]> {
  const found: Leftover[] = []
  for (const filter of await readable(filters)) {
    const inspection = await filter.inspect(null)
    if (inspection.verdict !== 'absent') found.push(leftover(filter, inspection))
  }
  return found
}

async function readable(filters: readonly PacketFilter[]): Promise<readonly PacketFilter[]> {
  const listed = await Promise.all(filters.map((filter) => filter.inspect(null).then(() => true, isRefusal)))
  return filters.filter((_filter, i) => listed[i])
}

function isRefusal(error: unknown): false {
  if (error instanceof InterceptionError) return false
  throw error
}

function leftover(filter: PacketFilter, { details }: Inspection): Leftover {
  return { filter: filter.name, details }
}
