/** Whether two values of plain data (objects, arrays, strings, numbers …) are equal to the last field. Fields may stand in any order. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) || Array.isArray(b)) return Array.isArray(a) && Array.isArray(b) && sameItems(a, b)
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every((name) => sameField(a, b, name))
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => sameValue(item, b[i]))
}

function sameField(a: object, b: object, name: string): boolean {
  return Object.hasOwn(b, name) && sameValue(a[name as keyof typeof a], b[name as keyof typeof b])
}
