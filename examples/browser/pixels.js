// The models' image preprocessing. A canvas resamples with another filter than the models were trained with, so this is
// Pillow's bicubic one, in the same integers: decoded alike, an image has the same pixels here and in Python.
const PRECISION = 22; // bits behind the point of a weight

/** An image file as `pixel_values`: float32, (3, size, size). Transparent pixels are black where they are clear. */
export async function toPixels(file, { size, mean, std, resize_mode, interpolation }) {
  if (resize_mode !== "shortest" || interpolation !== "bicubic") throw new Error(`${resize_mode}, ${interpolation}?`);
  const { data, width, height } = await decode(file);
  const scale = Math.min(width, height);
  const columns = weights(width, width === scale ? size : Math.floor((size * width) / height), size);
  const rows = weights(height, height === scale ? size : Math.floor((size * height) / width), size);
  const narrow = resample(data, columns, height, [4, 4 * width], [4, 4 * size], size);
  const square = resample(narrow, rows, size, [4 * size, 4], [4 * size, 4], size);
  const plane = size * size;
  const pixels = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++)
    for (let c = 0; c < 3; c++) pixels[c * plane + i] = (square[4 * i + c] / 255 - mean[c]) / std[c];
  return pixels;
}

/** Upright by its EXIF orientation; the colours as they are stored. */
async function decode(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** For each of the `size` outputs in the middle of `full`: the first input that counts, and the weights from there. */
function weights(length, full, size) {
  const offset = (full - size) / 2;
  const start = Number.isInteger(offset) ? offset : 2 * Math.round(offset / 2); // half to even
  const ratio = length / full;
  const stretch = Math.max(ratio, 1);
  const squeeze = 1 / stretch;
  return Array.from({ length: size }, (_, i) => {
    const center = (start + i + 0.5) * ratio;
    const first = Math.max(0, Math.trunc(center - 2 * stretch + 0.5));
    const end = Math.min(length, Math.trunc(center + 2 * stretch + 0.5));
    const exact = Array.from({ length: end - first }, (_, k) => cubic((first + k - center + 0.5) * squeeze));
    const scale = 1 / exact.reduce((sum, value) => sum + value, 0);
    const fixed = exact.map((value) => Math.trunc(value * scale * 2 ** PRECISION + (value < 0 ? -0.5 : 0.5)));
    return { first, fixed };
  });
}

function cubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

/** One pass over `lines` lines; `from` and `to` are the distances between pixels of a line, and between lines. */
function resample(source, weights, lines, [step, stride], [toStep, toStride], size) {
  const target = new Uint8ClampedArray(4 * lines * size);
  weights.forEach(({ first, fixed }, i) => {
    for (let line = 0; line < lines; line++)
      for (let c = 0; c < 3; c++) {
        let sum = 1 << (PRECISION - 1);
        for (let k = 0; k < fixed.length; k++) sum += source[line * stride + (first + k) * step + c] * fixed[k];
        target[line * toStride + i * toStep + c] = sum >> PRECISION;
      }
  });
  return target;
}
