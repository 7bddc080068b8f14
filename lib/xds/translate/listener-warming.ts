// What a listener waits for before it may take connections. Until then the one before it goes on.
import { SYSTEM_TRUST } from '../../state/tls.ts'
import type { TranslatedListener } from './listener.ts'
import { type Arrived, secretText } from './warming.ts'

export interface ArrivedForListeners extends Pick<Arrived, 'secrets'> {
  /** Names of RouteConfigurations that have come. */
  readonly routes: { has(name: string): boolean }
}

/** Clauses, `the routes 9080`; none: it can serve. */
export function listenerWaitsFor(listener: TranslatedListener, arrived: ArrivedForListeners): string[] {
  const { routeNames, missingExtensions, secretNames, credentials } = listener
  const own = new Set(credentials.map((c) => c.name))
  return [
    ...missingExtensions.map((name) => `the extension ${name}`),
    ...routeNames.filter((name) => !arrived.routes.has(name)).map((name) => `the routes ${name}`),
    ...secretNames.filter((name) => !own.has(name) && name !== SYSTEM_TRUST && !arrived.secrets.has(name)).map(secretText),
  ]
}
