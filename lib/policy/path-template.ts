// Hot lane: path templates, asked for each request (envoy.extensions.path.match.uri_template, as far as Istio writes them: `*` is a segment, `**`
// any number of them and whatever stands behind it is literal). Compared in place: no pattern is compiled, and nothing is allocated.

/** What an operator may stand for: pchar of RFC 3986. */
const LITERAL = new Uint8Array(128)
for (const c of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;:@=") LITERAL[c.charCodeAt(0)] = 1

export class PathTemplate {
  /** Texts between the `*` in front of a `**`, one more than there are of them. */
  private readonly texts: readonly string[]
  /** What stands behind `**`; null: there is none. */
  private readonly tail: string | null

  constructor(template: string) {
    const many = template.indexOf('**')
    this.texts = (many < 0 ? template : template.slice(0, many)).split('*')
    this.tail = many < 0 ? null : template.slice(many + 2)
  }

  holds(path: string): boolean {
    const { texts, tail } = this
    const first = texts[0] as string
    if (!path.startsWith(first)) return false
    let at = first.length
    for (let i = 1; i < texts.length; i++) {
      const end = segmentEnd(path, at)
      if (end === at) return false
      const text = texts[i] as string
      if (!path.startsWith(text, end)) return false
      at = end + text.length
    }
    if (tail === null) return at === path.length
    const end = path.length - tail.length
    return end >= at && path.endsWith(tail) && isText(path, at, end)
  }
}

/** Behind the characters of a segment. */
function segmentEnd(path: string, from: number): number {
  let at = from
  while (at < path.length && isLiteral(path.charCodeAt(at))) at++
  return at
}

function isText(path: string, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const c = path.charCodeAt(i)
    if (c !== 0x2f && !isLiteral(c)) return false
  }
  return true
}

function isLiteral(c: number): boolean {
  return c < 128 && LITERAL[c] === 1
}
