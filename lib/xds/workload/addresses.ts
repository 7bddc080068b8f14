// What istio.workload has as bytes and choices, as the nouns have it.
import { canonicalIp } from '../../base/ip-address.ts'
import type { IpPrefix } from '../../base/ip-prefix.ts'
import type { GatewayAddress, NetworkAddress } from '../../state/network-address.ts'
import type { PortMapping } from '../../state/workload.ts'
import type { GatewayAddress as GatewayMessage, NetworkAddress as NetworkMessage, Port } from '../proto/workload.ts'
import type { Findings } from '../translate/findings.ts'

/** Canonical; null, which is told as a fault, unless there are 4 bytes or 16. */
export function ipOfBytes(bytes: Uint8Array, findings: Findings): string | null {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length === 16) {
    const text = Buffer.from(bytes).toString('hex')
    return canonicalIp((text.match(/.{4}/g) as string[]).join(':'))
  }
  findings.fault(`an IP address has 4 bytes or 16, not ${bytes.length}`)
  return null
}

export function prefixOfBytes(bytes: Uint8Array, length: number, findings: Findings): IpPrefix | null {
  const address = ipOfBytes(bytes, findings)
  if (address === null) return null
  if (length <= bytes.length * 8) return { address, length }
  findings.fault(`a prefix of ${address} cannot have ${length} bits`)
  return null
}

export function networkAddressOf({ network, address }: NetworkMessage, findings: Findings): NetworkAddress | null {
  const ip = ipOfBytes(address, findings)
  return ip === null ? null : { network, address: ip }
}

/** null: there is none, or it is a fault. */
export function gatewayOf(message: GatewayMessage | null, findings: Findings): GatewayAddress | null {
  if (message === null) return null
  const { hostname, address, hbone_mtls_port: hboneMtlsPort } = message
  checkPort(hboneMtlsPort, findings.at('hbone_mtls_port'))
  if (hostname !== null) {
    const { namespace } = hostname
    return { destination: { kind: 'hostname', namespace, hostname: hostname.hostname.toLowerCase() }, hboneMtlsPort }
  }
  if (address === null) {
    findings.fault('neither `hostname` nor `address` is set')
    return null
  }
  const place = networkAddressOf(address, findings.at('address'))
  return place === null ? null : { destination: { kind: 'address', ...place }, hboneMtlsPort }
}

export function portsOf(ports: readonly Port[], findings: Findings): PortMapping[] {
  return ports.map(({ service_port: servicePort, target_port: targetPort }, i) => {
    checkPort(servicePort, findings.at('ports', i))
    checkPort(targetPort, findings.at('ports', i))
    return { servicePort, targetPort }
  })
}

export function checkPort(port: number, findings: Findings): void {
  if (port > 65_535) findings.fault(`${port} is no port`)
}
