// Sessions that stay with their endpoints: the same resources and requests to Envoy and to heddle, each obeying the cookies of the other.
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { findEnvoy } from '../support/envoy.ts'
import { Beside, type Said, staticCluster } from '../support/envoy-beside.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { httpFilter } from '../support/xds-json.ts'

const skip = findEnvoy() === null ? 'no Envoy: set ENVOY to one (bench/README.md says whence)' : ''

const TYPE = 'type.googleapis.com/envoy.extensions'
const FILTER = 'envoy.filters.http.stateful_session'

function state(kind: 'cookie' | 'header', config: object): object {
  const type = kind === 'cookie' ? 'cookie.v3.CookieBasedSessionState' : 'header.v3.HeaderBasedSessionState'
  return {
    name: `envoy.http.stateful_session.${kind}`,
    typed_config: { '@type': `${TYPE}.http.stateful_session.${type}`, ...config },
  }
}
const cookie = (path: string, ttl?: string): object =>
  state('cookie', { cookie: { name: 'sess', path, ...(ttl === undefined ? {} : { ttl }) } })
const perRoute = (config: object): object => ({
  typed_per_filter_config: {
    [FILTER]: { '@type': `${TYPE}.filters.http.stateful_session.v3.StatefulSessionPerRoute`, ...config },
  },
})
const session = (session_state: object, strict = false): object => perRoute({ stateful_session: { session_state, strict } })
const route = (prefix: string, more: object = {}, cluster = 'c'): object => ({ match: { prefix }, route: { cluster }, ...more })

/** As Envoy writes it: address and end of its time, in seconds. */
function cookieOf(address: string, expires = 0): string {
  const bytes = [0x0a, address.length, ...Buffer.from(address)]
  if (expires !== 0) {
    bytes.push(0x10)
    let rest = expires
    for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
    bytes.push(rest)
  }
  return Buffer.from(bytes).toString('base64')
}
const base64 = (text: string): string => Buffer.from(text).toString('base64')

