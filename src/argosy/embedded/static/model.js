/** MODEL in the browser or in Node: `const model = await load(); model.predict({…})`. Needs no network once loaded. */

export const SIGNATURE = {};

/** Loads the module: from beside this file, or from a URL, a path or bytes that are given. */
export async function load(source = new URL("./model.wasm", import.meta.url)) {
  if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly: use a newer one");
  const { instance } = await WebAssembly.instantiate(await bytesOf(source), {});
  const failed = instance.exports.selftest();
  if (failed) throw new Error(`golden example ${failed - 1} of ${SIGNATURE.model} is not answered as it has to be here`);
  return new Model(instance.exports);
}

async function bytesOf(source) {
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return source;
  const url = new URL(source, import.meta.url);
  if (url.protocol === "file:") return (await import("node:fs/promises")).readFile(url);
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}`);
  return answer.arrayBuffer();
}

export class Model {
  #module;

  constructor(module) {
    this.#module = module;
  }

  /** One row: a value or an array for each input, by name. Gives a value or an array for each output, by name. */
  predict(row) {
    const known = SIGNATURE.inputs.flatMap((port) => port.tensors);
    for (const name of Object.keys(row)) if (!known.includes(name)) throw new Error(`there is no input '${name}': ${known}`);
    SIGNATURE.inputs.forEach((port, at) => this.#view(port, this.#module.input(at)).set(valuesOf(port, row)));
    if (this.#module.predict()) throw new Error("the model does not answer this row: a value is missing or not known");
    return Object.fromEntries(SIGNATURE.outputs.map((port, at) => [port.tensors[0], this.#read(port, at)]));
  }

  /** 0, or 1 + the first golden example that is answered otherwise than when the model was packaged. */
  selftest() {
    return this.#module.selftest();
  }

  #view(port, address) {
    const View = port.kind === "float" ? Float32Array : Int32Array;
    return new View(this.#module.memory.buffer, address, port.size);
  }

  #read(port, at) {
    const values = Array.from(this.#view(port, this.#module.output(at)));
    const found = port.labels.length ? values.map((number) => port.labels[number]) : values;
    return port.size === 1 ? found[0] : found;
  }
}

function valuesOf(port, row) {
  const given = port.tensors.flatMap((name) => {
    if (!(name in row)) throw new Error(`the input '${name}' is missing`);
    return Array.isArray(row[name]) || ArrayBuffer.isView(row[name]) ? Array.from(row[name]).flat(Infinity) : [row[name]];
  });
  if (given.length !== port.size) throw new Error(`'${port.tensors[0]}' has ${given.length} values where ${port.size} are needed`);
  return given.map((value, place) => {
    const codes = port.codes[place];
    if (codes) return codes.includes(String(value)) ? codes.indexOf(String(value)) : NaN;
    if (value !== null && typeof value !== "number" && typeof value !== "boolean")
      throw new Error(`'${port.tensors[0]}' [${place}] is no number`);
    return value === null ? NaN : Number(value);
  });
}
