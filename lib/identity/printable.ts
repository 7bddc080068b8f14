// Text of strangers in our messages: no control characters, no line breaks, nothing that turns the direction of writing, and not long.

/** At most `most` characters, what cannot be shown as `\u{…}`. */
export function printable(text: string, most = 120): string {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text
  return cut.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${(c.codePointAt(0) as number).toString(16)}}`)
}
