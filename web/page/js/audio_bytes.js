/** Audio as bytes and as base64, and back. Pure. */

/** @param {Uint8Array} bytes @returns {string} */
export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** @param {string} base64 @returns {Uint8Array<ArrayBuffer>} */
export function fromBase64(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** @param {Float32Array} samples @returns {Uint8Array<ArrayBuffer>} 16 bits, little-endian */
export function toPcm16(samples) {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, at) => view.setInt16(at * 2, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true));
  return new Uint8Array(view.buffer);
}

/** @param {Uint8Array} bytes @returns {Float32Array<ArrayBuffer>} */
export function fromPcm16(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = new Float32Array(bytes.byteLength >> 1);
  for (let at = 0; at < samples.length; at++) samples[at] = view.getInt16(at * 2, true) / 32768;
  return samples;
}

/**
 * Packets that lie one after the other. Lengths that do not add up give what can be had.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {number[]} sizes
 */
export function cutPackets(bytes, sizes) {
  const packets = [];
  let at = 0;
  for (const size of sizes) {
    if (!(size > 0) || at + size > bytes.length) break;
    packets.push(bytes.subarray(at, at + size));
    at += size;
  }
  return packets;
}
