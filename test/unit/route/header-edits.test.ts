import t from 'tap'
import { applyEdits, compileEdits } from '../../../lib/route/header-edits.ts'
import { checkTemplate, type EditContext } from '../../../lib/route/header-template.ts'
import type { HeaderEdit } from '../../../lib/state/route.ts'
import { DI, URX } from '../../../lib/telemetry/response-flags.ts'
import { HeaderList } from './world.ts'

type Headers = readonly (readonly [string, string])[]

function context(headers: HeaderList, over: Partial<EditContext> = {}): EditContext {
  return {
    method: 'GET',
    scheme: 'http',
    authority: 'a:9080',
    pathWithQuery: '/h4?q=1',
    protocol: 'HTTP/1.1',
    downstreamRemoteAddress: '127.0.0.1:5555',
    downstreamLocalAddress: '127.0.0.2:8080',
    upstreamHost: '',
    upstreamCluster: 'outbound|9080||a',
    upstreamLocalAddress: '',
    requestedServerName: '',
    downstreamTls: null,
    routeName: 'template',
    virtualHostName: 'a:9080',
    responseCode: 0,
    responseFlags: 0,
    responseCodeDetails: '',
    startTimeMs: Date.UTC(2026, 10, 21, 10, 22, 8, 94),
    durationMs: 12,
    bytesReceived: 3,
    bytesSent: 4,
    attempts: 1,
    hostname: 'box',
    requestHeaders: headers,
    responseHeaders: null,
    ...over,
  }
}

const only = (op: HeaderEdit['op'], name: string): HeaderEdit => ({ op, name, value: 'new' })
const set = (name: string, value: string): HeaderEdit => ({ op: 'set', name, value })
const add = (name: string, value: string): HeaderEdit => ({ op: 'add', name, value })
const remove = (name: string): HeaderEdit => ({ op: 'remove', name, value: '' })

function edited(edits: readonly HeaderEdit[], before: Headers, over: Partial<EditContext> = {}): Headers {
  const headers = new HeaderList(before)
  const compiled = compileEdits(edits)
  if (compiled !== null) applyEdits(compiled, headers, context(headers, over))
  return headers.entries
}

t.test('remove, set, add', async (t) => {
  const client: Headers = [
    ['x-set', 'c'],
    ['x-add', 'c'],
    ['x-both', 'c'],
    ['x-rm', 'c'],
  ]
  const level = [remove('x-rm'), set('x-both', 's'), set('x-set', 's'), add('x-add', 'a'), add('x-both', 'a')]
  t.strictSame(edited(level, client), [
    ['x-add', 'c'],
    ['x-both', 's'],
    ['x-set', 's'],
    ['x-add', 'a'],
    ['x-both', 'a'],
  ])
})

t.test('rows', async (t) => {
  const rows: [edits: readonly HeaderEdit[], before: Headers, after: Headers, what: string][] = [
    [[set('X-UPPER', 'V')], [], [['x-upper', 'V']], 'names are sent in lower case'],
    [[set('x-e', '')], [], [], 'set to nothing adds nothing'],
    [[set('x-e', '')], [['x-e', 'c']], [['x-e', 'c']], 'and leaves what is there'],
    [[set('x-e', '%REQ(x-none)%')], [['x-e', 'c']], [['x-e', 'c']], 'a template that is empty does so too'],
    [
      [add('cookie', 'b=2')],
      [['cookie', 'a=1']],
      [
        ['cookie', 'a=1'],
        ['cookie', 'b=2'],
      ],
      'add keeps what is there',
    ],
    [
      [remove('x')],
      [
        ['x', '1'],
        ['x', '2'],
        ['y', '3'],
      ],
      [['y', '3']],
      'remove takes all values',
    ],
    [
      [set('x-a', 'new'), set('x-b', '%REQ(x-a)%')],
      [['x-a', 'old']],
      [
        ['x-a', 'new'],
        ['x-b', 'old'],
      ],
      'templates do not see what the same level sets',
    ],
    [[remove('x-a'), set('x-b', 'was:%REQ(x-a)%')], [['x-a', 'old']], [['x-b', 'was:']], 'but what it removes is gone'],
    [
      [add('x-a', 'added'), set('x-a', 'set')],
      [['x-a', 'old']],
      [
        ['x-a', 'set'],
        ['x-a', 'added'],
      ],
      'what is added stays, also before what is set (as seen of Envoy 1.40)',
    ],
    [[only('addIfAbsent', 'x-a')], [], [['x-a', 'new']], 'added where there is none'],
    [[only('addIfAbsent', 'x-a')], [['x-a', 'old']], [['x-a', 'old']], 'not added where there is one'],
    [[only('setIfPresent', 'x-a')], [['x-a', 'old']], [['x-a', 'new']], 'set where there is one'],
    [[only('setIfPresent', 'x-a')], [], [], 'not set where there is none'],
    [[remove('x-a'), only('addIfAbsent', 'x-a')], [['x-a', 'old']], [['x-a', 'new']], 'what is removed is not there'],
    [
      [set('x-a', 'first'), only('addIfAbsent', 'x-a')],
      [],
      [
        ['x-a', 'first'],
        ['x-a', 'new'],
      ],
      'what the same level sets is not there yet',
    ],
  ]
  for (const [edits, before, after, what] of rows) t.strictSame(edited(edits, before), after, what)
})

