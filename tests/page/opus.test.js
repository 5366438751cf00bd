/** What a packet of Opus says of itself. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { lasts20ms } from "../../web/page/js/opus.js";

test("a packet says by its first byte whether it is one frame of 20 ms", () => {
  const lasting = [...Array(32).keys()].filter((config) => lasts20ms(Uint8Array.of(config << 3)));
  assert.deepEqual(lasting, [1, 5, 9, 13, 15, 19, 23, 27, 31]); // RFC 6716, table 2
  assert.equal(lasts20ms(Uint8Array.of((1 << 3) | 1)), false); // two frames
});
