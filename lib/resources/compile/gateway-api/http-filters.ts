// Filters of the Gateway API in the words of VirtualServices.
import type { FilterSpec } from '../../schema/gateway-api-fields.ts'
import type { StringMatchSpec } from '../../schema/string-match.ts'
import type { CorsSpec, RedirectSpec, RewriteSpec } from '../../schema/virtual-service.ts'

/** What the API server writes where nothing is said. */
const REDIRECT_STATUS = 302
const CORS_MAX_AGE = 5

/** Without a port and a scheme the listener's port is written. */
export function redirectOf({
  scheme,
  hostname,
  path,
  port,
  statusCode,
}: NonNullable<FilterSpec['requestRedirect']>): RedirectSpec {
  return {
    redirectCode: statusCode ?? REDIRECT_STATUS,
    ...(scheme === undefined ? {} : { scheme }),
    ...(hostname === undefined ? {} : { authority: hostname }),
    ...(port !== undefined ? { port } : scheme === undefined ? { derivePort: 'FROM_REQUEST_PORT' as const } : {}),
    ...(path?.type === 'ReplaceFullPath' ? { uri: path.replaceFullPath ?? '' } : {}),
    ...(path?.type === 'ReplacePrefixMatch' ? { prefixRewrite: withoutSlash(path.replacePrefixMatch ?? '') } : {}),
  }
}

export function rewriteOf({ hostname, path }: NonNullable<FilterSpec['urlRewrite']>): RewriteSpec {
  return {
    ...(hostname === undefined ? {} : { authority: hostname }),
    ...(path?.type === 'ReplacePrefixMatch' ? { uri: withoutSlash(path.replacePrefixMatch ?? '') } : {}),
    // A backslash begins a group in the replacement.
    ...(path?.type === 'ReplaceFullPath'
      ? { uriRegexRewrite: { match: '/.*', rewrite: (path.replaceFullPath ?? '').replaceAll('\\', '\\\\') } }
      : {}),
  }
}

function withoutSlash(replacement: string): string {
  const short = replacement.endsWith('/') ? replacement.slice(0, -1) : replacement
  return short === '' ? '/' : short
}

export function corsOf(cors: NonNullable<FilterSpec['cors']>): CorsSpec {
  const { allowOrigins = [], allowMethods, allowHeaders, exposeHeaders, maxAge = CORS_MAX_AGE, allowCredentials } = cors
  return {
    allowOrigins: allowOrigins.map(originMatch),
    ...(allowMethods === undefined ? {} : { allowMethods }),
    ...(allowHeaders === undefined ? {} : { allowHeaders }),
    ...(exposeHeaders === undefined ? {} : { exposeHeaders }),
    ...(allowCredentials === undefined ? {} : { allowCredentials }),
    maxAge: `${maxAge}s`,
    unmatchedPreflights: 'IGNORE',
  }
}

/** `https://*.example.com`; a wildcard stands for any number of labels. */
function originMatch(origin: string): StringMatchSpec {
  if (!origin.includes('*')) return { exact: origin }
  return { regex: origin.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*') }
}
