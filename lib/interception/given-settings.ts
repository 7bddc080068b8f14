// Who says what of a setting: a flag before the environment, that before a pod's annotations, these before the default.
import { SETTING_KEYS, SETTINGS, type SettingKey, type SettingSpec } from './setting-table.ts'

export interface Given {
  readonly text: string
  /** `--inbound-ports`, `ISTIO_INBOUND_PORTS` or the name of an annotation; null for a default. */
  readonly from: string | null
  readonly flag: string
}

export type GivenSettings = Readonly<Record<SettingKey, Given>>

export interface SettingSources {
  /** Value of a flag, by its long name; null where it is not given. */
  readonly flag: (name: string) => string | null
  readonly env: Readonly<Record<string, string | undefined>>
  readonly annotations: ReadonlyMap<string, string>
}

export function gatherSettings(sources: SettingSources): GivenSettings {
  return Object.fromEntries(SETTING_KEYS.map((key) => [key, gather(SETTINGS[key], sources)])) as Record<SettingKey, Given>
}

/** How a message names the setting. */
export function givenText({ from, flag }: Given): string {
  return from ?? `--${flag}`
}

function gather(spec: SettingSpec, { flag, env, annotations }: SettingSources): Given {
  const given = flag(spec.flag)
  if (given !== null) return { text: given, from: `--${spec.flag}`, flag: spec.flag }
  const variable = spec.env.find((name) => env[name] !== undefined)
  if (variable !== undefined) return { text: env[variable]!, from: variable, flag: spec.flag }
  const annotation = (spec.annotations ?? []).find((name) => annotations.has(name))
  if (annotation !== undefined) return { text: annotations.get(annotation)!, from: annotation, flag: spec.flag }
  return { text: spec.default, from: null, flag: spec.flag }
}

/**
 * Annotations as the downward API writes them into a file: `name="value"`, a line each, the value with escapes.
 * What has another form is left out.
 */
export function parseAnnotations(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const line of text.split('\n')) {
    const parts = /^([^=\s]+)=(".*")$/.exec(line.trim())
    if (parts === null) continue
    try {
      found.set(parts[1]!, String(JSON.parse(parts[2]!)))
    } catch {
      // An escape that JSON has not: none of ours needs one.
    }
  }
  return found
}
