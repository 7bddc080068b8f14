// heddle xds status: how it stands with the control plane, as its proxy says it, for people.
import type { FedNote } from '../admin/admin-source.ts'
import type { AdsStatus, TypeStatus } from '../xds/client/ads-status.ts'
import { adminAddress, askAdmin } from './ask-admin.ts'
import type { Arguments, CommandIo } from './command.ts'
import { EXIT_CONFIG, EXIT_FINDINGS, EXIT_OK, EXIT_START } from './exit-codes.ts'
import { type Paint, paintFor, table } from './terminal.ts'

/** `/control_plane`. */
export type ControlPlaneStatus = AdsStatus & { readonly warming: readonly string[]; readonly notes: readonly FedNote[] }

export async function xdsStatus(args: Arguments, io: CommandIo): Promise<number> {
  const fail = (message: string, code: number): number => {
    io.stderr.write(`heddle xds status: ${message}\n`)
    return code
  }
  const admin = await adminAddress(args, io)
  if (admin === null) return EXIT_CONFIG
  const answer = await askAdmin(admin, '/control_plane')
  if (answer.kind === 'unreachable') return fail(answer.message, EXIT_START)
  if (answer.status !== 200) return fail(answer.body.trim(), EXIT_FINDINGS)
  const status = JSON.parse(answer.body) as ControlPlaneStatus
  io.stdout.write(args.has('json') ? answer.body : statusText(status, Date.now(), paintFor(io.stdout, io.env)))
  return isWell(status) ? EXIT_OK : EXIT_FINDINGS
}

function isWell({ state, types }: ControlPlaneStatus): boolean {
  return state === 'connected' && types.every((type) => type.answer !== 'NACK' && type.refused.length === 0)
}

/** `nowMs`: epoch. */
export function statusText(status: ControlPlaneStatus, nowMs: number, paint: Paint): string {
  const { types, warming, notes } = status
  const asked = types.filter((type) => type.interest !== 'names' || type.names > 0 || type.responses > 0)
  const rows = asked.map((type) => typeRow(type, nowMs))
  const header = ['TYPE', 'STATE', 'RESOURCES', 'LAST RESPONSE', 'VERSION']
  const painted = (row: number, column: number, cell: string): string =>
    row === 0 ? paint('dim', cell) : column === 1 ? paint(cell.startsWith('NACK') ? 'red' : 'green', cell) : cell
  return [
    connectionText(status, nowMs, paint),
    `node ${status.nodeId}`,
    ...(status.controlPlane === '' ? [] : [`it says that it is ${status.controlPlane}`]),
    '',
    table([header, ...rows], painted),
    ...asked.flatMap(refusals).map((line) => paint('red', line)),
    ...(warming.length === 0
      ? []
      : ['', 'waiting, the version before it serves where there is one:', ...warming.map((w) => `  ${w}`)]),
    ...(notes.length === 0 ? [] : ['', 'accepted, and without effect here:', ...notes.map(noteText)]),
    '',
  ].join('\n')
}

const STATES: Readonly<Record<AdsStatus['state'], string>> = {
  connected: 'connected since',
  connecting: 'connecting since',
  waiting: 'away since',
  stopped: 'stopped since',
}

function connectionText(
  { address, state, sinceMs, lastError, failures }: ControlPlaneStatus,
  nowMs: number,
  paint: Paint,
): string {
  const since = sinceMs === 0 ? 'the start' : `${new Date(sinceMs).toISOString()} (${ago(sinceMs, nowMs)})`
  const why = state === 'connected' || lastError === '' ? '' : `: ${lastError}`
  const tries = state === 'connected' || failures === 0 ? '' : `; ${failures} tries since the last answer`
  const kept = state === 'connected' ? '' : '; what is in force stays'
  return `control plane ${address}: ${paint(state === 'connected' ? 'green' : 'yellow', STATES[state])} ${since}${why}${tries}${kept}`
}

function typeRow(type: TypeStatus, nowMs: number): string[] {
  const { short, answer, resources, version, source, lastResponseMs } = type
  // SYNCED, as istioctl proxy-status has it: the last response is acknowledged.
  const state = { ACK: 'SYNCED', NACK: 'NACK', waiting: source === 'disk' ? 'from disk' : 'waiting' }[answer]
  return [short, state, String(resources), lastResponseMs === 0 ? 'never' : ago(lastResponseMs, nowMs), version]
}

/** What is refused now, or of the last NACK where it named no resource. */
function refusals({ short, answer, refused, lastNack }: TypeStatus): string[] {
  const named = refused.map(({ name, reason }) => `  ${short} refused ${name}: ${reason}`)
  return named.length > 0 || answer !== 'NACK' ? named : [`  ${short} refused: ${lastNack?.text ?? ''}`]
}

function noteText({ short, text, resources, example }: FedNote): string {
  return `  ${short} ${example}${resources === 1 ? '' : ` and ${resources - 1} more`}: ${text}`
}

function ago(ms: number, nowMs: number): string {
  const s = Math.max(0, Math.round((nowMs - ms) / 1000))
  if (s < 120) return `${s} s ago`
  return s < 7200 ? `${Math.round(s / 60)} min ago` : `${Math.round(s / 3600)} h ago`
}
