// Texts that are near each other, so that what is matched and what is asked meet often, and differ by what matchers are to tell apart.
import type { Dice } from '../../chaos/dice.ts'

export const PATHS = [
  '/', '/a', '/a/', '/A', '/a/b', '/a/B', '/a/b/', '/a//b', '/ab', '/admin', '/admin/', '/Admin/x', '/admin/x.txt', '/a/b/c', '/b', '/b/a', '/x.txt',
  '/a%2Fb', '/a%2fb', '/a;v=1', '/a;v=1/b', '/a/b;c', '/%C3%A4', '/a%20b', '/a+b', '/a.b', '/a/*', '/a,b', '/~a', '/a:b', '/a@b', '/a!b', "/a'b", '/a(b)', '/a$b', '/a&b=c', '/a=b',
] // biome-ignore format: a list
const ODD_PATHS = [
  '//', '//a', '/a//', '///a/b', '/./a', '/a/.', '/a/./b', '/a/../b', '/a/..', '/../a', '/a/../../b', '/a/%2e%2e/b', '/a/%2E/b', '/a/%2e./b', '/%61', '/%61dmin', '/%41dmin', '/adm%69n',
  '/a\\b', '/a\\..\\b', '/a%5Cb', '/a%5c..%5cb', '/a%', '/a%2', '/a%zz', '/%25', '/%252e%252e/a', '/a%00b', '/a%0ab', '/a%09', '/a%7f', '/a|b', '/a^b', '/a`b', '/a{b}', '/a"b', '/a<b>', '/\xe4', '/a/\xff',
  '/a;/../b', '/a/..;/b', '/a/..;x=1/b', '/.a', '/a/.b', '/a/...', '/a/..b', '*', 'a', '', 'http://a.example/a', 'http://b.example', 'HTTP://A.example:80/a?b', 'https://a.example/a/../b', 'https://a.example/a', 'HTTPS://a.example/b', 'http://a.example?x', 'ftp://a/b',
] // biome-ignore format: a list
const QUERIES = [
  '', '', '', '', '', '?', '?q', '?q=', '?q=1', '?q=1&q=2', '?Q=1', '?q=a%20b', '?q=%31', '?x=1&q=1', '?q=1#f', '?a/../b', '?q=a?b', '?q=a&b=c', '?&q=1', '?q==1', '?%71=1', '?q=1;x=2', '?q=/admin', '??q=1', '?q=\xe4',
] // biome-ignore format: a list
const FRAGMENTS = ['#', '#f', '#/admin', '#?q=1']

export const HOSTS = ['a.example', 'A.Example', 'a.example:80', 'b.example', 'x.a.example', 'localhost', 'a', '[::1]', '[::1]:80', '127.0.0.1:8080', 'a.example:', 'a.example.', 'a.example:443', 'a.example:08'] // biome-ignore format: a list
export const VALUES = ['', 'a', 'A', 'b', 'ab', 'a,b', 'a, b', 'admin', 'Admin', 'administrator', '1', '10', '-5', '010', '1.5', 'a b', '\xe4', '\xc3\xa4', 'true', '*', 'a=1;b=2', '"a"', 'x'.repeat(300)] // biome-ignore format: a list
const REGEXES = ['a', 'a.*', '.*a.*', '.+', '.*', 'a|b', '(?i)admin', '[a-z]+', '\\d+', '-?[0-9]+', '^a$', '.*b$', '(a|ab)(c|bcd)?', 'adm.n.*', '[^,]*', '\\w+', 'a?', '(?s).*', '[[:alpha:]]+', 'a\\b', '.*/admin.*'] // biome-ignore format: a list
export const PATH_REGEXES = ['/a', '/a.*', '/a/[^/]+', '.*admin.*', '(?i)/admin', '/(a|b)/?', '.+', '.*\\.txt', '^/a$', '/a/b|/admin', '/.*/b', '/a(;.*)?(/.*)?', '/[a-z]*', '/.*%2F.*', '[^?]*', '/a\\?q=1', '/'] // biome-ignore format: a list

export function pathOf(dice: Dice): string {
  return dice.one(PATHS)
}

