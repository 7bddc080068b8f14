// Flags of the log of Istio's programs: its injector writes some of them into every container (the values logAsJson and logging.level).
import type { FlagSpec } from './command.ts'

const ignored: FlagSpec = { type: 'string', value: 'VALUE', hidden: true, help: '' }

/** Understood, and without any effect. */
export const ISTIO_LOG_FLAGS: Readonly<Record<string, FlagSpec>> = {
  ...Object.fromEntries(
    [
      ...['log_output_level', 'log_caller', 'log_rotate', 'log_rotate_max_age', 'log_rotate_max_backups', 'log_rotate_max_size'],
      ...['log_stacktrace_level', 'log_target', 'vklog'],
    ].map((name) => [name, ignored]),
  ),
  log_as_json: { type: 'boolean', value: '', hidden: true, help: '' },
}
