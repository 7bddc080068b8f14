// Sentences about what a tunnel decided, for `heddle explain` and the admin page. Loaded only when somebody asks.
import type { MeshService } from '../../state/mesh-service.ts'
import { addressText, gatewayText } from '../../state/network-address.ts'
import { BUILT_IN, type Origin, originText } from '../../state/origin.ts'
import { type Workload, workloadIdentity } from '../../state/workload.ts'
import { policySentences } from './explain-l4.ts'
import type { InboundDecision } from './inbound-decision.ts'
import type { OutboundDecision } from './outbound-decision.ts'
import type { Balanced, TunnelStep } from './tunnel-steps.ts'

export interface TunnelSentence {
  readonly text: string
  /** The object that it is about; BUILT_IN for none. */
  readonly origin: Origin
}

export function explainOutbound(decision: OutboundDecision): TunnelSentence[] {
  return [...decision.steps.flatMap(sentencesOf), ...outcomeOf(decision)]
}

export function explainInbound(decision: InboundDecision): TunnelSentence[] {
  return [...decision.steps.flatMap(sentencesOf), ...answerOf(decision)]
}

/** For a terminal: a line each, with the place of the object. */
export function tunnelText(sentences: readonly TunnelSentence[]): string {
  return sentences
    .map(({ text, origin }) => `${text}${origin.kind === BUILT_IN.kind ? '' : `  [${originText(origin)}]`}\n`)
    .join('')
}

function sentencesOf(step: TunnelStep): TunnelSentence[] {
  switch (step.kind) {
    case 'source':
      return [about(step.workload, `from workload ${nameOf(step.workload)}, as ${workloadIdentity(step.workload)}`)]
    case 'service': {
      const { address, length } = step.prefix?.prefix ?? { address: '', length: 0 }
      const how = step.prefix === null ? 'is an address' : `is in ${address}/${length}`
      return [about(step.service, `${step.ip} ${how} of service ${serviceName(step.service)}`)]
    }
    case 'workload':
      return [about(step.workload, `${step.ip} is workload ${nameOf(step.workload)}`)]
    case 'stranger':
      return [plain(`${step.ip} is no service and no workload${step.network === '' ? '' : ` of network ${step.network}`}`)]
    case 'weighted-waypoint': {
      const { service, waypoint, weight, total } = step
      return [
        about(
          service,
          `service ${serviceName(service)} has several waypoints; drawn: ${gatewayText(waypoint)}, ${weight} of ${total}`,
        ),
      ]
    }
    case 'waypoint':
      return [about(step.of, `${what(step.of)} is reached through its waypoint ${gatewayText(step.waypoint)}`)]
    case 'from-waypoint':
      return [about(step.workload, `the client is the waypoint of workload ${nameOf(step.workload)}: it goes straight there`)]
    case 'waypoint-not-used': {
      const { workload, service } = step
      const text = `the waypoint of workload ${nameOf(workload)} is not used: service ${serviceName(service)} was addressed, which has none`
      return [about(workload, text)]
    }
    case 'balanced':
      return [about(step.outcome.service, balancedText(step.outcome, step.port))]
    case 'picked': {
      const { workload, ip, port } = step
      const where = ip === null ? `port ${port}, without an address` : addressText(ip, port)
      return [about(workload, `picked workload ${nameOf(workload)}, ${where}`)]
    }
    case 'resolved': {
      const { workload, ip, of } = step
      return [about(workload, `${workload.hostname} has ${plural(of, 'address', 'es')}; taken: ${ip}`)]
    }
    case 'remote': {
      const { workload, gateway } = step
      return [
        about(
          workload,
          `workload ${nameOf(workload)} is in network ${quoted(workload.network)}, behind gateway ${gatewayText(gateway)}`,
        ),
      ]
    }
    case 'passthrough':
      return step.service === null
        ? [plain('it goes on as it came: nobody is known at that address')]
        : [about(step.service, `it goes on as it came: service ${serviceName(step.service)} has load balancing PASSTHROUGH`)]
    case 'authority':
      return [plain(`the tunnel is for ${step.authority}: ${AUTHORITY_WORDS[step.why]}`)]
    case 'target': {
      const { workload, ip, port, service } = step
      const by = service === null ? '' : `, a port of service ${serviceName(service)}`
      return [about(workload, `to workload ${nameOf(workload)}, ${addressText(ip, port)}${by}`)]
    }
    case 'application-tunnel':
      return [about(step.workload, `workload ${nameOf(step.workload)} takes tunnels itself, on port ${step.port}`)]
    case 'policy':
      return policySentences(step)
    case 'refused':
      return [plain(`refused: ${step.error}`)]
  }
}

