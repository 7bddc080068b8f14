// Who asks: `from` and what `when` says of the client, as istiod makes principals of it (pilot/pkg/security/authz/model).
import { headerField } from '../../../policy/rbac-fields.ts'
import { PEER_PRINCIPAL, type RbacMatch } from '../../../state/rbac.ts'
import { JWT_METADATA, type StringMatch, type ValueMatch } from '../../../state/route.ts'
import type { Generator } from './condition.ts'
import { exact, headerTextOf, NOT_EMPTY, pattern, prefixOf, quote, SPIFFE, textOf } from './texts.ts'

/** What a client's certificate says; behind a tunnel what the tunnel's client is. */
export type PeerMatch = (match: StringMatch) => RbacMatch

export const byCertificate: PeerMatch = (match) => ({ kind: 'authenticated', match })
export const byTunnel: PeerMatch = (match) => ({ kind: 'filterState', key: PEER_PRINCIPAL, match })

export const sourceIp: Generator = each((value) => ({ kind: 'directRemoteIp', prefix: prefixOf(value) }))
export const remoteIp: Generator = each((value) => ({ kind: 'remoteIp', prefix: prefixOf(value) }))

export function principal(peer: PeerMatch): Generator {
  return each((value) => peer(textOf(value, SPIFFE)))
}

/** `/ns/foo/` with its slashes, or it would take foobar. */
export function namespace(peer: PeerMatch): Generator {
  return each((value) => peer(pattern(`.*/ns/${value.split('*').map(quote).join('.*')}/.*`)))
}

/** `name` is of the policy's namespace. */
export function serviceAccount(peer: PeerMatch, home: string): Generator {
  return each((value) => {
    const slash = value.indexOf('/')
    const of = slash < 0 ? home : value.slice(0, slash)
    const name = value.slice(slash + 1)
    return peer(pattern(`${SPIFFE}.+/ns/${quote(of)}/(.+/|)sa/${quote(name)}(/.+)?`))
  })
}

export function trustDomain(peer: PeerMatch): Generator {
  return each((value) => {
    if (value === '*') return peer({ kind: 'prefix', value: SPIFFE, ignoreCase: false })
    if (!value.includes('*')) return peer({ kind: 'prefix', value: `${SPIFFE}${value}/`, ignoreCase: false })
    return peer(pattern(`${SPIFFE}${value.split('*').map(quote).join('[^/]*')}/.*`))
  })
}

/** Of the request alone: a connection has none. */
export function requestHeader(name: string): Generator {
  const written = name.toLowerCase()
  const lower = written === 'host' ? ':authority' : written
  return {
    httpOnly: true,
    together: null,
    one: (value) => ({
      kind: 'header',
      header: { name: lower, field: headerField(lower), match: headerTextOf(value), invert: false, missingIsEmpty: false },
    }),
  }
}

/** `<issuer>/<subject>`, parted at the last slash, since an issuer may be a URL. */
export const requestPrincipal: Generator = {
  httpOnly: true,
  one: null,
  together: (values) => {
    const all = values.map((value): RbacMatch => {
      const [issuer, subject] = issuerAndSubject(value)
      return {
        kind: 'and',
        of: [claim(['iss'], { kind: 'text', match: issuer }), claim(['sub'], { kind: 'text', match: subject })],
      }
    })
    const [first] = all
    return first !== undefined && all.length === 1 ? first : { kind: 'or', of: all }
  },
}

function issuerAndSubject(value: string): readonly [issuer: StringMatch, subject: StringMatch] {
  const slash = value.lastIndexOf('/')
  const [issuer, subject] = slash < 0 ? [value, ''] : [value.slice(0, slash), value.slice(slash + 1)]
  if (value === '*') return [NOT_EMPTY, NOT_EMPTY]
  // Without a slash the pattern is for the side that its wildcard leaves over.
  if (value.startsWith('*'))
    return slash < 0
      ? [NOT_EMPTY, suffix(value.slice(1))]
      : [issuer === '*' ? NOT_EMPTY : suffix(issuer.slice(1)), exact(subject)]
  if (value.endsWith('*'))
    return slash < 0
      ? [prefix(value.slice(0, -1)), NOT_EMPTY]
      : [exact(issuer), subject === '*' ? NOT_EMPTY : prefix(subject.slice(0, -1))]
  return [exact(issuer), exact(subject)]
}

/** A claim that is the text, or a list with it. */
export function claimOf(path: readonly string[]): Generator {
  return {
    httpOnly: true,
    one: null,
    together: (values) => {
      const texts = oneOf(values.map((value) => ({ kind: 'text', match: textOf(value) })))
      return claim(path, { kind: 'or', of: [{ kind: 'element', of: texts }, texts] })
    },
  }
}

/** `[a][b]` of `request.auth.claims[a][b]`; brackets that are not of this form are of the name. */
export function claimPath(brackets: string): readonly string[] {
  const nested = /^(?:\[[^[\]]*\])+$/.test(brackets)
  return nested ? brackets.slice(1, -1).split('][') : [brackets.slice(1, -1)]
}

export function oneOf(of: readonly ValueMatch[]): ValueMatch {
  const [first] = of
  return first !== undefined && of.length === 1 ? first : { kind: 'or', of }
}

function claim(path: readonly string[], value: ValueMatch): RbacMatch {
  return { kind: 'metadata', filter: JWT_METADATA, path: ['payload', ...path], value, invert: false }
}

function prefix(value: string): StringMatch {
  return { kind: 'prefix', value, ignoreCase: false }
}

function suffix(value: string): StringMatch {
  return { kind: 'suffix', value, ignoreCase: false }
}

function each(one: (value: string) => RbacMatch): Generator {
  return { httpOnly: false, one, together: null }
}
