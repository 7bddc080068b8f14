// What a person sees: colours on a terminal only (https://no-color.org), and tables.

export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

const CODES: Readonly<Record<Style, readonly [on: number, off: number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
}

export type Paint = (style: Style, text: string) => string

export function paintFor(output: Output, env: Readonly<Record<string, string | undefined>>): Paint {
  const plain = output.isTTY !== true || (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb'
  if (plain) return (_style, text) => text
  return (style, text) => `\u001b[${CODES[style][0]}m${text}\u001b[${CODES[style][1]}m`
}

/** Columns padded to their widest cell, the last one as it is. `paint` sees the padded cell. */
export function table(
  rows: readonly (readonly string[])[],
  paint: (row: number, column: number, cell: string) => string,
): string {
  const widths: number[] = []
  for (const row of rows) for (const [c, cell] of row.entries()) widths[c] = Math.max(widths[c] ?? 0, cell.length)
  return rows
    .map((row, r) =>
      row
        .map((cell, c) => paint(r, c, c === row.length - 1 ? cell : cell.padEnd(widths[c]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
