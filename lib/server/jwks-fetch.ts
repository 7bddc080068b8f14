// Fetches a JWK Set, from an address that whoever may write a RequestAuthentication has chosen: it must not become a way to ask for what only this machine can
// reach. What is dialled is what was looked at: names are resolved here, once.
import { type LookupAddress, lookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { PrefixSet, parseIp, parsePrefix } from '../base/ip-prefix.ts'
import type { JwksSource } from '../state/jwt.ts'

/** Of which no issuer is: link-local addresses, those of the metadata services of clouds beside them (Istio IsKnownCloudMetadataAddress), and none at all. */
const FORBIDDEN = [
  '169.254.0.0/16',
  'fe80::/10',
  'fd00:ec2::254/128',
  '100.100.100.200/32',
  '192.0.0.192/32',
  '0.0.0.0/8',
  '::/128',
]
const MAX_BYTES = 1024 * 1024
const MAX_KEYS = 100
/** Of `FORBIDDEN`, made when the first address is looked at: it would be some milliseconds of every start. */
let forbidden: PrefixSet | null = null

/** What a fetch needs is not there; it may come. Nobody has been asked. */
export class NotYet extends Error {}

/** The text of the set. Rejects with an Error whose message says why there is none; the address is not in it. */
export async function fetchJwks({ uri, discovery, timeoutMs }: JwksSource): Promise<string> {
  const signal = AbortSignal.timeout(timeoutMs)
  const at = discovery ? await discovered(uri, signal) : uri
  return checkedSet(await get(at, signal))
}

/** OpenID Connect Discovery §4.2. */
async function discovered(uri: string, signal: AbortSignal): Promise<string> {
  const document = parsed(await get(uri, signal), "the provider's document")
  const found = (document as { jwks_uri?: unknown } | null)?.jwks_uri
  if (typeof found !== 'string') throw new Error("the provider's document has no jwks_uri")
  return found
}

async function get(uri: string, signal: AbortSignal): Promise<string> {
  const { protocol, hostname } = URL.canParse(uri) ? new URL(uri) : { protocol: '', hostname: '' }
  if (protocol !== 'http:' && protocol !== 'https:') throw new Error('keys are asked for by http or https only')
  const literal = hostname.replace(/^\[|\]$/g, '')
  if (isIP(literal) !== 0 && isForbidden(literal)) throw new Error(forbiddenText(literal))
  const { Agent, request } = await import('undici')
  const agent = new Agent({ connect: { lookup: guarded(lookup), minVersion: 'TLSv1.2' } })
  try {
    // Redirects are not followed: they would lead where nobody has looked.
    const { statusCode, body } = await request(uri, { dispatcher: agent, signal, headers: { accept: 'application/json' } })
    if (statusCode !== 200) {
      body.on('error', () => {})
      body.destroy()
      throw new Error(`the answer is ${statusCode}`)
    }
    return await limited(body)
  } catch (error) {
    throw signal.aborted ? new Error('there was no answer in time') : (error as Error)
  } finally {
    // Nothing of it is used again.
    await agent.destroy()
  }
}

/** The text of an answer of 1 MiB at most. */
export async function limited(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of body) {
    bytes += part.length
    if (bytes > MAX_BYTES) throw new Error(`the answer has more than ${MAX_BYTES} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

/** Throws where it is none. */
export function checkedSet(text: string): string {
  const keys = (parsed(text, 'the answer') as { keys?: unknown } | null)?.keys
  if (!Array.isArray(keys)) throw new Error('the answer is no JSON Web Key Set: it has no list `keys`')
  if (keys.length > MAX_KEYS) throw new Error(`the answer has ${keys.length} keys, more than ${MAX_KEYS}`)
  return text
}

function parsed(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // What it is instead is not told: it might be something that only this machine can read.
    throw new Error(`${what} is no JSON`)
  }
}

/** Looks names up as Node does, for who dials the addresses that come of it, and no others. One that is forbidden spoils its name. */
export function guarded(resolve: typeof lookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found) => {
      const addresses: LookupAddress[] = error === null ? found : []
      const bad = addresses.find(({ address }) => isForbidden(address))
      const [first] = addresses
      if (error !== null) callback(error, [])
      else if (bad !== undefined) callback(new Error(forbiddenText(bad.address)), [])
      else if (options.all === true || first === undefined) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}

export function isForbidden(address: string): boolean {
  const ip = parseIp(address)
  forbidden ??= new PrefixSet(FORBIDDEN.flatMap((text) => parsePrefix(text) ?? []))
  return ip === null || forbidden.contains(ip)
}

export function forbiddenText(address: string): string {
  return `${address} is an address that keys are never asked for at`
}
