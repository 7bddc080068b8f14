// What an access log line has of requests, for a TCP session, which has none.

export abstract class TcpRecord {
  get method(): string {
    return ''
  }

  get originalPath(): string {
    return ''
  }

  get authority(): string {
    return ''
  }

  get protocol(): string {
    return ''
  }

  get responseCode(): number {
    return 0
  }

  get responseCodeDetails(): string {
    return ''
  }

  get upstreamServiceTimeMs(): number {
    return -1
  }

  get routeName(): string {
    return ''
  }

  get peer(): null {
    return null
  }

  requestHeader(): string | null {
    return null
  }
}
