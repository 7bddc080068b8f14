// The static table of RFC 7541, Appendix A.

const TABLE = `:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate`

/** Entries by index, from 1; the entry at 0 is empty. A value that the table leaves out is empty. */
export const STATIC_NAMES: readonly string[] = ['', ...TABLE.split('\n').map((line) => line.split(' ', 1)[0] as string)]
export const STATIC_VALUES: readonly string[] = [
  '',
  ...TABLE.split('\n').map((line) => line.slice(line.indexOf(' ') + 1 || line.length)),
]

/** Number of entries; a larger index points into the dynamic table. */
export const STATIC_COUNT = 61

const indexByName = new Map<string, number>()
for (let i = STATIC_COUNT; i > 0; i--) indexByName.set(STATIC_NAMES[i] as string, i)

/** Index of the first entry with a name; 0 for none. */
export function staticNameIndex(lowerCaseName: string): number {
  return indexByName.get(lowerCaseName) ?? 0
}

/** Index of a status; 0: the table does not have it. */
export function staticStatus(status: number): number {
  switch (status) {
    case 200:
      return 8
    case 204:
      return 9
    case 206:
      return 10
    case 304:
      return 11
    case 400:
      return 12
    case 404:
      return 13
    case 500:
      return 14
  }
  return 0
}
