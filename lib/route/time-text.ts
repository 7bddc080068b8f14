// Points in time in words (Envoy's START_TIME).

/** ISO 8601 with milliseconds in UTC, or by a strftime format with Envoy's `%f` and `%3f` for fractions. */
export function timeText(ms: number, format: string): string {
  const date = new Date(ms)
  const iso = date.toISOString()
  if (format === '') return iso
  return format.replace(/%([0-9]?)([A-Za-z%])/g, (whole, digits: string, letter: string) => {
    switch (letter) {
      case 'Y':
        return iso.substring(0, 4)
      case 'm':
        return iso.substring(5, 7)
      case 'd':
        return iso.substring(8, 10)
      case 'H':
        return iso.substring(11, 13)
      case 'M':
        return iso.substring(14, 16)
      case 'S':
        return iso.substring(17, 19)
      case 'F':
        return iso.substring(0, 10)
      case 'T':
        return iso.substring(11, 19)
      case 's':
        return String(Math.floor(ms / 1000))
      case 'f': {
        // Milliseconds are all we measure; the digits after them are noughts.
        const fraction = `${iso.substring(20, 23)}000000`
        return fraction.substring(0, digits === '' ? 9 : Number(digits))
      }
      case '%':
        return '%'
      default:
        return whole
    }
  })
}
