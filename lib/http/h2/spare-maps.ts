// Hot lane: HeaderMaps of streams that are over, for the next streams of any connection of this thread. A map is a dozen objects that live as long as
// a request: made anew for each, they are most of what garbage collection has to copy.
import { HeaderMap } from '../header-map.ts'

/** As many as streams may end before others begin; a map has about 2 KB. */
const KEPT = 512

// What lies beyond `count` has been taken. Truncating the array would make V8 shrink it and let it grow again.
const spare: HeaderMap[] = []
let count = 0

export function takeMap(): HeaderMap {
  if (count === 0) return new HeaderMap()
  return spare[--count] as HeaderMap
}

/** Nobody looks at it any more. To be called once: two streams must never have the same one. */
export function returnMap(map: HeaderMap): void {
  if (count === KEPT) return
  // A long head must not be held in memory until the map is used again.
  map.block = ''
  spare[count++] = map
}
