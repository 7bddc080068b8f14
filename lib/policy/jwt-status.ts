// What can be wrong with a token, as numbers for the data path and as the words that clients and logs get (Envoy's common/jwt/status).

export const OK = 0
export const MISSING = 1
export const NOT_YET_VALID = 2
export const EXPIRED = 3
export const BAD_FORMAT = 4
export const HEADER_BAD_BASE64 = 5
export const HEADER_BAD_JSON = 6
export const HEADER_BAD_ALG = 7
export const ALG_NOT_SUPPORTED = 8
export const HEADER_BAD_KID = 9
export const PAYLOAD_BAD_BASE64 = 10
export const PAYLOAD_BAD_JSON = 11
export const ISS_NOT_STRING = 12
export const SUB_NOT_STRING = 13
export const IAT_NOT_INTEGER = 14
export const NBF_NOT_INTEGER = 15
export const EXP_NOT_INTEGER = 16
export const IAT_OUT_OF_RANGE = 17
export const NBF_OUT_OF_RANGE = 18
export const EXP_OUT_OF_RANGE = 19
export const JTI_NOT_STRING = 20
export const AUD_NOT_STRING = 21
export const SIGNATURE_BAD_BASE64 = 22
export const UNKNOWN_ISSUER = 23
export const AUDIENCE_NOT_ALLOWED = 24
export const VERIFICATION_FAILS = 25
export const NO_VALID_KEYS = 26
export const NO_MATCHING_KEY = 27
export const ED25519_WRONG_LENGTH = 28
export const FETCH_FAILED = 29

/** By status. */
const TEXTS: readonly string[] = [
  'OK',
  'Jwt is missing',
  'Jwt not yet valid',
  'Jwt is expired',
  'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  'Jwt header is an invalid Base64url encoded',
  'Jwt header is an invalid JSON',
  'Jwt header [alg] field is required and must be a string',
  'Jwt header [alg] is not supported',
  'Jwt header [kid] field is not a string',
  'Jwt payload is an invalid Base64url encoded',
  'Jwt payload is an invalid JSON',
  'Jwt payload [iss] field is not a string',
  'Jwt payload [sub] field is not a string',
  'Jwt payload [iat] field is not an integer',
  'Jwt payload [nbf] field is not an integer',
  'Jwt payload [exp] field is not an integer',
  'Jwt payload [iat] field is not a positive 64 bit integer',
  'Jwt payload [nbf] field is not a positive 64 bit integer',
  'Jwt payload [exp] field is not a positive 64 bit integer',
  'Jwt payload [jti] field is not a string',
  'Jwt payload [aud] field is not a string or string list',
  'Jwt signature is an invalid Base64url encoded',
  'Jwt issuer is not configured',
  'Audiences in Jwt are not allowed',
  'Jwt verification fails',
  "Jwks doesn't have any valid public key",
  "Jwks doesn't have key to match kid or alg from Jwt",
  'Jwt ED25519 signature is wrong length',
  'Jwks remote fetch is failed',
]

export function statusText(status: number): string {
  return TEXTS[status] as string
}
