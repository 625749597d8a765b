/** Bounds of the HTTP boot server. */

/** A token outlives a slow power-on self test and a wait for a disk; scripts carry fresh ones onward. */
export const TOKEN_LIFETIME_SECONDS = 15 * 60;
/** How much later than ours another node's clock may be when it looks at a token's end. */
export const CLOCK_SKEW_SECONDS = 120;
export const TOKEN_CHARACTERS_MAX = 64;

/** Headers of firmware and of iPXE are a few hundred bytes. */
export const HEADER_BYTES_MAX = 8 * 1024;
export const URL_CHARACTERS_MAX = 1024;
export const HEADERS_TIMEOUT_MS = 10_000;
export const REQUEST_TIMEOUT_MS = 15_000;
/** How often the two timeouts above are looked at. */
export const TIMEOUT_CHECK_INTERVAL_MS = 5_000;
/** A client that takes nothing for this long has gone. */
export const IDLE_TIMEOUT_MS = 60_000;
export const KEEP_ALIVE_MS = 5_000;
export const CONNECTIONS_MAX = 1_024;
export const REQUESTS_PER_CONNECTION_MAX = 100;

/** How long the cluster may take to make a disk ready before the client is told to ask again. */
export const BEGIN_BOOT_TIMEOUT_MS = 20_000;

/** Pauses written into scripts. */
export const RETRY_SECONDS = 5;
export const RETRY_SECONDS_MAX = 300;
export const REFUSED_RETRY_SECONDS = 30;
/** How long iPXE waits for a node that took its question and then says nothing: longer than any answer takes. */
export const FETCH_TIMEOUT_MS = 30_000;

/** How often iPXE tries a command again while the disk moves from node to node (its default is 10). */
export const SAN_RETRIES = 100;

/** Text from elsewhere that is shown on a client's screen. */
export const SCRIPT_TEXT_CHARACTERS_MAX = 160;
