// Label text of a series, rendered once when the series is born (Prometheus text format 0.0.4).

/** Label values that a peer chose are cut at this many characters (Istio metric cardinality). */
export const MAX_PEER_LABEL_CHARS = 128

/** `\`, `"` and newline escaped, as the text format wants; everything else may stand in a label value. */
export function escapeLabelValue(value: string): string {
  return /[\\"\n]/.test(value) ? value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`)) : value
}

/** HELP lines escape `\` and newline, but not quotes. */
export function escapeHelp(text: string): string {
  return text.replace(/[\\\n]/g, (c) => (c === '\n' ? '\\n' : '\\\\'))
}

/** `a="x",b="y"` without braces; empty for no labels. */
export function renderLabels(pairs: readonly (readonly [name: string, value: string])[]): string {
  let text = ''
  for (const [name, value] of pairs) text += `${text === '' ? '' : ','}${name}="${escapeLabelValue(value)}"`
  return text
}

/**
 * A value as the text format prints it: no exponents (Istio dashboards compare `le` as text, Envoy histogram buckets), `+Inf`,
 * `NaN`.
 */
export function renderNumber(value: number): string {
  if (value === Infinity) return '+Inf'
  if (value === -Infinity) return '-Inf'
  const text = String(value)
  if (!text.includes('e')) return text
  if (Number.isInteger(value)) return BigInt(value).toString()
  return value.toFixed(20).replace(/\.?0+$/, '') || '0'
}
