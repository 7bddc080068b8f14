// Where connections to a cluster's endpoints come from (envoy.config.core.v3.BindConfig).
import { isIP } from 'node:net'
import type { UpstreamBind } from '../../state/cluster.ts'
import type { BindConfig } from '../proto/core.ts'
import type { Findings } from './findings.ts'

/** Linux. */
const SOL_SOCKET = 1
const SO_MARK = 36
const ANY = new Set(['0.0.0.0', '::'])

/** null: the system's choice. */
export function translateBind(of: BindConfig | null, findings: Findings): UpstreamBind | null {
  if (of === null) return null
  const sources = { source4: '', source6: '' }
  const extra = of.extra_source_addresses.map(({ address }) => address)
  for (const [i, source] of [of.source_address, ...extra].entries()) {
    if (source === null) continue
    const at = i === 0 ? findings.at('source_address') : findings.at('extra_source_addresses', i - 1)
    const family = isIP(source.address)
    if (family === 0) at.fault(`"${source.address}" is no IP address`)
    if ((source.port_value ?? 0) !== 0) at.at('port_value').fault(`a fixed port (${source.port_value}) is not carried out`)
    const field = family === 6 ? 'source6' : 'source4'
    if (sources[field] === '' && !ANY.has(source.address)) sources[field] = source.address
  }
  if (of.freebind === true) findings.at('freebind').note('it is not carried out')
  let mark = 0
  for (const [i, option] of of.socket_options.entries()) {
    if (option.level === SOL_SOCKET && option.name === SO_MARK && option.int_value !== null) mark = option.int_value
    else findings.at('socket_options', i).note(`the option ${option.name} of level ${option.level} is not set`)
  }
  if (sources.source4 === '' && sources.source6 === '' && mark === 0) return null
  return { ...sources, clientSource: false, mark }
}
