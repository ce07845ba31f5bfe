// A folder that `jina-clip export` wrote (format onnx), in the browser: texts and images to vectors of unit length.
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-web";

import { toPixels } from "./pixels.js";

export class JinaClip {
  /** `folder` is the address of the exported folder, from the same server or one that allows it (CORS). */
  static async load(folder) {
    const json = async (name) => (await fetch(`${folder}/${name}`)).json();
    const about = await json("jina_clip_export.json");
    return new JinaClip(folder, about, new Tokenizer(await json(about.text.tokenizer), {}));
  }

  #sessions = {};

  constructor(folder, about, tokenizer) {
    Object.assign(this, { folder, about, tokenizer });
  }

  /** Run the graph of `"text"` or `"image"`, which is fetched when it is first needed. */
  async #run(modality, inputs) {
    const { file, weights } = this.about[modality];
    this.#sessions[modality] ??= ort.InferenceSession.create(`${this.folder}/${file}`, {
      externalData: weights.map((path) => ({ path, data: `${this.folder}/${path}` })),
    });
    return (await (await this.#sessions[modality]).run(inputs)).embeddings.data;
  }

  /** The vector of a text. `task` is one of the model's, such as "retrieval.query"; `dimensions` truncates. */
  async embedText(words, { task = this.about.text.default_task, dimensions } = {}) {
    const { instructions, max_length } = this.about.text;
    if (task && !(task in instructions)) throw new Error(`${task}: not one of ${Object.keys(instructions)}`);
    const ids = this.tokenizer.encode((instructions[task] ?? "") + words).ids;
    ids.splice(max_length - 1, Math.max(0, ids.length - max_length)); // the last one, which ends the text, stays
    const shape = [1, ids.length];
    const tensor = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
    const raw = await this.#run("text", { input_ids: tensor(ids), attention_mask: tensor(ids.map(() => 1)) });
    return finish(raw, dimensions);
  }

  /** The vector of an image: a `File` or a `Blob`. */
  async embedImage(file, { dimensions } = {}) {
    const { preprocessing } = this.about.image;
    const pixels = await toPixels(file, preprocessing);
    const shape = [1, 3, preprocessing.size, preprocessing.size];
    const raw = await this.#run("image", { pixel_values: new ort.Tensor("float32", pixels, shape) });
    return finish(raw, dimensions);
  }
}

/** Truncate first, then normalise. */
function finish(raw, dimensions = raw.length) {
  const values = raw.slice(0, dimensions);
  const length = Math.hypot(...values);
  return values.map((value) => value / length);
}