t.test('no edits compile to null, constants need no context', async (t) => {
  t.equal(compileEdits([]), null)
  t.equal(compileEdits([set('x', '')]), null)
  t.equal(compileEdits([set('x', 'v'), add('y', '100%%'), remove('z')])?.constant, true)
  t.equal(compileEdits([set('x', '%PROTOCOL%')])?.constant, false)
})

t.test('operators', async (t) => {
  const request: Headers = [
    ['x-in', 'inval'],
    ['x-two', 'one'],
    ['x-two', 'two'],
  ]
  const response = new HeaderList([['server', 'app']])
  const answered = { responseCode: 200, responseHeaders: response, responseCodeDetails: 'via_upstream' }
  const rows: [value: string, expected: string, over?: Partial<EditContext>][] = [
    ['plain', 'plain'],
    ['100%%', '100%'],
    ['%%REQ%%', '%REQ%'],
    ['a-%REQ(x-none)%-b', 'a--b'],
    ['%REQ(:path)%', '/h4?q=1'],
    ['%REQ(:METHOD)%', 'GET'],
    ['%REQ(:authority)%', 'a:9080'],
    ['%REQ(host)%', 'a:9080'],
    ['%REQ(:scheme)%', 'http'],
    ['%REQ(X-IN)%', 'inval'],
    ['%REQ(x-two)%', 'one'],
    ['%REQ(X-NONE?X-IN):3%', 'inv'],
    ['%REQ(x-in?x-two):2%', 'in'],
    ['%REQ(x-in):0%x', 'x'],
    ['%RESP(server)%', 'app', answered],
    ['x%RESP(server)%', 'x'],
    ['%RESP(:status)%', '200', answered],
    ['%PROTOCOL%', 'HTTP/1.1'],
    ['%DOWNSTREAM_REMOTE_ADDRESS%', '127.0.0.1:5555'],
    ['%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', '127.0.0.1'],
    ['%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', '::1', { downstreamRemoteAddress: '[::1]:5' }],
    ['%DOWNSTREAM_REMOTE_PORT%', '5555'],
    ['%DOWNSTREAM_LOCAL_ADDRESS%', '127.0.0.2:8080'],
    ['%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%', '127.0.0.2'],
    ['%DOWNSTREAM_LOCAL_PORT%', '8080'],
    ['%RESPONSE_CODE%', '0'],
    ['%RESPONSE_CODE%', '200', answered],
    ['%RESPONSE_FLAGS%', '-'],
    ['%RESPONSE_FLAGS%', 'DI,URX', { responseFlags: URX | DI }],
    ['%RESPONSE_CODE_DETAILS%', 'via_upstream', answered],
    ['%UPSTREAM_HOST%|', '|'],
    ['%UPSTREAM_HOST%', '127.0.2.1:9080', { upstreamHost: '127.0.2.1:9080' }],
    ['%UPSTREAM_CLUSTER%', 'outbound|9080||a'],
    ['%ROUTE_NAME%/%VIRTUAL_HOST_NAME%', 'template/a:9080'],
    ['%HOSTNAME%', 'box'],
    ['%BYTES_RECEIVED%-%BYTES_SENT%-%DURATION%', '3-4-12'],
    ['%START_TIME%', '2026-11-21T10:22:08.094Z'],
    ['%START_TIME(%s.%3f)%', '1795256528.094'],
    ['%START_TIME(%Y/%m/%dT%H:%M:%S%z %3f)%', '2026/11/21T10:22:08%z 094'],
  ]
  for (const [value, expected, over] of rows) {
    t.strictSame(edited([set('x-t', value)], request, over), [...request, ['x-t', expected]], value)
  }
})

t.test('faults of templates', async (t) => {
  const rows: [value: string, message: string | null][] = [
    ['fine %REQ(x)%', null],
    ['50%', 'un-escaped % at character 3; write %% for a percent sign'],
    ['%REQ(x)', 'un-escaped % at character 1; write %% for a percent sign'],
    ['%REQ%', '%REQ% wants a header name, as in %REQ(x-name)% or %REQ(x-name?x-other)%'],
    ['%RESP()%', '%RESP% wants a header name, as in %RESP(x-name)% or %RESP(x-name?x-other)%'],
    ['%PROTOCOL(x)%', '%PROTOCOL% takes no parameter'],
    ['%PROTOCL%', 'unknown operator %PROTOCL%; did you mean `PROTOCOL`?'],
    ['%NONSENSE_HERE%', 'unknown operator %NONSENSE_HERE%'],
    ['%a b%', '%a b% is not of the form %COMMAND%, %COMMAND(parameter)% or %COMMAND(parameter):length%'],
  ]
  for (const [value, message] of rows) t.equal(checkTemplate(value), message, value)
})

t.test('with several destinations the destination runs first, so that the route wins', async (t) => {
  const destination = [set('x-l', 'dest'), add('x-a', 'dest')]
  const ofRoute = [set('x-l', 'route'), add('x-a', 'route')]
  const client: Headers = [
    ['x-l', 'c'],
    ['x-a', 'c'],
  ]
  t.strictSame(edited(ofRoute, edited(destination, client)), [
    ['x-a', 'c'],
    ['x-a', 'dest'],
    ['x-l', 'route'],
    ['x-a', 'route'],
  ])
})
