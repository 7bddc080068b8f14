// Sizes as operators write them: `60KiB`, `1MiB`, `64kB`, or a plain number of bytes.

const UNIT_BYTES: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  kB: 1000,
  KB: 1000,
  MB: 1e6,
  GB: 1e9,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  // Kubernetes resource quantities leave the B out.
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
}

/** Whole bytes, or null when the text is not a size. */
export function parseByteSize(text: string): number | null {
  const parts = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text)
  const unit = parts === null || !Object.hasOwn(UNIT_BYTES, parts[2]!) ? undefined : UNIT_BYTES[parts[2]!]
  if (parts === null || unit === undefined) return null
  const bytes = Number(parts[1]) * unit
  return Number.isSafeInteger(bytes) ? bytes : null
}
