// `!Exact x`, `!Prefix x`, `!Suffix x` and `!Presence []`: how ztunnel's library writes a choice in YAML. They are read as the maps
// that the same library writes in JSON, `{Exact: x}`, which are taken as well.
import type { CollectionTag, ScalarTag } from 'yaml'

const scalar = (name: string): ScalarTag => ({ tag: `!${name}`, resolve: (text: string) => ({ [name]: text }) })
const empty: CollectionTag = { tag: '!Presence', collection: 'seq', resolve: () => ({ Presence: '' }) }

export const TAGS: readonly (ScalarTag | CollectionTag)[] = [
  scalar('Exact'),
  scalar('Prefix'),
  scalar('Suffix'),
  scalar('Presence'),
  empty,
]
