// Access loggers of listeners and chains. heddle writes one log, where heddle.yaml says and as it says; what a control plane asks for beside that is told.
import { type AccessLog, FileAccessLog } from '../proto/access-log.ts'
import { TYPE_URL_PREFIX, typeUrlOf } from '../proto/schema.ts'
import type { Findings } from './findings.ts'

/** Of a logger no message is refused: who is not logged is still served. */
export function noteAccessLogs(logs: readonly AccessLog[], findings: Findings): void {
  for (const [i, log] of logs.entries()) {
    const at = findings.at('access_log', i)
    const { typed_config: config } = log
    if (config?.typeUrl === typeUrlOf(FileAccessLog)) {
      const { path } = at.decode(config.value, FileAccessLog) ?? { path: '' }
      at.note(`a log at ${path} is asked for: heddle writes its access log where heddle.yaml says, in the format that it names`)
    } else {
      const type = config === null ? 'nothing' : config.typeUrl.replace(TYPE_URL_PREFIX, '')
      at.note(`the access logger ${log.name} (${type}) is not understood: it gets nothing`)
    }
    if (log.filter !== null) at.at('filter').note('conditions of an access log are not carried out: all is logged')
  }
}
