/** MODEL in the browser or in Node, by onnxruntime-web: `const model = await load(); await model.predict({…})`. Needs no
 * network once loaded. */
import * as ort from "./ort.mjs";

export const SIGNATURE = {};

const TYPES = {
  BOOL: ["bool", Uint8Array], UINT8: ["uint8", Uint8Array], UINT16: ["uint16", Uint16Array], UINT32: ["uint32", Uint32Array],
  UINT64: ["uint64", BigUint64Array], INT8: ["int8", Int8Array], INT16: ["int16", Int16Array], INT32: ["int32", Int32Array],
  INT64: ["int64", BigInt64Array], FP32: ["float32", Float32Array], FP64: ["float64", Float64Array], BYTES: ["string", Array],
};

/** Loads the model: from beside this file, or from a URL, a path or bytes that are given. */
export async function load(source = new URL("./model.onnx", import.meta.url)) {
  if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly: use a newer one");
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // more would need headers of the server
  const [bytes, golden, engine] = await Promise.all([source, "./golden.bin", "./ort.wasm"].map(bytesOf));
  ort.env.wasm.wasmBinary = engine;
  const session = await ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ["wasm"] });
  const model = new Model(session, golden);
  const failed = await model.selftest();
  if (failed) throw new Error(`golden example ${failed - 1} of ${SIGNATURE.model} is not answered as it has to be here`);
  return model;
}

async function bytesOf(source) {
  if (source instanceof ArrayBuffer) return source;
  if (ArrayBuffer.isView(source)) return source.buffer.slice(source.byteOffset, source.byteOffset + source.byteLength);
  const url = new URL(source, import.meta.url);
  if (url.protocol === "file:") return bytesOf(await (await import("node:fs/promises")).readFile(url));
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}`);
  return answer.arrayBuffer();
}

export class Model {
  #session;
  #golden;

  constructor(session, golden) {
    this.#session = session;
    this.#golden = golden;
  }

  /** One row: a value or arrays for each input, by name. Gives a value or arrays for each output, by name. */
  async predict(row) {
    const known = SIGNATURE.inputs.map((port) => port.name);
    for (const name of Object.keys(row)) if (!known.includes(name)) throw new Error(`there is no input '${name}': ${known}`);
    const found = await this.#session.run(Object.fromEntries(SIGNATURE.inputs.map((port) => [port.name, tensorOf(port, row)])));
    return Object.fromEntries(SIGNATURE.outputs.map((port) => [port.name, valuesOf(port, found[port.name])]));
  }

  /** 0, or 1 + the first golden example that is answered otherwise than when the model was packaged. */
  async selftest() {
    const [given, wanted] = [SIGNATURE.inputs, SIGNATURE.outputs].map((ports, side) =>
      ports.map((port, at) => goldenOf(port, this.#golden, SIGNATURE.golden[side * SIGNATURE.inputs.length + at])));
    const found = await this.#session.run(Object.fromEntries(given.map((tensor, at) => [SIGNATURE.inputs[at].name, tensor])));
    for (const [at, want] of wanted.entries()) {
      const got = found[SIGNATURE.outputs[at].name];
      if (String(got.dims) !== String(want.dims)) return 1;
      const row = SIGNATURE.batched ? want.data.length / want.dims[0] : want.data.length;
      for (let each = 0; each < want.data.length; each++)
        if (!same(got.data[each], want.data[each], want.type)) return Math.floor(each / row) + 1;
    }
    return 0;
  }
}

function same(got, want, type) {
  if (got === want || (got !== got && want !== want)) return true;
  const { atol, rtol } = SIGNATURE.tolerance;
  return type.startsWith("float") && Math.abs(got - want) <= atol + rtol * Math.abs(want);
}

function goldenOf(port, bytes, [at, dims]) {
  const [type, Kind] = TYPES[port.datatype], count = dims.reduce((all, axis) => all * axis, 1);
  const data = Kind === Array ? new TextDecoder().decode(new Uint8Array(bytes, at)).split("\0", count) : new Kind(bytes, at, count);
  return new ort.Tensor(type, data, dims);
}

function tensorOf(port, row) {
  if (!(port.name in row)) throw new Error(`the input '${port.name}' is missing`);
  const [type, Kind] = TYPES[port.datatype], given = row[port.name];
  const nested = Array.isArray(given) || ArrayBuffer.isView(given);
  const flat = nested ? Array.from(given).flat(Infinity) : [given];
  const dims = shapeOf(port, given, flat.length), count = dims.reduce((all, axis) => all * axis, 1);
  if (count !== flat.length) throw new Error(`'${port.name}' has ${flat.length} values where ${count} are needed`);
  const values = flat.map((value, place) => valueOf(port, type, value, place));
  return new ort.Tensor(type, Kind === Array ? values : Kind.from(values), SIGNATURE.batched ? [1, ...dims] : dims);
}

/** The axes of one row: a free one is as long as there are values, several as the arrays are nested. */
function shapeOf(port, given, count) {
  const axes = port.shape.slice(SIGNATURE.batched ? 1 : 0), found = [];
  for (let at = given; Array.isArray(at) || ArrayBuffer.isView(at); at = at[0]) found.push(at.length);
  if (axes.filter((axis) => axis < 0).length > 1)
    return axes.map((axis, place) => (axis < 0 ? (found[place] ?? 0) : axis));
  const known = axes.reduce((all, axis) => (axis < 0 ? all : all * axis), 1);
  return axes.map((axis) => (axis < 0 ? Math.ceil(count / known) : axis));
}

function valueOf(port, type, value, place) {
  const where = `'${port.name}' [${place}]`, { gaps = [true], limits = [null], categories = [] } = port.domain ?? {};
  const column = (list) => list[list.length === 1 ? 0 : place % list.length];
  if (type === "string") {
    const text = value === null ? "" : String(value);
    if (text ? categories.length && !categories.includes(text) : !gaps.every(Boolean))
      throw new Error(`${where}: ${text ? "the model does not know this category" : "a value is missing"}`);
    return text;
  }
  if (value === null && !type.startsWith("float")) throw new Error(`${where}: a value is missing`);
  if (!["number", "boolean", "bigint"].includes(typeof (value ?? 0))) throw new Error(`${where} is no number`);
  if (type.endsWith("int64")) return BigInt(value);
  const number = value === null ? NaN : Number(value);
  if (number !== number && type.startsWith("float") && !column(gaps)) throw new Error(`${where}: a value is missing`);
  if (Math.abs(number) > (column(limits) ?? Infinity)) throw new Error(`${where} is too large`);
  return number;
}

function valuesOf(port, tensor) {
  const dims = SIGNATURE.batched ? tensor.dims.slice(1) : tensor.dims;
  let values = Array.from(tensor.data, (value) => (typeof value === "bigint" ? Number(value) : value));
  if (port.datatype === "BOOL") values = values.map(Boolean);
  if (values.length === 1 && port.shape.every((axis, place) => axis > 0 || (SIGNATURE.batched && !place))) return values[0];
  for (const axis of dims.slice(1).reverse())
    values = Array.from({ length: axis && values.length / axis }, (_, at) => values.slice(at * axis, (at + 1) * axis));
  return values;
}
