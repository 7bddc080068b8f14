// What the main thread and the thread that reads the configuration say to each other. Plain data only.
import type { FlagValues } from '../bootstrap/flags.ts'
import type { LoadedBootstrap } from '../bootstrap/load.ts'
import type { LoaderMemory, LoadResult } from '../resources/load.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'

/** One question at a time; each has one answer. */
export type ToConfigThread =
  | {
      readonly type: 'bootstrap'
      readonly file: string | null
      readonly env: Readonly<Record<string, string | undefined>>
      readonly flags: FlagValues
      /** In place of what the file says; null: the file is read. */
      readonly text: string | null
    }
  /** `memory`: what the last thread knew. Read only with the first of these questions, as is the bootstrap. */
  | { readonly type: 'resources'; readonly bootstrap: BootstrapConfig; readonly memory: LoaderMemory | null }

export type FromConfigThread =
  | { readonly type: 'bootstrap'; readonly result: LoadedBootstrap }
  | { readonly type: 'resources'; readonly result: LoadResult; readonly memory: LoaderMemory }
