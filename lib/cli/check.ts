import { existsSync } from 'node:fs'
import type { ResourceNote, ResourceState, ResourceStatus } from '../state/snapshot.ts'
import { bootstrapFlags, bootstrapFlagValues, CONFIG_FLAG, type Command, JSON_FLAG, UsageError } from './command.ts'
import { EXIT_CONFIG, EXIT_FINDINGS, EXIT_OK } from './exit-codes.ts'
import { configFile, loadOrReport, namedConfigFile, reportProblems, shownPath } from './load-config.ts'
import { type Paint, paintFor, type Style, table } from './terminal.ts'

export const checkCommand: Command = {
  name: 'check',
  summary: 'what would become of the resources',
  usage: ['check DIR... [--config heddle.yaml] [--json]', 'check --config heddle.yaml'],
  description: `
Loads resources as the proxy would and lists each object: in force, shadowed by another one, partly in force, refused, or waiting
for something; with the reason and its place. Without DIR the resources of heddle.yaml. With DIR and without --config the workload
of the defaults is assumed, in the namespace \`default\` or --namespace. Ends with 1 when something is refused.
Notes say where heddle holds retries back that Istio would make, because the upstream may have carried the request out already,
which hosts of healthChecks are no service, and where an outlierDetection can eject nobody because of its maxEjectionPercent.
`,
  flags: {
    config: { ...CONFIG_FLAG, help: `${CONFIG_FLAG.help} where no DIR is given` },
    json: JSON_FLAG,
    ...bootstrapFlags(['namespace']),
  },
  async run(args, io) {
    const folders = args.positionals
    const file = folders.length === 0 ? configFile(args, io) : namedConfigFile(args, io)
    if (folders.length === 0 && file === null) throw new UsageError('which resources? heddle check DIR')
    const missing = folders.filter((folder) => !existsSync(folder))
    for (const folder of missing) io.stderr.write(`heddle check: no such file or folder: ${folder}\n`)
    if (missing.length > 0) return EXIT_CONFIG
    const flags = folders.length === 0 ? bootstrapFlagValues(args) : { ...bootstrapFlagValues(args), resources: folders }
    const bootstrap = await loadOrReport(file, flags, io)
    if (bootstrap === null) return EXIT_CONFIG
    const { ResourceLoader } = await import('../resources/load.ts')
    const { statuses, problems, notes } = new ResourceLoader(bootstrap).load()
    const shown = statuses.map((status) => ({ ...status, file: shownPath(status.file) }))
    const faults = problems.map((problem) => ({ ...problem, file: shownPath(problem.file) }))
    const remarks = notes.map((note) => ({ ...note, file: shownPath(note.file) }))
    if (args.has('json')) io.stdout.write(`${JSON.stringify({ resources: shown, problems: faults, notes: remarks }, null, 1)}\n`)
    else {
      io.stdout.write(listing(shown, paintFor(io.stdout, io.env)))
      io.stdout.write(noteList(remarks))
      reportProblems(faults, io.stdout, paintFor(io.stdout, io.env))
    }
    return faults.length > 0 || statuses.some((s) => s.state === 'refused') ? EXIT_FINDINGS : EXIT_OK
  },
}

const STYLES: Readonly<Record<ResourceState, Style>> = {
  'in-force': 'green',
  shadowed: 'dim',
  partly: 'yellow',
  refused: 'red',
  waiting: 'yellow',
}

function listing(statuses: readonly ResourceStatus[], paint: Paint): string {
  if (statuses.length === 0) return 'no resources\n'
  const rows = statuses.map((s) => [
    s.state,
    s.kind || '?',
    s.namespace === '' ? s.name : `${s.namespace}/${s.name}`,
    `${s.file}:${s.line}:${s.column}`,
    s.reason,
  ])
  const all = [['STATE', 'KIND', 'NAME', 'WHERE', 'REASON'], ...rows]
  const text = table(all, (row, column, cell) => {
    if (row === 0) return paint('bold', cell)
    return column === 0 ? paint(STYLES[statuses[row - 1]!.state], cell) : cell
  })
  return `${text}\n\n${summary(statuses)}\n`
}

function noteList(notes: readonly ResourceNote[]): string {
  const lines = notes.map((n) => {
    const object = n.kind === 'bootstrap' ? n.name : `${n.kind} ${n.namespace === '' ? '' : `${n.namespace}/`}${n.name}`
    return `note: ${n.file}:${n.line}:${n.column}: ${object}${n.route === '' ? '' : `, route ${n.route}`}: ${n.message}\n`
  })
  return lines.join('')
}

function summary(statuses: readonly ResourceStatus[]): string {
  const counts = new Map<ResourceState, number>()
  for (const { state } of statuses) counts.set(state, (counts.get(state) ?? 0) + 1)
  return [...counts].map(([state, n]) => `${n} ${state}`).join(', ')
}
