// Hot lane: tokens whose signatures have been verified, so that a client's hundredth request does not cost what its first did. In an entry are claims only of a
// token that somebody has shown already; whoever shows the same text again has it, too.
import type { ParsedJwt } from './jwt-token.ts'

/** Envoy's cache has so many. */
const MAX_TOKENS = 100
/** In characters; what is longer is verified each time. */
const MAX_LENGTH = 4096

/** Of one provider and one set of keys: another set makes another cache. */
export class JwtCache {
  private readonly tokens: Map<string, ParsedJwt>

  constructor() {
    this.tokens = new Map()
  }

  get size(): number {
    return this.tokens.size
  }

  get(text: string): ParsedJwt | undefined {
    return this.tokens.get(text)
  }

  /** The oldest makes room: a map knows in which order its entries came. */
  put(text: string, token: ParsedJwt): void {
    const { tokens } = this
    if (text.length > MAX_LENGTH) return
    if (tokens.size >= MAX_TOKENS) tokens.delete(tokens.keys().next().value as string)
    tokens.set(text, token)
  }

  /** It has expired. */
  delete(text: string): void {
    this.tokens.delete(text)
  }
}
