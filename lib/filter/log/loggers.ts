// Hot lane: the access logs of a listener or a filter chain as they run in one worker.
import type { AccessLogger } from '../../state/access-log.ts'
import type { AccessLogs, LogFile } from '../../telemetry/access-logs.ts'
import type { LogContext } from './log-context.ts'
import { compileLogFilter, type LogFilter } from './log-filter.ts'
import { LogFormat } from './log-format.ts'

interface Logger {
  readonly file: LogFile
  readonly format: LogFormat
  /** null: all. */
  readonly passes: LogFilter | null
}

/** What the chain's logs are written with. Made anew with each configuration. */
export class Loggers {
  private readonly list: readonly Logger[]
  /** One of them writes where heddle.yaml's own log would by default: that has no line of what these are about. */
  readonly replacesOwn: boolean

  private constructor(list: readonly Logger[]) {
    this.list = list
    this.replacesOwn = list.some((l) => l.file.own)
  }

  /** null: nothing is logged. */
  static of(configs: readonly AccessLogger[], files: AccessLogs, draw: () => number): Loggers | null {
    const list = configs.flatMap(({ path, format, filter }) => {
      const file = files.at(path)
      if (file === null) return []
      return [{ file, format: formatOf(format), passes: filter === null ? null : compileLogFilter(filter, draw) }]
    })
    return list.length === 0 ? null : new Loggers(list)
  }

  /** At the end of a request or a connection. */
  log(c: LogContext): void {
    const { list } = this
    for (let i = 0; i < list.length; i++) {
      const { file, format, passes } = list[i] as Logger
      if (passes === null || passes(c)) file.write(format.line(c))
    }
  }
}

/** One for all chains of a worker that say the same; forgotten when there are many, so that what is gone from configuration does not stay. */
const formats = new Map<string, LogFormat>()
const MAX_FORMATS = 100

function formatOf(format: AccessLogger['format']): LogFormat {
  const text = JSON.stringify(format)
  const known = formats.get(text)
  if (known !== undefined) return known
  if (formats.size >= MAX_FORMATS) formats.clear()
  const made = new LogFormat(format)
  formats.set(text, made)
  return made
}
