// COCO run-length strings: down the columns, background first (docs/mask_format.md, section 4).
// A mask in memory is a Uint8Array of height x width, row by row, 0 or 1.
// A module of `fusion-core view`; the report holds it as part of its only script.

/** Run lengths of a string: groups of five bits, each length but the first three relative to two before. */
export function runLengths(string) {
  const lengths = [];
  let value = 0, shift = 0;
  for (let i = 0; i < string.length; i++) {
    const group = string.charCodeAt(i) - 48;
    value |= (group & 31) << shift;
    shift += 5;
    if (group & 32) continue;
    if (group & 16 && shift < 32) value |= -1 << shift;
    lengths.push(lengths.length > 2 ? value + lengths[lengths.length - 2] : value);
    value = shift = 0;
  }
  return lengths;
}

/** Add 1 to every pixel of `counts` where the mask is. */
export function addMask(counts, string, width, height) {
  let position = 0, inside = false;
  for (const length of runLengths(string)) {
    if (inside) {
      let x = Math.floor(position / height), y = position % height;
      for (let left = length; left > 0; x++, y = 0) {
        const stop = Math.min(height, y + left);
        left -= stop - y;
        for (let p = y * width + x, end = stop * width + x; p < end; p += width) counts[p]++;
      }
    }
    position += length;
    inside = !inside;
  }
  return counts;
}

export function decodeMask(string, width, height) {
  return addMask(new Uint8Array(width * height), string, width, height);
}

/** The string of a mask. */
export function encodeMask(mask, width, height) {
  const lengths = [];
  let value = 0, length = 0;
  for (let x = 0; x < width; x++) {
    for (let p = x, end = height * width; p < end; p += width) {
      if (mask[p] === value) length++;
      else {
        lengths.push(length);
        value = mask[p];
        length = 1;
      }
    }
  }
  lengths.push(length);
  return spell(lengths);
}

function spell(lengths) {
  const characters = [];
  lengths.forEach((length, i) => {
    let value = i > 2 ? length - lengths[i - 2] : length;
    for (;;) {
      const group = value & 31;
      value >>= 5;
      const isLast = group & 16 ? value === -1 : value === 0;
      characters.push(48 + group + (isLast ? 0 : 32));
      if (isLast) break;
    }
  });
  const pieces = [];
  for (let i = 0; i < characters.length; i += 4096) pieces.push(String.fromCharCode(...characters.slice(i, i + 4096)));
  return pieces.join("");
}
