// Hot lane: runs once for each request, before anything is matched. What it returns is matched and is what goes upstream,
// so that no rule can be dodged by spelling a path differently (Istio pathNormalization BASE: Envoy normalize_path, which
// canonicalises as Chromium does; slashes are not merged, %2F and %5C stay as they are, unless the mesh wants more).
import type { PathNormalization } from '../state/bootstrap-config.ts'

const PASS = 0
/** `.` `\` `%`: looked at more closely. */
const SPECIAL = 1
/** Not allowed bare in a path: becomes %XX. */
const ESCAPE = 2
/** RFC 3986 unreserved: an escaped one is decoded. */
const UNRESERVED = 4
/** NUL, bare or escaped: the path is refused. */
const REFUSED = 8

const SLASH = 0x2f
const BACKSLASH = 0x5c
const PERCENT = 0x25
const DOT = 0x2e
const SEMICOLON = 0x3b

const CLASS: Uint8Array = classTable()
/**
 * Finds what may have to change: anything but the characters that are always copied, or a segment that begins with a dot.
 * Twice as fast as a loop over the table on long paths, and no worse on short ones (bench/micro/route/path.ts).
 */
const BUSY = /[^!$&-;=@-[\]_a-z~]|\/\./
const HEX = '0123456789ABCDEF'

function classTable(): Uint8Array {
  const table = new Uint8Array(256)
  for (let c = 0; c < 256; c++) {
    const ch = String.fromCharCode(c)
    if (c === 0) table[c] = REFUSED
    else if (c <= 0x20 || c >= 0x7f || '"#<>?^`{|}'.includes(ch)) table[c] = ESCAPE
    else if (c === DOT || c === BACKSLASH || c === PERCENT) table[c] = SPECIAL
    else if (/[A-Za-z0-9\-_~]/.test(ch)) table[c] = UNRESERVED
  }
  return table
}

/**
 * A path without query and fragment, as Latin-1 text beginning with `/`, in normal form; null when it cannot be had (400
 * path_normalization_failed). The same string comes back when there is nothing to do. Normalising twice changes nothing.
 */
export function normalizePath(path: string): string | null {
  if (BUSY.test(path)) return rewrite(path)
  return path === '' ? '/' : path
}

const SLASHES = /\/\//
const MANY_SLASHES = /\/{2,}/g
const ESCAPED_SLASHES = /%2f|%5c/gi

/** `normalizePath` as the mesh wants it. In Envoy's order: escaped slashes, then dots, then slashes in a row. */
export function normalizePathAs(mode: PathNormalization, path: string): string | null {
  if (mode === 'BASE') return normalizePath(path)
  if (mode === 'NONE') return path === '' ? '/' : path
  let normal: string | null = path
  if (mode === 'DECODE_AND_MERGE_SLASHES' && path.includes('%'))
    normal = path.replace(ESCAPED_SLASHES, (code) => (code.charAt(1) === '2' ? '/' : '\\'))
  normal = normalizePath(normal)
  return normal !== null && SLASHES.test(normal) ? normal.replace(MANY_SLASHES, '/') : normal
}

/** The path has something in it that may have to change. Runs for few requests, and may allocate. */
function rewrite(path: string): string | null {
  let out = ''
  // Where in `out` the last `%` stands that began no valid escape; decoding must not complete it to one.
  let strayPercent = -3
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i)
    const kind = c > 255 ? REFUSED : (CLASS[c] as number)
    if (kind === PASS || kind === UNRESERVED) {
      out += path.charAt(i)
      continue
    }
    if (kind === REFUSED) return null
    if (kind === ESCAPE) {
      out += escaped(c)
      continue
    }
    if (c === BACKSLASH) {
      out += '/'
      continue
    }
    const dot = dotLength(path, i)
    if (dot > 0) {
      const segment = out.length > 0 && out.charCodeAt(out.length - 1) === SLASH ? dotSegment(path, i) : 0
      if (segment === 0) {
        out += '.'
        i += dot - 1
        continue
      }
      if (segment < 0) out = parentOf(out)
      i = Math.abs(segment) - 1
      continue
    }
    // A percent sign that is not %2e.
    const value = hexAt(path, i + 1)
    if (value < 0) {
      strayPercent = out.length
      out += '%'
      continue
    }
    const decodedKind = CLASS[value] as number
    if (decodedKind === REFUSED) return null
    if (decodedKind === UNRESERVED) {
      out += String.fromCharCode(value)
      if (strayPercent >= out.length - 3 && completesEscape(out, strayPercent, path, i + 3)) {
        out = `${out.substring(0, strayPercent)}%25${out.substring(strayPercent + 1)}`
      }
    } else {
      // Kept as written, the case of its digits too.
      out += path.substring(i, i + 3)
    }
    i += 2
  }
  return out === '' ? '/' : out
}

/** Length of a dot at `i`: 1, 3 as `%2e`, else 0. */
function dotLength(path: string, i: number): number {
  const c = path.charCodeAt(i)
  if (c === DOT) return 1
  return c === PERCENT && hexAt(path, i + 1) === DOT ? 3 : 0
}

/**
 * Whether `.` or `..` fills the segment that begins at `i`; `.;x` and `..;x` count as such, because application servers
 * drop path parameters before they resolve dots. Returns the index after the segment and its slash, negative for `..`,
 * 0 when it is an ordinary segment.
 */
function dotSegment(path: string, i: number): number {
  const afterFirst = i + dotLength(path, i)
  const single = segmentEnd(path, afterFirst)
  if (single > 0) return single
  const second = dotLength(path, afterFirst)
  if (second === 0) return 0
  return -segmentEnd(path, afterFirst + second)
}

/** Index after the slash when the segment ends at `i`, or after parameters and slash when those stand there; else 0. */
function segmentEnd(path: string, i: number): number {
  if (i >= path.length) return path.length
  const c = path.charCodeAt(i)
  if (c === SLASH || c === BACKSLASH) return i + 1
  if (c !== SEMICOLON) return 0
  // Parameters reach to the next slash; a backslash is part of them [Envoy 1.40].
  const slash = path.indexOf('/', i)
  return slash < 0 ? path.length : slash + 1
}

/** `out` ends in a slash; what is left when its last segment goes. The root stays. */
function parentOf(out: string): string {
  const slash = out.lastIndexOf('/', out.length - 2)
  return out.length <= 1 || slash < 0 ? '/' : out.substring(0, slash + 1)
}

/** Whether the stray `%` in `out`, together with what comes next in the input, now reads as a valid escape. */
function completesEscape(out: string, percent: number, path: string, next: number): boolean {
  if (percent === out.length - 3) return hexAt(out, percent + 1) >= 0
  return next < path.length && digit(out.charCodeAt(percent + 1)) >= 0 && digit(path.charCodeAt(next)) >= 0
}

function hexAt(text: string, i: number): number {
  if (i + 1 >= text.length) return -1
  const high = digit(text.charCodeAt(i))
  const low = digit(text.charCodeAt(i + 1))
  return high < 0 || low < 0 ? -1 : high * 16 + low
}

function digit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30
  const lower = c | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}

function escaped(c: number): string {
  return `%${HEX.charAt(c >> 4)}${HEX.charAt(c & 15)}`
}
