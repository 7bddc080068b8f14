// How a filter's configuration is found: in the filter, as JSON with the name of its type, or as a resource of its own (ECDS).
import { type ExtensionConfigSource, TypedStruct, XdsTypedStruct } from '../proto/core.ts'
import { type Any, TYPE_URL_PREFIX, typeUrlOf } from '../proto/schema.ts'
import type { ChainScope, FilterConfig } from './chain-scope.ts'
import type { Findings } from './findings.ts'

export interface ConfiguredFilter {
  readonly name: string
  readonly typed_config: Any | null
  readonly config_discovery: ExtensionConfigSource | null
}

/** null: there is none, which is told as a fault, or it has not come yet, which the scope knows. */
export function configOf(filter: ConfiguredFilter, scope: ChainScope, findings: Findings): FilterConfig | null {
  const { typed_config: given, config_discovery: source } = filter
  if (given !== null) return unwrapped(given, findings)
  if (source === null) {
    findings.fault(`the filter ${filter.name} has no configuration`)
    return null
  }
  const found = discovered(filter.name, source, scope, findings.at('config_discovery'))
  return found === null ? null : unwrapped(found, findings)
}

function discovered(name: string, source: ExtensionConfigSource, scope: ChainScope, findings: Findings): Any | null {
  const { config_source: from, default_config: fallback, type_urls: types } = source
  if (from !== null && from.ads === null && from.self === null) {
    findings.fault('extensions come over the same stream as listeners (ads), not from elsewhere')
    return null
  }
  const found = scope.extension(name)
  if (found !== null) {
    const { typeName } = unwrapped(found, findings)
    if (types.length > 0 && !types.some((t) => nameOf(t) === typeName)) {
      findings.fault(`the extension ${name} is a ${typeName}, which is none of ${types.map(nameOf).join(', ')}`)
      return null
    }
    return found
  }
  // Until it comes the default does, where that is allowed to begin with; else the listener waits.
  if (fallback === null || !source.apply_default_config_without_warming) scope.missing.add(name)
  return fallback
}

function unwrapped(packed: Any, findings: Findings): FilterConfig {
  for (const wrapper of [TypedStruct, XdsTypedStruct]) {
    if (packed.typeUrl !== typeUrlOf(wrapper)) continue
    const inner = findings.decode(packed.value, wrapper)
    return { typeName: nameOf(inner?.type_url ?? ''), config: null, json: inner?.value ?? null }
  }
  return { typeName: nameOf(packed.typeUrl), config: packed, json: null }
}

function nameOf(typeUrl: string): string {
  return typeUrl.startsWith(TYPE_URL_PREFIX) ? typeUrl.slice(TYPE_URL_PREFIX.length) : typeUrl.slice(typeUrl.lastIndexOf('/') + 1)
}
