/** Bounds of the DHCP server. */

/** Larger datagrams are no DHCP that any client or relay sends. */
export const MESSAGE_BYTES_MAX = 4096;

/** Largest reply: an Ethernet frame of 1500 bytes less the IP and UDP headers, so that it is never fragmented. */
export const REPLY_BYTES_MAX = 1472;

/** Some clients drop shorter messages (RFC 951 fixed the size of BOOTP at 300 bytes). */
export const MESSAGE_BYTES_MIN = 300;

/** What the `file` field holds with its NUL (RFC 2131 §2); longer names go into option 67. */
export const FILE_FIELD_CHARACTERS_MAX = 127;

/** Datagrams taken from one socket are answered at once, so this is what the kernel may queue meanwhile. */
export const RECEIVE_BUFFER_BYTES = 1 << 20;