/** Of a request: as it is written in its first line. */
export function targetOf(dice: Dice): string {
  const path = dice.chance(0.7)
    ? dice.one(PATHS)
    : dice.chance(0.6)
      ? dice.one(ODD_PATHS)
      : `${dice.one(PATHS)}${dice.one(ODD_PATHS)}`
  const target = `${path}${dice.one(QUERIES)}${dice.chance(0.03) ? dice.one(FRAGMENTS) : ''}`
  return target === '' ? '/' : target
}

function regexOf(dice: Dice, path: boolean): object {
  return { regex: dice.one(path ? PATH_REGEXES : REGEXES) }
}

/** A piece of one of the texts, mostly not empty. */
export function pieceOf(dice: Dice, texts: readonly string[], least: number): string {
  // Configuration is in UTF-8; what is not ASCII in a request is bytes.
  const text = dice.one(texts.filter((t) => /^[ -~]*$/.test(t) && t.length < 50))
  const from = dice.chance(0.6) ? 0 : dice.whole(0, text.length + 1)
  const piece = text.slice(from, dice.chance(0.5) ? text.length : dice.whole(from, text.length + 1))
  return piece.length < least ? (texts === PATHS ? '/' : 'a') : piece
}

/** StringMatcher. */
export function stringMatcher(dice: Dice, texts: readonly string[] = VALUES): object {
  const ignore_case = dice.chance(0.3) ? { ignore_case: true } : {}
  const whole = dice.one(texts.filter((t) => /^[ -~]*$/.test(t)))
  switch (dice.whole(0, 5)) {
    case 0:
      return { exact: whole, ...ignore_case }
    case 1:
      return { prefix: pieceOf(dice, texts, 1), ...ignore_case }
    case 2:
      return { suffix: pieceOf(dice, texts, 1), ...ignore_case }
    case 3:
      return { contains: pieceOf(dice, texts, 1), ...ignore_case }
    default:
      return { safe_regex: regexOf(dice, texts === PATHS) }
  }
}

export const HEADERS = ['x-a', 'x-b', 'X-A', 'x-none', ':path', ':method', ':authority', ':scheme', 'host', 'content-type', 'cookie', 'user-agent', 'x-forwarded-for', 'x-forwarded-proto', 'authorization', 'content-length', 'x_a', 'connection', 'x-envoy-peer-metadata', 'accept'] // biome-ignore format: a list

function textsOf(header: string): readonly string[] {
  if (header === ':path') return PATHS
  if (header === ':method') return ['GET', 'POST', 'get', 'HEAD', 'OPTIONS', 'G']
  if (header === ':scheme' || header === 'x-forwarded-proto') return ['http', 'https', 'HTTP']
  return header === ':authority' || header === 'host' ? HOSTS : VALUES
}

/** HeaderMatcher. */
export function headerMatcher(dice: Dice): object {
  const name = dice.chance(0.5) ? dice.one(['x-a', 'x-b']) : dice.one(HEADERS)
  const texts = textsOf(name)
  const more = {
    ...(dice.chance(0.25) ? { invert_match: true } : {}),
    ...(dice.chance(0.25) ? { treat_missing_header_as_empty: true } : {}),
  }
  const plain = texts.filter((t) => /^[ -~]*$/.test(t))
  switch (dice.whole(0, 8)) {
    case 0:
      return { name, present_match: dice.chance(0.7), ...more }
    case 1:
      return dice.chance(0.2) ? { name, ...more } : { name, exact_match: dice.one(plain), ...more }
    case 2:
      return { name, safe_regex_match: regexOf(dice, name === ':path'), ...more }
    case 3: {
      const kind = dice.one(['prefix', 'suffix', 'contains'])
      return { name, [`${kind}_match`]: pieceOf(dice, texts, 1), ...more }
    }
    case 4:
      return dice.chance(0.03)
        ? { name, range_match: { start: dice.whole(-6, 3), end: dice.whole(3, 12) }, ...more }
        : { name, present_match: true, ...more }
    default:
      return { name, string_match: stringMatcher(dice, texts), ...more }
  }
}
