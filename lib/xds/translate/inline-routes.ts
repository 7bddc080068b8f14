// The route configuration inside of a connection manager.
import type { RouteTable } from '../../state/route.ts'
import type { RouteConfiguration } from '../proto/route.ts'
import type { Findings } from './findings.ts'
import { emptyTable, translateRoutes } from './route-configuration.ts'
import type { RouteTerms } from './route-terms.ts'

const GUARDED: RouteTerms = { unsafeRetries: 'held-back' }

/** With faults the table is empty. */
export function translateInlineRoutes(
  config: RouteConfiguration,
  bytes: Uint8Array,
  findings: Findings,
  terms: RouteTerms = GUARDED,
): RouteTable {
  return translateRoutes(bytes, terms, findings, null) ?? emptyTable(config.name)
}
