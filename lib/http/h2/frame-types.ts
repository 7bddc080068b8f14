// Numbers of frames and settings (RFC 9113 §4.1, §6, §6.5.2; RFC 8441 §3).

export const DATA = 0x0
export const HEADERS = 0x1
export const PRIORITY = 0x2
export const RST_STREAM = 0x3
export const SETTINGS = 0x4
export const PUSH_PROMISE = 0x5
export const PING = 0x6
export const GOAWAY = 0x7
export const WINDOW_UPDATE = 0x8
export const CONTINUATION = 0x9

// Flags.
export const END_STREAM = 0x1
export const ACK = 0x1
export const END_HEADERS = 0x4
export const PADDED = 0x8
export const PRIORITY_FLAG = 0x20

export const FRAME_HEADER_BYTES = 9

// Settings.
export const SETTINGS_HEADER_TABLE_SIZE = 0x1
export const SETTINGS_ENABLE_PUSH = 0x2
export const SETTINGS_MAX_CONCURRENT_STREAMS = 0x3
export const SETTINGS_INITIAL_WINDOW_SIZE = 0x4
export const SETTINGS_MAX_FRAME_SIZE = 0x5
export const SETTINGS_MAX_HEADER_LIST_SIZE = 0x6
export const SETTINGS_ENABLE_CONNECT_PROTOCOL = 0x8

export const DEFAULT_WINDOW = 65535
export const MAX_WINDOW = 0x7fffffff
export const MIN_MAX_FRAME = 16384
export const MAX_MAX_FRAME = 0xffffff
export const MAX_STREAM_ID = 0x7fffffff

/** What a client sends first (RFC 9113 §3.4). */
export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
