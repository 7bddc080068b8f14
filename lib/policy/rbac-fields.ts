// How operators call what authorization asks of headers, wherever its rules came from.

export function headerField(name: string): string {
  switch (name) {
    case ':method':
      return 'method'
    case ':authority':
      return 'host'
    default:
      return `request.headers[${name}]`
  }
}
