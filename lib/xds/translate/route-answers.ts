// Routes that do not forward: RedirectAction and DirectResponseAction of envoy.config.route.v3.
import type { DirectResponseAction as DirectNoun, RedirectAction as RedirectNoun } from '../../state/route.ts'
import type { DirectResponseAction, RedirectAction } from '../proto/route.ts'
import type { Findings } from './findings.ts'
import { regexOf } from './regex-substitute.ts'

const CODES: Readonly<Record<string, number>> = {
  MOVED_PERMANENTLY: 301,
  FOUND: 302,
  SEE_OTHER: 303,
  TEMPORARY_REDIRECT: 307,
  PERMANENT_REDIRECT: 308,
}

export function redirectOf(redirect: RedirectAction, findings: Findings): RedirectNoun {
  const code = CODES[redirect.response_code]
  if (code === undefined) findings.fault(`${redirect.response_code} is no status of a redirect`)
  return {
    kind: 'redirect',
    code: code ?? 301,
    scheme: redirect.scheme_redirect ?? (redirect.https_redirect === true ? 'https' : ''),
    authority: redirect.host_redirect,
    port: redirect.port_redirect,
    portFromListener: false,
    path: redirect.path_redirect ?? '',
    prefixRewrite: redirect.prefix_rewrite,
    regexRewrite: redirect.regex_rewrite === null ? null : regexOf(redirect.regex_rewrite, findings.at('regex_rewrite')),
    stripQuery: redirect.strip_query,
  }
}

/** `maxBytes`: what the route configuration allows. */
export function directResponseOf(direct: DirectResponseAction, maxBytes: number, findings: Findings): DirectNoun {
  const { status, body } = direct
  if (status < 200 || status > 599) findings.at('status').fault(`${status} is no status of a response`)
  if (direct.body_format !== null) findings.at('body_format').fault('it is not understood')
  const at = findings.at('body')
  if (body !== null && (body.filename !== null || body.environment_variable !== null))
    at.fault('it has to be in the configuration itself')
  const bytes = body?.inline_bytes ?? Buffer.from(body?.inline_string ?? '', 'utf8')
  if (bytes.length > maxBytes) at.fault(`it has ${bytes.length} bytes; ${maxBytes} are allowed`)
  return { kind: 'direct', status, body: Buffer.from(bytes).toString('latin1') }
}