const AUTHORITY_WORDS: Readonly<Record<Extract<TunnelStep, { kind: 'authority' }>['why'], string>> = {
  'own-address': 'that is where it came to',
  'application-tunnel': 'the workload has an application tunnel, and is told',
  waypoint: 'the workload is the waypoint of whoever has that address',
  hostname: 'a service by its name',
}

function outcomeOf(d: OutboundDecision): TunnelSentence[] {
  if (d.verdict === 'deny') return []
  if (d.verdict === 'ask') return [plain(`the control plane is asked who has ${d.lookup}`)]
  if (d.verdict === 'resolve') return [plain(`the addresses of ${d.lookup} are needed`)]
  const dial = d.dial === null ? '?' : addressText(d.dial.ip, d.dial.port)
  if (d.verdict === 'tcp') return [plain(`dials ${dial} in plain text`)]
  const outer = `dials ${dial} with mTLS, where one of ${d.serverIdentities.join(', ')} is expected, and asks for ${d.authority}`
  if (d.verdict === 'hbone') return [plain(outer)]
  return [plain(`${outer}; in that tunnel opens another one, to one of ${d.innerIdentities.join(', ')}`)]
}

function answerOf(d: InboundDecision): TunnelSentence[] {
  if (d.verdict === 'refuse' || d.target === null) return []
  const from = d.bindIp === null ? '' : ` from the client's address ${d.bindIp}`
  const header = d.proxyHeader === null ? '' : ', with a PROXY protocol header'
  return [plain(`dials ${addressText(d.target.ip, d.target.port)}${from}${header}`)]
}

/** `service a/b:80 has 5 endpoints: 1 not healthy, 1 in a farther place; 1 of 3 by weight`. */
function balancedText(b: Balanced, port: number): string {
  const left = [
    b.unhealthy > 0 ? `${b.unhealthy} not healthy` : '',
    b.withoutPort > 0 ? `${b.withoutPort} without port ${port}` : '',
    b.unreachable > 0 ? `${b.unreachable} without an address` : '',
    b.farther > 0 ? fartherText(b) : '',
  ].filter((s) => s !== '')
  const out = left.length === 0 ? '' : `, left out: ${left.join(', ')}`
  const pick = b.candidates === 0 ? 'none is left' : `one of ${b.candidates} by weight`
  return `service ${serviceName(b.service)} has ${plural(b.endpoints, 'endpoint')}${out}; ${pick}`
}

function fartherText({ farther, service, shared }: Balanced): string {
  const scopes = (service.loadBalancing?.scopes ?? []).join(', ')
  if (service.loadBalancing?.mode === 'STRICT') return `${farther} that do not share ${scopes}`
  return `${farther} farther away by ${scopes}${shared === 0 ? '' : ` (the nearest have rank ${shared})`}`
}

function about(noun: { readonly origin: Origin }, text: string): TunnelSentence {
  return { text, origin: noun.origin }
}

function plain(text: string): TunnelSentence {
  return { text, origin: BUILT_IN }
}

function what(of: MeshService | Workload): string {
  return 'uid' in of ? `workload ${nameOf(of)}` : `service ${serviceName(of)}`
}

function nameOf(w: Workload): string {
  return `${w.namespace}/${w.name === '' ? w.uid : w.name}`
}

function serviceName(s: MeshService): string {
  return `${s.namespace}/${s.hostname}`
}

function plural(n: number, noun: string, ending = 's'): string {
  return `${n} ${noun}${n === 1 ? '' : ending}`
}

function quoted(network: string): string {
  return network === '' ? 'the default network' : network
}
