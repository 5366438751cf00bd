/** How loud something is. Pure: worklets use it, too. */

/** Root mean square. @param {Float32Array} samples */
export function level(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length ? Math.sqrt(sum / samples.length) : 0;
}
