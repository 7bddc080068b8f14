// Gateway and ReferenceGrant of the Gateway API: what their custom resource definitions refuse.
import type { Report } from '../finding.ts'
import type { ReferenceGrantSpec } from '../schema/gateway-api-fields.ts'
import type { GatewayListenerSpec, KubernetesGatewaySpec } from '../schema/kubernetes-gateway.ts'
import { routeHostProblem } from './gateway-api-route.ts'
import { checkPort } from './names.ts'

const MAX_LISTENERS = 64
const WITHOUT_TLS = new Set(['HTTP', 'TCP', 'UDP'])
const WITHOUT_HOST = new Set(['TCP', 'UDP'])

export function validateKubernetesGateway({ listeners = [] }: KubernetesGatewaySpec, report: Report): void {
  if (listeners.length === 0) report([], 'a Gateway needs at least one of `listeners`')
  if (listeners.length > MAX_LISTENERS)
    report(['listeners'], `at most ${MAX_LISTENERS} listeners can be given, found ${listeners.length}`)
  const names = new Set<string>()
  const combinations = new Map<string, string>()
  for (const [i, listener] of listeners.entries()) {
    const at = ['listeners', i]
    checkListener(listener, i, report)
    if (names.has(listener.name)) report([...at, 'name'], `the name \`${listener.name}\` is used twice`)
    names.add(listener.name)
    const { port, protocol, hostname = '' } = listener
    const key = `${port} ${protocol} ${hostname}`
    const other = combinations.get(key)
    if (other !== undefined) report(at, `the listener \`${other}\` has the same port, protocol and hostname`)
    else combinations.set(key, listener.name)
  }
}

function checkListener({ port, protocol, hostname, tls, allowedRoutes }: GatewayListenerSpec, i: number, report: Report): void {
  const at = ['listeners', i]
  checkPort(port, [...at, 'port'], report)
  if (hostname !== undefined && hostname !== '') {
    const problem = routeHostProblem(hostname)
    if (problem !== null) report([...at, 'hostname'], problem)
    if (WITHOUT_HOST.has(protocol)) report([...at, 'hostname'], `a listener for ${protocol} has no hostname`, true)
  }
  if (tls !== undefined && WITHOUT_TLS.has(protocol)) report([...at, 'tls'], `a listener for ${protocol} has no \`tls\``, true)
  if (protocol === 'HTTPS' && tls?.mode === 'Passthrough')
    report([...at, 'tls', 'mode'], 'HTTPS ends here: expected Terminate, or the protocol TLS')
  const { mode = 'Terminate', certificateRefs = [], options = {} } = tls ?? {}
  if (tls !== undefined && mode === 'Terminate' && certificateRefs.length === 0 && Object.keys(options).length === 0)
    report([...at, 'tls'], 'mode Terminate needs `certificateRefs`')
  const namespaces = allowedRoutes?.namespaces
  if (namespaces?.from === 'Selector' && namespaces.selector === undefined)
    report([...at, 'allowedRoutes', 'namespaces'], '`from: Selector` needs a `selector`')
}

export function validateReferenceGrant({ from = [], to = [] }: ReferenceGrantSpec, report: Report): void {
  if (from.length === 0) report([], 'at least one of `from` is needed')
  if (to.length === 0) report([], 'at least one of `to` is needed')
}
