// Access loggers of listeners, connection managers and TCP proxies. Of a logger no message is refused: who is not logged is still served. What is not understood is told.
import { parseLogTemplate } from '../../filter/log/log-template.ts'
import { type AccessLogger, DEFAULT_FORMAT, type LogLineFormat } from '../../state/access-log.ts'
import { type AccessLog, FileAccessLog, StderrAccessLog, StdoutAccessLog } from '../proto/access-log.ts'
import type { SubstitutionFormatString } from '../proto/core.ts'
import { type Any, type Message, type Struct, type StructValue, TYPE_URL_PREFIX, typeUrlOf } from '../proto/schema.ts'
import { accessLogFilter } from './access-log-filter.ts'
import { Findings } from './findings.ts'
import { SharedValues } from './shared-values.ts'

/** Most listeners have the same ones. */
const shared = new SharedValues<AccessLogger>()

export function translateAccessLogs(logs: readonly AccessLog[], findings: Findings): readonly AccessLogger[] {
  return logs.flatMap((log, i) => {
    const at = findings.at('access_log', i)
    const target = targetOf(log, at)
    if (target === null) return []
    const { path, format } = target
    return [shared.of({ path, format, filter: log.filter === null ? null : accessLogFilter(log.filter, at.at('filter')) })]
  })
}

function targetOf({ name, typed_config: config }: AccessLog, at: Findings): Pick<AccessLogger, 'path' | 'format'> | null {
  switch (config?.typeUrl) {
    case typeUrlOf(FileAccessLog): {
      const file = unpacked(config, FileAccessLog, at)
      if (file?.path === '') at.note('it has no path: nothing is logged')
      return file === null || file.path === '' ? null : { path: file.path, format: formatOfFile(file, at) }
    }
    case typeUrlOf(StdoutAccessLog):
    case typeUrlOf(StderrAccessLog): {
      const out = config.typeUrl === typeUrlOf(StdoutAccessLog)
      const stream = unpacked(config, out ? StdoutAccessLog : StderrAccessLog, at)
      if (stream === null) return null
      return { path: out ? '/dev/stdout' : '/dev/stderr', format: formatOf(stream.log_format, at.at('log_format')) }
    }
    default: {
      const type = config === null ? 'nothing' : config.typeUrl.replace(TYPE_URL_PREFIX, '')
      at.note(`the access logger ${name} (${type}) is not understood: it gets nothing`)
      return null
    }
  }
}

/** null: its bytes are none, which is a note and no fault. */
function unpacked<T extends object>({ value }: Any, of: Message<T>, at: Findings): T | null {
  const own = new Findings()
  const found = own.decode(value, of)
  if (found === null) at.note(`${own.faults.map((f) => f.text).join('; ')}: nothing is logged`)
  return found
}

function formatOfFile(file: FileAccessLog, at: Findings): LogLineFormat {
  if (file.log_format !== null) return formatOf(file.log_format, at.at('log_format'))
  if (file.format !== null && file.format !== '') return textFormat(file.format, false, at.at('format'))
  if (file.json_format !== null) return jsonFormat(file.json_format, false, at.at('json_format'))
  if (file.typed_json_format !== null) return jsonFormat(file.typed_json_format, false, at.at('typed_json_format'))
  return DEFAULT_FORMAT
}

function formatOf(format: SubstitutionFormatString | null, at: Findings): LogLineFormat {
  if (format === null) return DEFAULT_FORMAT
  const { text_format_source: source, omit_empty_values: omits } = format
  if (format.json_format !== null) return jsonFormat(format.json_format, omits, at.at('json_format'))
  const text = format.text_format ?? source?.inline_string ?? inlineText(source?.inline_bytes ?? null)
  if (text !== null && text !== '') return textFormat(text, omits, at)
  if (source !== null) at.at('text_format_source').note("it is not in the message itself: Envoy's default format is used")
  return DEFAULT_FORMAT
}

function inlineText(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString('utf8')
}

function textFormat(text: string, omitsEmpty: boolean, at: Findings): LogLineFormat {
  noteOperators([text], at)
  return { kind: 'text', text, omitsEmpty }
}

function jsonFormat(fields: Struct, omitsEmpty: boolean, at: Findings): LogLineFormat {
  noteOperators(textsOf(fields), at)
  return { kind: 'json', fields, omitsEmpty }
}

function textsOf(value: StructValue): readonly string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap((v: StructValue) => textsOf(v))
}

/** One note for all that says nothing here. */
function noteOperators(texts: readonly string[], at: Findings): void {
  const templates = texts.map(parseLogTemplate)
  const problems = [...new Set(templates.flatMap((t) => t.problems))]
  const silent = [...new Set(templates.flatMap((t) => t.silent))].filter((s) => s !== '%VIRTUAL_CLUSTER_NAME%')
  if (problems.length > 0) at.note(`${problems.join('; ')}: nothing is logged for it`)
  if (silent.length > 0) at.note(`nothing is known here of ${silent.join(', ')}`)
}
