/** Arrays in arrays, or an array of all their values. */
export type Nested<T> = ArrayLike<T | Nested<T>>;
/** A row: a value or an array for each input, by name. null: a missing number. */
export interface Inputs {
INPUTS
}
/** An answer: a value or an array for each output, by name. */
export interface Outputs {
OUTPUTS
}
export declare class Model {
  predict(row: Inputs): ANSWER<Outputs>;
  /** 0, or 1 + the first golden example that is answered otherwise. */
  selftest(): ANSWER<number>;
}
export declare function load(source?: URL | string | BufferSource): Promise<Model>;
export declare const SIGNATURE: Readonly<Record<string, unknown>>;
