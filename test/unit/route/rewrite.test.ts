import t from 'tap'
import { rewriteTarget } from '../../../lib/route/rewrite.ts'
import type { PathRewrite, RouteMatch } from '../../../lib/state/route.ts'
import { forward, path, route, table, view, virtualHost, world } from './world.ts'

function rewritten(match: Partial<RouteMatch>, pathRewrite: PathRewrite | null, target: string): string {
  const made = route('r', match, forward({ pathRewrite }))
  const compiled = world([table(80, [virtualHost('v', ['*'], [made])])]).list[0]?.virtualHosts[0]?.routes[0]
  if (compiled === undefined) throw new Error('no route')
  const request = view(target)
  return rewriteTarget(compiled, request.path, request.query)
}

const prefix = (value: string): PathRewrite => ({ kind: 'prefix', pattern: '', value })
const full = (value: string): PathRewrite => ({ kind: 'full', pattern: '', value })
const regex = (pattern: string, value: string): PathRewrite => ({ kind: 'regex', pattern, value })

t.test('VirtualService rewrites are literal', async (t) => {
  const swap = regex('/([a-z0-9]+)/([0-9]+)', '/\\2/\\1')
  const rows: [match: Partial<RouteMatch>, rewrite: PathRewrite | null, target: string, expected: string][] = [
    [path('prefix', '/p1'), null, '/p1/x?q=1', '/p1/x?q=1'],
    [path('prefix', '/p1'), prefix('/new'), '/p1', '/new'],
    [path('prefix', '/p1'), prefix('/new'), '/p1/x?q=1', '/new/x?q=1'],
    [path('prefix', '/p1'), prefix('/new'), '/p1/x?', '/new/x?'],
    [path('prefix', '/p1'), prefix('/new'), '/p1x', '/newx'],
    [path('prefix', '/p1'), prefix('/new'), '/p1//x', '/new//x'],
    [path('prefix', '/p2/'), prefix('/'), '/p2/', '/'],
    [path('prefix', '/p2/'), prefix('/'), '/p2/x', '/x'],
    [path('prefix', '/p3'), prefix('/'), '/p3', '/'],
    [path('prefix', '/p3'), prefix('/'), '/p3/x', '//x'],
    [path('prefix', '/p3'), prefix('/'), '/p3x', '/x'],
    [path('exact', '/p4'), prefix('/new'), '/p4?q=1', '/new?q=1'],
    [path('regex', '/p5/.*'), prefix('/new'), '/p5/abc?q=1', '/new?q=1'],
    [path('prefix', '/p4'), full('/new'), '/p4/x?q=1', '/new?q=1'],
    [path('prefix', '/p6'), swap, '/p6/12', '/12/p6'],
    [path('prefix', '/p6'), swap, '/p6/12/34?x=/a/1', '/12/p6/34?x=/a/1'],
    [path('prefix', '/P7', true), prefix('/new'), '/p7/x', '/new/x'],
    [path('prefix', '/P7', true), prefix('/new'), '/P7X', '/newX'],
    [path('prefix', '/p9'), prefix('/new?z=1'), '/p9/x', '/new?z=1/x'],
    [path('prefix', '/p9'), prefix('/new?z=1'), '/p9/x?y=2', '/new?z=1/x?y=2'],
    [path('prefix', '/pa/'), prefix('new'), '/pa/x', 'newx'],
    [path('prefix', '/pf'), regex('.*', ''), '/pf/x?x', '/pf/x?x'],
    [path('prefix', '/pf'), regex('x', 'y'), '/pfxx?x', '/pfyy?x'],
    [{}, prefix('/new'), '/anything', '/newanything'],
  ]
  for (const [match, rewrite, target, expected] of rows) {
    t.equal(rewritten(match, rewrite, target), expected, `${match.path?.kind} ${match.path?.value} ${rewrite?.value} ${target}`)
  }
})

t.test('prefixes of segments: what replaces them is written as it stands, and may be nothing', async (t) => {
  const rows: [match: string, value: string, target: string, expected: string][] = [
    ['/foo', '/xyz', '/foo/bar', '/xyz/bar'],
    ['/foo/', '/xyz', '/foo/bar', '/xyz/bar'],
    ['/foo', '/xyz/', '/foo/bar', '/xyz//bar'],
    ['/foo', '/xyz/', '/foo', '/xyz/'],
    ['/foo', '/xyz', '/foo', '/xyz'],
    ['/foo', '/xyz', '/foo/', '/xyz/'],
    ['/foo', '', '/foo/bar', '/bar'],
    ['/foo', '', '/foo/', '/'],
    ['/foo', '', '/foo', '/'],
    ['/foo', '/', '/foo', '/'],
    ['/foo', '/', '/foo/', '//'],
  ]
  for (const [match, value, target, expected] of rows) {
    t.equal(rewritten(path('pathPrefix', match), prefix(value), target), expected, `${match} → ${value} on ${target}`)
  }
})
