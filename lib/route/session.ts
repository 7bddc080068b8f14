// Hot lane: runs for requests of routes whose sessions stay with their endpoints (Envoy stateful_session): which endpoint a request belongs to, and what its client
// is told of the one that answered. The client keeps the endpoint's address, so that all proxies in front of a service find the same one.
import type { SessionState } from '../state/route.ts'
import { cookieIn, cookieTail } from './cookie.ts'
import type { EditableHeaders, RequestView } from './request-view.ts'

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
/** Longer ones are no address. */
const MAX_VALUE = 512
// Fields of the message in a cookie (Envoy's source/…/cookie.proto): address is a text, expires seconds of the epoch.
const ADDRESS_TAG = 0x0a
const EXPIRES_TAG = 0x10

export class CompiledSession {
  readonly config: SessionState
  /** Header names in lower case, cookies as written. */
  private readonly name: string
  private readonly tail: string

  constructor(config: SessionState) {
    const { kind, name, path, ttlSeconds } = config
    this.config = config
    this.name = kind === 'header' ? name.toLowerCase() : name
    this.tail = kind === 'header' ? '' : cookieTail({ name, path, ttlSeconds, attributes: [] })
  }

  /** A cookie for other paths plays no part, here and in the answer. */
  concerns(request: RequestView): boolean {
    const { path } = this.config
    if (path === '' || path === '/') return true
    if (!request.path.startsWith(path)) return false
    return request.path.length === path.length || path.endsWith('/') || request.path.charCodeAt(path.length) === 0x2f
  }

  /** `ip:port` of the endpoint that a request belongs to; empty: it says none, or its time is over. `nowSeconds`: of the epoch. */
  addressOf({ headers }: RequestView, nowSeconds: number): string {
    if (this.config.kind === 'header') {
      const value = headers.get(this.name)
      return value === null ? '' : (decoded(value)?.toString('latin1') ?? '')
    }
    for (let i = headers.indexOf('cookie', 0); i >= 0; i = headers.indexOf('cookie', i + 1)) {
      const value = cookieIn(headers.valueAt(i), this.name)
      if (value !== null) return addressInCookie(value, nowSeconds)
    }
    return ''
  }

  /** To a response: the endpoint that it comes from. */
  say(address: string, headers: EditableHeaders, nowSeconds: number): void {
    if (this.config.kind === 'header') {
      headers.set(this.config.name, Buffer.from(address, 'latin1').toString('base64'))
      return
    }
    const { ttlSeconds } = this.config
    const expires = ttlSeconds === 0 ? [] : [EXPIRES_TAG, ...varint(nowSeconds + ttlSeconds)]
    const bytes = Buffer.from([ADDRESS_TAG, address.length, ...Buffer.from(address, 'latin1'), ...expires])
    headers.add('set-cookie', `${this.config.name}="${bytes.toString('base64')}"${this.tail}`)
  }
}

function decoded(value: string): Buffer | null {
  return value.length <= MAX_VALUE && BASE64.test(value) ? Buffer.from(value, 'base64') : null
}

function addressInCookie(value: string, nowSeconds: number): string {
  const bytes = decoded(value)
  if (bytes === null || bytes.length < 2) return ''
  // What proxies wrote before there was an end of a cookie's time.
  if (bytes[0] !== ADDRESS_TAG) return bytes.toString('latin1')
  const end = 2 + (bytes[1] as number)
  if (end > bytes.length) return ''
  if (bytes[end] === EXPIRES_TAG) {
    let expires = 0
    let factor = 1
    for (let i = end + 1; i < bytes.length && i < end + 9; i++, factor *= 128) {
      const byte = bytes[i] as number
      expires += (byte & 0x7f) * factor
      if (byte < 0x80) break
    }
    if (expires !== 0 && expires < nowSeconds) return ''
  }
  return bytes.toString('latin1', 2, end)
}

function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
  return [...bytes, rest]
}
