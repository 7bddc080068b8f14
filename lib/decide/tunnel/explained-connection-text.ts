// A connection of a node's tunnel, explained for a terminal.
import { originText } from '../../state/origin.ts'
import type { ExplainedConnection } from '../explanation.ts'

export function explainedConnectionText({ id, connections }: ExplainedConnection): string {
  return connections.map((c) => `${headOf(id, c)}${stepsOf(c)}  ${outcomeOf(c)}\n`).join('\n')
}

type Connection = ExplainedConnection['connections'][number]

function headOf(id: string, c: Connection): string {
  return `${c.direction} connection ${id} from ${c.source}, ${c.at}, ${c.tookMs} ms\n`
}

function stepsOf({ steps }: Connection): string {
  return steps.map(({ text, object }) => `  ${text}${object === null ? '' : `  [${placeOf(object)}]`}\n`).join('')
}

/** What a control plane sent has no place in a file. */
function placeOf(object: NonNullable<Connection['steps'][number]['object']>): string {
  return object.file === '' ? originText(object) : `${object.file}:${object.line}`
}

function outcomeOf({ error, bytesSent, bytesReceived }: Connection): string {
  const bytes = `${bytesSent} bytes sent, ${bytesReceived} received`
  return error === '' ? `ended well: ${bytes}` : `${error}: ${bytes}`
}
