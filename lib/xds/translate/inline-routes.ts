// The route configuration inside of a connection manager.
import type { RouteTable } from '../../state/route.ts'
import type { RouteConfiguration } from '../proto/route.ts'
import type { Findings } from './findings.ts'

export function translateInlineRoutes(config: RouteConfiguration, _bytes: Uint8Array, findings: Findings): RouteTable {
  findings.note('routes are not translated yet')
  return { name: config.name, port: 0, virtualHosts: [] }
}
