// Redirects and direct responses. Istio HTTPRedirect and Istio HTTPDirectResponse.
import type { Path, Report } from '../finding.ts'
import type { DirectResponseSpec, RedirectSpec } from '../schema/virtual-service.ts'
import { checkRange } from './values.ts'

/** Bytes of the body of a direct response; Istio refuses more. */
const MAX_BODY_BYTES = 1024 * 1024

export function checkRedirect(redirect: RedirectSpec | undefined, path: Path, report: Report): void {
  if (redirect === undefined) return
  const { uri, prefixRewrite, authority, scheme, port, derivePort, redirectCode } = redirect
  const sets =
    [uri, prefixRewrite, authority, scheme].some((x) => (x ?? '') !== '') || port !== undefined || derivePort !== undefined
  if (!sets) report(path, 'the redirect changes nothing: expected `uri`, `authority`, `scheme` or `port`')
  if ((uri ?? '') !== '' && prefixRewrite !== undefined)
    report([...path, 'prefixRewrite'], '`uri` and `prefixRewrite` cannot both be set', true)
  if (port !== undefined && derivePort !== undefined)
    report([...path, 'derivePort'], '`port` and `derivePort` cannot both be set', true)
  if (scheme !== undefined && !['', 'http', 'https'].includes(scheme))
    report([...path, 'scheme'], `expected http or https, found "${scheme}"`)
  if (redirectCode !== undefined && redirectCode !== 0) checkCode(redirectCode, [...path, 'redirectCode'], report)
  checkRange(port, 0, 65_535, [...path, 'port'], report)
}

function checkCode(code: number, path: Path, report: Report): void {
  if (code < 300 || code > 399) report(path, `expected a redirect code such as 301, 302, 303, 307 or 308, found ${code}`)
}

export function checkDirectResponse(direct: DirectResponseSpec | undefined, path: Path, report: Report): void {
  if (direct === undefined) return
  // The message of Istio's validator says 599, its code 600.
  if (direct.status === undefined) report(path, 'the direct response needs a `status` from 200 to 599')
  else if (direct.status < 200 || direct.status > 600)
    report([...path, 'status'], `expected a status from 200 to 599, found ${direct.status}`)
  const body = direct.body
  if (body === undefined) return
  if (body.string !== undefined && body.bytes !== undefined)
    report([...path, 'body', 'bytes'], '`string` and `bytes` cannot both be set', true)
  if (body.bytes !== undefined && !/^[A-Za-z0-9+/_-]*={0,2}$/.test(body.bytes))
    report([...path, 'body', 'bytes'], 'expected base64')
  const size = Buffer.byteLength(body.string ?? '') + Math.floor(((body.bytes ?? '').length * 3) / 4)
  if (size > MAX_BODY_BYTES) report([...path, 'body'], `the body has ${size} bytes; at most ${MAX_BODY_BYTES} are allowed`)
}
