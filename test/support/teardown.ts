/** The part of a tap test that the kit needs. */
export interface Teardown {
  teardown(fn: () => unknown): void
}
