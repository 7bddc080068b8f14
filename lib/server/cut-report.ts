// What a drain had to cut, in the log.
import type { Logger } from '../telemetry/logger.ts'
import type { CutConnection } from './messages.ts'

/** Lines of the report; a proxy with ten thousand connections needs no ten thousand lines. */
const MAX_CUT_LINES = 50

export function reportCut(cut: readonly CutConnection[], logger: Logger): void {
  if (cut.length === 0) {
    logger.info('drained: nothing was cut')
    return
  }
  logger.warning(`drained: ${cut.length} connections were cut`)
  for (const { listener, peer, what, reason } of cut.slice(0, MAX_CUT_LINES))
    logger.warning(`cut: ${what}`, { listener, peer, reason })
  if (cut.length > MAX_CUT_LINES) logger.warning(`cut: and ${cut.length - MAX_CUT_LINES} more`)
}
