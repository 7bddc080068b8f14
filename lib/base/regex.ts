// Every pattern that came from configuration. RE2 by way of re2js: linear in the length of the text whatever the pattern
// says, so that neither an operator's slip nor a client's input can stall a worker. No re2js type leaves this file.
//
// re2js is loaded with the first pattern: it takes 2 MB in every thread, and most configurations have no pattern at all. As
// patterns are compiled synchronously it is required, not imported.
import { createRequire } from 'node:module'
import type { RE2JS } from 're2js'

/** Istio's validator refuses longer patterns (pkg/config/validation, "max length allowed is 1024"). */
export const MAX_REGEX_LENGTH = 1024

/** Compiled patterns kept for reuse: 8 kB and 56 µs each, and a reload brings mostly the ones that were there before. */
const CACHE_SIZE = 2048

export type CompileRegexResult =
  | { readonly ok: true; readonly regex: Regex }
  /** Worded as RE2 and Go word it, without a prefix: "missing closing ): `(`". */
  | { readonly ok: false; readonly message: string }

/** The replacement of a rewrite, translated by `compileTemplate`: text, group, text, group, … text. */
export interface RegexTemplate {
  /** One more than `groups`. */
  readonly texts: readonly string[]
  /** Group numbers; 0 is the whole match. */
  readonly groups: readonly number[]
}

/** One pattern. Immutable, shared by all who ask for the same source. */
export class Regex {
  readonly source: string
  readonly #re: RE2JS

  constructor(source: string, re: RE2JS) {
    this.source = source
    this.#re = re
  }

  /** Whether the pattern matches all of the text, anchored at both ends around the whole alternation. */
  matchesWhole(text: string): boolean {
    return this.#re.testExact(text)
  }

  /** Whether the pattern matches anywhere in the text. */
  found(text: string): boolean {
    return this.#re.matcher(text).find()
  }

  /** Groups of the pattern, without the whole match. */
  groupCount(): number {
    return this.#re.groupCount()
  }

  /**
   * Replaces each match, from the left, by the template. An empty match right after another match is not one
   * (RE2::GlobalReplace; JavaScript sees it differently).
   */
  replaceAll(text: string, template: RegexTemplate): string {
    const matcher = this.#re.matcher(text)
    let out = ''
    let copied = 0
    let lastEnd = -1
    while (matcher.find()) {
      const start = matcher.start()
      const end = matcher.end()
      if (start === end && start === lastEnd) continue
      out += text.substring(copied, start) + (template.texts[0] as string)
      for (let i = 0; i < template.groups.length; i++) {
        // A group that took no part in the match counts as empty.
        out += (matcher.group(template.groups[i] as number) ?? '') + (template.texts[i + 1] as string)
      }
      copied = end
      lastEnd = end
    }
    return copied === 0 && out === '' ? text : out + text.substring(copied)
  }
}

let library: typeof RE2JS | null = null

function re2(): typeof RE2JS {
  library ??= (createRequire(import.meta.url)('re2js') as typeof import('re2js')).RE2JS
  return library
}

const cache = new Map<string, CompileRegexResult>()

/** Compiles an RE2 pattern. The same source gives the same object. */
export function compileRegex(source: string): CompileRegexResult {
  const known = cache.get(source)
  if (known !== undefined) return known
  if (cache.size >= CACHE_SIZE) {
    // Oldest first; who still needs it holds it.
    const oldest = cache.keys().next()
    if (oldest.done !== true) cache.delete(oldest.value)
  }
  const result = compile(source)
  cache.set(source, result)
  return result
}

function compile(source: string): CompileRegexResult {
  if (source.length > MAX_REGEX_LENGTH) {
    return { ok: false, message: `regex is too large, max length allowed is ${MAX_REGEX_LENGTH}` }
  }
  try {
    return { ok: true, regex: new Regex(source, re2().compile(source)) }
  } catch (error) {
    return { ok: false, message: messageOf(error) }
  }
}

function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  const message = text.replace(/^error parsing regexp: /, '')
  // RE2 knows \C (any byte), re2js does not: the operator should hear that it is us.
  if (message === 'invalid escape sequence: `\\C`') return `${message} (RE2 has it, this proxy does not)`
  // RE2 of today calls look-behind Perl syntax; re2js takes the `<` for the start of a name.
  if (/^invalid named capture: `\(\?<[=!]/.test(message)) {
    return `invalid or unsupported Perl syntax: \`${message.includes('(?<=') ? '(?<=' : '(?<!'}\``
  }
  return message
}

export type CompileTemplateResult =
  | { readonly ok: true; readonly template: RegexTemplate }
  | { readonly ok: false; readonly message: string }

/**
 * Translates an RE2 rewrite (`uriRegexRewrite.rewrite`): `\0`…`\9` are groups, `\\` is a backslash, everything else is
 * itself, `$` too. RE2::CheckRewriteString.
 */
export function compileTemplate(rewrite: string, groupCount: number): CompileTemplateResult {
  const texts: string[] = []
  const groups: number[] = []
  let text = ''
  for (let i = 0; i < rewrite.length; i++) {
    const c = rewrite.charAt(i)
    if (c !== '\\') {
      text += c
      continue
    }
    const next = rewrite.charAt(++i)
    if (next === '\\') {
      text += '\\'
    } else if (next >= '0' && next <= '9') {
      const group = Number(next)
      if (group > groupCount) {
        return { ok: false, message: `rewrite refers to group \\${group}, but the pattern has ${groupCount}` }
      }
      texts.push(text)
      groups.push(group)
      text = ''
    } else {
      return { ok: false, message: next === '' ? "rewrite ends with '\\'" : `invalid rewrite: '\\' before '${next}'` }
    }
  }
  texts.push(text)
  return { ok: true, template: { texts, groups } }
}

/** What is wrong with a regex rewrite, or null: for the validator of resources. */
export function checkRegexRewrite(pattern: string, rewrite: string): string | null {
  const compiled = compileRegex(pattern)
  if (!compiled.ok) return compiled.message
  const template = compileTemplate(rewrite, compiled.regex.groupCount())
  return template.ok ? null : template.message
}
