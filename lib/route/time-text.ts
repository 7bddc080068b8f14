// Points in time in words (Envoy's START_TIME).

const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
]
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const DAY_MS = 86_400_000

/**
 * ISO 8601 with milliseconds in UTC, or by a strftime format with Envoy's `%f` and `%3f` for fractions (also `%E3S`, `%E*f` and their like). Milliseconds are
 * all we measure; digits after them are noughts. What is not known stays as it is.
 */
export function timeText(ms: number, format: string): string {
  const date = new Date(ms)
  if (format === '') return date.toISOString()
  return format.replace(/%(?:E([0-9*])([Sf])|([0-9]?)([A-Za-z%]))/g, (whole, precision, fractional, digits, letter) => {
    if (fractional === 'S') return `${two(date.getUTCSeconds())}${withPoint(fraction(date, precision))}`
    if (fractional === 'f') return fraction(date, precision)
    if (letter === 'f') return fraction(date, digits === '' ? '9' : digits)
    return digits === '' ? (LETTERS[letter]?.(date) ?? whole) : whole
  })
}

/** By the letters of strftime, in UTC and in English. */
const LETTERS: Readonly<Record<string, (d: Date) => string>> = {
  Y: (d) => String(d.getUTCFullYear()),
  y: (d) => two(d.getUTCFullYear() % 100),
  C: (d) => two(Math.floor(d.getUTCFullYear() / 100)),
  m: (d) => two(d.getUTCMonth() + 1),
  d: (d) => two(d.getUTCDate()),
  e: (d) => spaced(d.getUTCDate()),
  H: (d) => two(d.getUTCHours()),
  I: (d) => two(d.getUTCHours() % 12 || 12),
  M: (d) => two(d.getUTCMinutes()),
  S: (d) => two(d.getUTCSeconds()),
  p: (d) => (d.getUTCHours() < 12 ? 'AM' : 'PM'),
  j: (d) => String(dayOfYear(d) + 1).padStart(3, '0'),
  a: (d) => day(d).slice(0, 3),
  A: day,
  b: (d) => month(d).slice(0, 3),
  h: (d) => month(d).slice(0, 3),
  B: month,
  u: (d) => String(d.getUTCDay() || 7),
  w: (d) => String(d.getUTCDay()),
  F: (d) => d.toISOString().substring(0, 10),
  T: (d) => d.toISOString().substring(11, 19),
  R: (d) => d.toISOString().substring(11, 16),
  D: (d) => `${two(d.getUTCMonth() + 1)}/${two(d.getUTCDate())}/${two(d.getUTCFullYear() % 100)}`,
  s: (d) => String(Math.floor(d.getTime() / 1000)),
  z: () => '+0000',
  Z: () => 'UTC',
  n: () => '\n',
  t: () => '\t',
  '%': () => '%',
}

/** Of a second, with so many digits; `*`: as many as there are, without noughts at the end. */
function fraction(date: Date, digits: string): string {
  const nanoseconds = `${String(date.getUTCMilliseconds()).padStart(3, '0')}000000`
  return digits === '*' ? nanoseconds.replace(/0+$/, '') || '0' : nanoseconds.substring(0, Number(digits))
}

function withPoint(digits: string): string {
  return digits === '' ? '' : `.${digits}`
}

function two(n: number): string {
  return n < 10 ? `0${n}` : String(n)
}

function spaced(n: number): string {
  return n < 10 ? ` ${n}` : String(n)
}

function day(d: Date): string {
  return DAYS[d.getUTCDay()] as string
}

function month(d: Date): string {
  return MONTHS[d.getUTCMonth()] as string
}

/** The first is 0. */
function dayOfYear(d: Date): number {
  return Math.floor((d.getTime() - Date.UTC(d.getUTCFullYear(), 0, 1)) / DAY_MS)
}