t.test('sessions stay with their endpoints as Envoy keeps them', { skip }, async (t) => {
  const ups = await Promise.all(['a', 'b', 'drained'].map((name) => EchoUpstream.start(t, { name })))
  const [a, b, drained] = ups as [EchoUpstream, EchoUpstream, EchoUpstream]
  const at = ({ host, port }: EchoUpstream) => ({ host, port })
  const endpoints = [at(a), at(b), { ...at(drained), status: 'DRAINING' }]
  const statuses = ['UNKNOWN', 'HEALTHY', 'DEGRADED', 'DRAINING']
  const beside = await Beside.start(t, {
    filters: [{ ...httpFilter('http.stateful_session.v3.StatefulSession'), name: FILTER }],
    host: session(cookie('/')),
    routes: [
      route('/strict', session(cookie('/strict'), true)),
      route('/header', session(state('header', { name: 'X-Sess' }))),
      route('/ttl', session(cookie('/', '60s'))),
      route('/sub', session(cookie('/sub'))),
      route('/nopath', session(cookie(''))),
      route('/plain', {}, 'plain'),
      route('/off', perRoute({ disabled: true })),
      {
        match: { prefix: '/entry' },
        route: { weighted_clusters: { clusters: [{ name: 'c', weight: 1, ...perRoute({ disabled: true }) }] } },
      },
      route('/dead', {}, 'dead'),
      route('/'),
    ],
    clusters: [
      staticCluster('c', endpoints, { common_lb_config: { override_host_status: { statuses } } }),
      staticCluster('plain', endpoints),
      staticCluster('dead', [{ host: '127.0.0.1', port: 1 }]),
    ],
  })
  const now = Math.floor(Date.now() / 1000)
  const nobody = '127.0.0.1:1'
  /** Where the request comes to where its session says so, else anywhere; and what its client is told. */
  const told = ({ answer, code, flags, details }: Said): object => {
    const upstream = header(answer, 'x-upstream') ?? ''
    const address = ups.find((u) => u.name === upstream)?.address ?? nobody
    const [set = ''] = headerValues(answer, 'set-cookie')
    const value = /^sess="([^"]*)"/.exec(set)?.[1] ?? ''
    const bytes = Buffer.from(value, 'base64')
    const end = 2 + (bytes[1] ?? 0)
    return {
      status: answer.status,
      log: [code, flags, details],
      cookie: set === '' ? 'none' : set.replace(value, bytes.toString('latin1', 2, end) === address ? 'it' : 'another'),
      ends: bytes.length > end,
      header: header(answer, 'x-sess') === base64(address) ? 'it' : header(answer, 'x-sess'),
    }
  }
  type Row = readonly [target: string, headers: Readonly<Record<string, string>>, to?: EchoUpstream]
  const inCookie = (value: string) => ({ cookie: `sess="${value}"` })
  const rows: readonly Row[] = [
    ['/', {}],
    ['/ttl', {}],
    ['/nopath', {}],
    ['/header', {}],
    ['/off', {}],
    ['/off', inCookie(cookieOf(a.address))],
    ['/entry', {}],
    ['/sub', {}],
    ['/sub?x', {}],
    ['/sub/x', {}],
    ['/submarine', {}],
    ['/submarine', inCookie(cookieOf(b.address))],
    ['/', { cookie: `sess=${base64(a.address)}` }, a],
    ['/', inCookie(base64(b.address)), b],
    ['/', { cookie: `x=1; sess=${cookieOf(b.address)}; y=2` }, b],
    ['/', { cookie: `sess=${cookieOf(a.address)}; sess=${cookieOf(b.address)}` }, a],
    ['/', inCookie(cookieOf(a.address)), a],
    ['/', inCookie(cookieOf(drained.address)), drained],
    ['/plain', inCookie(cookieOf(drained.address))],
    ['/strict', inCookie(cookieOf(drained.address)), drained],
    ['/strict', inCookie(cookieOf(nobody))],
    ['/strict', inCookie('garbage')],
    ['/strict', {}],
    ['/', inCookie(cookieOf(nobody))],
    ['/', inCookie('!!!')],
    ['/ttl', inCookie(cookieOf(a.address, now + 50)), a],
    ['/ttl', inCookie(cookieOf(b.address, now - 50))],
    ['/ttl', inCookie(cookieOf(b.address)), b],
    ['/header', { 'x-sess': base64(b.address) }, b],
    ['/header', { 'x-sess': base64(drained.address) }, drained],
    ['/header', { 'x-sess': base64(nobody) }],
    ['/header', { 'x-sess': 'zzz' }],
    ['/nopath', inCookie(cookieOf(b.address)), b],
    ['/', { ...inCookie(cookieOf(a.address)), 'x-reset': '1' }],
    ['/', { 'x-reset': '1' }],
    ['/dead', {}],
    ['/dead', inCookie(cookieOf(nobody))],
    ['/dead', inCookie(cookieOf(a.address))],
  ]
  for (const [target, headers, to] of rows) {
    const name = `${target} ${JSON.stringify(headers)}`
    const { envoy, heddle } = await beside.ask(t, { target, headers })
    // A reset is told without words on whose it was.
    if (headers['x-reset'] === undefined) t.same(told(heddle), told(envoy), name)
    else t.equal(headerValues(heddle.answer, 'set-cookie').length, headerValues(envoy.answer, 'set-cookie').length, name)
    if (to === undefined) continue
    t.equal(header(envoy.answer, 'x-upstream'), to.name, `${name}: Envoy`)
    t.equal(header(heddle.answer, 'x-upstream'), to.name, `${name}: heddle`)
  }
  const explained = beside.heddle.explain(String((await beside.heddle.record(17))['request_id']))
  t.match(explained?.steps.find((s) => s.step === 'session')?.text, /its session is with that endpoint/)
  t.same(beside.heddle.errors, [])
})
