/**
 * Options of public functions: a table for each function says which there are and what each may be, and one reader
 * takes them. What is not in the table is refused, because it was meant to do something.
 *
 * @module
 */
import { nearestName } from "./nearest_name.ts";
import { printable, shown, typeName } from "./shown.ts";

/** What one option may be. */
export interface OptionRule {
  /** Said in messages, behind "wanted". */
  readonly wanted: string;
  /** True for values of the right type; all others are a TypeError. */
  isType(value: unknown): boolean;
  /** True for values that make sense; all others are a RangeError. Absent: all do. */
  isInRange?(value: never): boolean;
}

/** True or false. */
export const FLAG: OptionRule = { wanted: "true or false", isType: (value) => typeof value === "boolean" };

/** Anything at all. */
export const ANYTHING: OptionRule = { wanted: "anything", isType: () => true };

/** A function. */
export const FUNCTION: OptionRule = { wanted: "a function", isType: (value) => typeof value === "function" };

/** A text. */
export const TEXT: OptionRule = { wanted: "a string", isType: isText };

/** An array, of which its user finds out more. */
export const LIST: OptionRule = { wanted: "an array", isType: (value) => Array.isArray(value) };

/** An object, of which its user finds out more. */
export function object(wanted: string): OptionRule {
  return { wanted, isType: (value) => typeof value === "object" && value !== null };
}

/** One of several texts. */
export function oneOf(choices: readonly string[]): OptionRule {
  return { wanted: choices.join(", "), isType: isText, isInRange: (value: string) => choices.includes(value) };
}

/** A whole number. */
export function integer(min: number, max: number, wanted: string): OptionRule {
  return {
    wanted,
    isType: isNumber,
    isInRange: (value: number) => Number.isSafeInteger(value) && value >= min && value <= max,
  };
}

/** Any number that `isInRange` is true for; never NaN. */
export function number(wanted: string, isInRange: (value: number) => boolean): OptionRule {
  return { wanted, isType: isNumber, isInRange };
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isNumber(value: unknown): boolean {
  return typeof value === "number";
}

/** A rule for each option that `T` declares. */
export type OptionRules<T> = { readonly [Name in keyof T]-?: OptionRule };

/** The options of one function. */
export class OptionTable<T extends object> {
  /** The names of all options. */
  readonly names: readonly (keyof T & string)[];
  readonly #rules: Readonly<Record<string, OptionRule>>;
  readonly #action: string;

  /** `action` begins messages, up to the name of an option: `Cannot use queueDepth 0`, `Cannot read with timeoutMs 0`. */
  constructor(action: string, rules: OptionRules<T>) {
    this.names = Object.keys(rules) as (keyof T & string)[];
    // No prototype: what every object has is no option.
    this.#rules = { __proto__: null!, ...rules };
    this.#action = action;
  }

  /**
   * The options that are given, in an object of its own: each was read once and has been checked. Undefined, for an
   * option or for all of them, means left out; null does not. What is `known` has been read before.
   *
   * Throws TypeError for what is no object of options, for options that are unknown and for values of a wrong type,
   * RangeError for values that make no sense.
   */
  read(options: unknown, action: string = this.#action, known: Partial<T> = {}): T {
    if (options === undefined) return {} as T;
    if (typeof options !== "object" || options === null) throw this.#noOptions(options, action);
    const chosen: Record<string, unknown> = {};
    try {
      this.#refuseUnknown(options, action);
      const { names } = this;
      for (let index = 0; index < names.length; index++) {
        const name = names[index]!;
        const value = name in known ? known[name] : (options as Record<string, unknown>)[name];
        if (value !== undefined) chosen[name] = value;
      }
    } catch (cause) {
      throw this.#unreadable(cause, action);
    }
    for (const name in chosen) this.check(name as keyof T & string, chosen[name], action);
    return chosen as T;
  }

  /** The value of one option, unchecked: for what decides which table the others are read by. */
  peek(name: keyof T & string, options: unknown, action: string = this.#action): unknown {
    if (typeof options !== "object" || options === null) return undefined;
    try {
      return (options as Record<string, unknown>)[name];
    } catch (cause) {
      throw this.#unreadable(cause, action);
    }
  }

  /** Throws as `read` does for the value of one option. */
  check(name: keyof T & string, value: unknown, action: string = this.#action): void {
    const rule = this.#rules[name]!;
    const rightType = rule.isType(value);
    if (rightType && (rule.isInRange?.(value as never) ?? true)) return;
    const message = `Cannot ${action} ${name} ${shown(value)}: wanted ${rule.wanted}`;
    throw rightType ? new RangeError(message) : new TypeError(message);
  }

  #unreadable(cause: unknown, action: string): TypeError {
    if (cause instanceof Refusal) return cause;
    return new TypeError(`Cannot ${action} options that throw when they are read: wanted plain values`, { cause });
  }

  #refuseUnknown(options: object, action: string): void {
    const proto: object | null = Object.getPrototypeOf(options);
    const isPlain = proto === Object.prototype || proto === null;
    if (!isPlain && !OPTION_TYPES.includes(typeName(options))) throw this.#noOptions(options, action);
    for (const name in options) {
      // What a program adds to every object is none of an option's business.
      if (this.#rules[name] === undefined && !(name in Object.prototype)) throw this.#unknown(name, action);
    }
    if (!isPlain) this.#refuseGetters(proto, action);
  }

  /** Getters of a class are options as well, and do not show in a loop. */
  #refuseGetters(first: object, action: string): void {
    let proto: object | null = first;
    for (let depth = 0; proto !== null && proto !== Object.prototype && depth < MAX_PROTOTYPES; depth++) {
      for (const [name, { get }] of Object.entries(Object.getOwnPropertyDescriptors(proto))) {
        if (get !== undefined && this.#rules[name] === undefined && !(name in Object.prototype)) {
          throw this.#unknown(name, action);
        }
      }
      proto = Object.getPrototypeOf(proto);
    }
  }

  #noOptions(value: unknown, action: string): Refusal {
    return new Refusal(`Cannot ${action} options ${shown(value)}: wanted an object of options`);
  }

  #unknown(name: string, action: string): Refusal {
    const nearest = nearestName(name, this.names);
    const instead = nearest === null ? `wanted ${this.names.join(", ")}` : `did you mean ${nearest}?`;
    return new Refusal(`Cannot ${action} option ${printable(name)}: it is unknown, ${instead}`);
  }
}

/** Classes above each other that are looked at for getters: more than any program has. */
const MAX_PROTOTYPES = 16;

/** Types of what can be options: plain objects, instances of a user's class, modules. An AbortSignal is none. */
const OPTION_TYPES: readonly string[] = ["Object", "Module"];

/** Tells our own refusal from what a getter throws. */
class Refusal extends TypeError {}
