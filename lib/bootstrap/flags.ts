// Flags over heddle.yaml. They stand alone: the command line has to know them, and not how YAML is read.

export interface BootstrapFlag {
  readonly flag: string
  readonly path: readonly string[]
  /** For `--help`. */
  readonly value: string
  readonly help: string
}

/** The fields that have a flag. */
export const BOOTSTRAP_FLAGS: readonly BootstrapFlag[] = [
  { flag: 'concurrency', path: ['concurrency'], value: 'N', help: 'worker threads' },
  { flag: 'admin-address', path: ['admin', 'address'], value: 'IP', help: 'address of the admin server' },
  { flag: 'admin-port', path: ['admin', 'port'], value: 'PORT', help: 'port of the admin server; 0 lets the system choose' },
  { flag: 'health-port', path: ['health', 'port'], value: 'PORT', help: 'port of the readiness server' },
  { flag: 'log-level', path: ['logLevel'], value: 'LEVEL', help: 'debug, info, warning or error' },
  { flag: 'access-log', path: ['accessLog', 'path'], value: 'PATH', help: 'file of the access log; null turns it off' },
  { flag: 'resources', path: ['resources'], value: 'PATH', help: 'file or folder of resources; may be given several times' },
  { flag: 'namespace', path: ['workload', 'namespace'], value: 'NAME', help: 'namespace of the workload' },
  { flag: 'drain-deadline', path: ['drain', 'deadline'], value: 'DURATION', help: 'how long requests may finish on shutdown' },
]

/** Values of flags by name; several for a flag that may be repeated. */
export type FlagValues = Readonly<Record<string, string | readonly string[] | undefined>>
